"""MSA-Net's adversarial loss: the critic's view of prediction and truth, compared by their mean absolute difference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

CRITIC_INPUTS = ("product", "concat", "sum", "mask")


def critic_input(image: torch.Tensor, mask: torch.Tensor, kind: str = "product") -> torch.Tensor:
    """Join an image and a mask for the critic (MSA-Net, table 11).

    Args:
        image: shape (B, C, H, W).
        mask: probabilities or labels, shape (B, 1, H, W) or (B, C, H, W).
        kind: ``product`` (image * mask, the paper's choice), ``concat``, ``sum`` or ``mask`` (the mask alone).

    Returns:
        The critic's input; with ``concat`` it has the channels of both.

    Raises:
        ValueError: if the kind is not known.
    """
    if kind == "product":
        return image * mask
    if kind == "concat":
        return torch.cat([image, mask], dim=1)
    if kind == "sum":
        return image + mask
    if kind == "mask":
        return mask
    raise ValueError(f"critic_input={kind!r} is not known; allowed: {', '.join(map(repr, CRITIC_INPUTS))}.")


class MultiScaleL1Loss(nn.Module):
    """Mean absolute difference of the critic's vectors for predicted and true mask, averaged over the outputs.

    MSA-Net, "Loss function", after SegAN (Xue et al., Neuroinformatics 2018)::

        L_adv = 1/4 sum_i |D(y_i * image) - D(gt * image)|

    The generator minimizes ``alpha * L_seg + beta * L_adv``, the critic ``1 - L_adv``.

    Deviations:
        - The bars are the mean over the critic's vector, as in SegAN's code; the paper does not say.
        - ``weights`` are normalized to a sum of 1, so that table 9's rows have the same scale.
        - Pixels with the label ``ignore_label`` are taken out of prediction and truth before the critic sees them.

    Args:
        critic: maps (B, C, H, W) to (B, n).
        critic_input: ``product``, ``concat``, ``sum`` or ``mask`` (table 11).
        weights: of the supervised outputs, in their order (table 9); None for equal ones.
        ignore_label: label in the truth that counts neither for nor against.

    Raises:
        ValueError: if the kind of input is not known, or a weight is negative, or all are 0.
    """

    def __init__(
        self,
        critic: nn.Module,
        critic_input: str = "product",
        weights: Sequence[float] | None = None,
        ignore_label: int = 2,
    ) -> None:
        super().__init__()
        if critic_input not in CRITIC_INPUTS:
            raise ValueError(
                f"critic_input={critic_input!r} is not known; allowed: {', '.join(map(repr, CRITIC_INPUTS))}."
            )
        if weights is not None and (min(weights, default=0.0) < 0 or sum(weights) <= 0):
            raise ValueError(f"weights={weights!r} is not valid; allowed: numbers of at least 0, not all 0.")
        self.critic = critic
        self.critic_input = critic_input
        self.weights = None if weights is None else tuple(weights)
        self.ignore_label = ignore_label

    def forward(
        self, logits: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor, image: torch.Tensor
    ) -> torch.Tensor:
        """Compute L_adv.

        Args:
            logits: (B, 1, H, W), or a list of them with deep supervision.
            target: labels, shape (B, 1, H, W): 0, 1, or the label to ignore.
            image: shape (B, C, H, W).

        Returns:
            A scalar.

        Raises:
            ValueError: if there are not as many weights as outputs.
        """
        outputs = [logits] if isinstance(logits, torch.Tensor) else list(logits)
        weights = self.weights if self.weights is not None else (1.0,) * len(outputs)
        if len(weights) != len(outputs):
            raise ValueError(f"weights={weights!r} does not fit; allowed: {len(outputs)} numbers, one for each output.")
        valid = (target != self.ignore_label).to(image.dtype)
        truth = (target == 1).to(image.dtype)
        wanted = self.critic(critic_input(image, truth, self.critic_input))
        loss = image.new_zeros(())
        for weight, output in zip(weights, outputs, strict=True):
            seen = self.critic(critic_input(image, torch.sigmoid(output) * valid, self.critic_input))
            loss = loss + weight * (seen - wanted).abs().mean()
        return loss / sum(weights)


def clip_weights(critic: nn.Module, limit: float = 0.05) -> None:
    """Clip a critic's parameters to ±limit after each of its steps.

    SegAN's code does so; without it ``1 - L_adv`` has no lower bound.

    Args:
        critic: changed in place.
        limit: largest absolute value; 0 leaves the critic as it is.

    Raises:
        ValueError: if the limit is negative.
    """
    if limit < 0:
        raise ValueError(f"clip={limit!r} is not valid; allowed: a number of at least 0.")
    if limit == 0:
        return
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-limit, limit)
