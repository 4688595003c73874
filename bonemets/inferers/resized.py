"""Inference at the size that a network was trained at, for images of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import Inferer


class ResizedInferer(Inferer):
    """Show the network the whole image at one size, and bring its logits back to the image's own.

    Images become smaller by averaging, like MONAI's ``Resize(mode="area")``: without that, hairs and noise of a
    camera's 20 million pixels are sampled at random. Logits become larger by bilinear interpolation, so that outlines
    are smooth. Height and width change independently: the network sees every image as the same rectangle.

    Args:
        size: height and width that the network sees, in pixels.

    Raises:
        ValueError: if the size is not two positive numbers.
    """

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size={size!r} is not valid; allowed: height and width, in pixels.")
        self.size = (int(size[0]), int(size[1]))

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Map images (B, C, H, W) to logits (B, C_out, H, W)."""
        own_size = (inputs.shape[-2], inputs.shape[-1])
        if own_size == self.size:
            return network(inputs, *args, **kwargs)
        logits = network(F.interpolate(inputs, size=self.size, mode="area"), *args, **kwargs)
        return F.interpolate(logits, size=own_size, mode="bilinear", align_corners=False)
