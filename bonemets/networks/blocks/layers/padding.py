"""Any image size: pad to what a network's stride asks for, and crop its answer back."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def pad_to_multiple(x: torch.Tensor, multiple: int, least: int = 0) -> torch.Tensor:
    """Pad an image with zeros on the right and at the bottom.

    Zeros, since that is what the convolutions' own padding puts there.

    Args:
        x: images, shape (B, C, H, W).
        multiple: height and width become multiples of this number of pixels.
        least: and at least this many pixels.

    Returns:
        The padded images; ``x`` itself if it already fits.
    """
    height, width = x.shape[-2], x.shape[-1]
    bottom = max(-(-height // multiple) * multiple, least) - height
    right = max(-(-width // multiple) * multiple, least) - width
    if bottom == 0 and right == 0:
        return x
    return F.pad(x, [0, right, 0, bottom])


def crop_to(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Undo :func:`pad_to_multiple`.

    Args:
        x: images, shape (B, C, at least H, at least W).
        height: H, in pixels.
        width: W, in pixels.

    Returns:
        The upper left corner, shape (B, C, H, W).
    """
    if x.shape[-2] == height and x.shape[-1] == width:
        return x
    return x[..., :height, :width]
