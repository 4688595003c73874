"""Losses that leave out the pixels nobody can judge."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from bonemets.metrics.lesions import IGNORE

# sigmoid(-1e4) is exactly 0 and softplus(-1e4) exactly 0, in float32 as in float16 (largest number 65504).
SATURATED = 1e4


class IgnoreLabelLoss(nn.Module):
    """Any segmentation loss, without influence of the pixels labelled 2 (ignore).

    Where the label is 2, label and logits are replaced by background: label 0 and logits so far on the background's
    side that the probability is exactly 0 (or 1 for the background channel). A Dice, cross-entropy or focal loss of
    such a pixel is exactly zero, and since the network's own logits do not enter, so is the gradient. Means over all
    pixels count it as a background pixel that is surely right.

    Args:
        loss: loss that takes logits (B, C, H, W) and labels (B, 1, H, W), such as ``monai.losses.DiceCELoss``. C = 1
            is a lesion channel with a sigmoid; with C > 1 channel 0 is the background.
        ignore: label to leave out.
    """

    def __init__(self, loss: nn.Module, ignore: int = IGNORE) -> None:
        super().__init__()
        self.loss = loss
        self.ignore = ignore

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Compute the loss.

        Args:
            input: logits, (B, C, H, W).
            target: labels, (B, 1, H, W).

        Returns:
            What the wrapped loss returns.

        Raises:
            ValueError: if the target has more than one channel.
        """
        if target.shape[1] != 1:
            raise ValueError(f"target must have one channel of labels, got shape {tuple(target.shape)}")
        if input.dtype in (torch.float16, torch.bfloat16):
            input = input.float()  # noqa: A001 - sums over a batch of pixels exceed what half precision holds
        ignored = target == self.ignore
        background = torch.full((1, input.shape[1], *[1] * (input.ndim - 2)), -SATURATED).to(input)
        if input.shape[1] > 1:
            background[:, 0] = SATURATED
        cleaned = torch.where(ignored, background, input)
        return cast(torch.Tensor, self.loss(cleaned, torch.where(ignored, torch.zeros_like(target), target)))
