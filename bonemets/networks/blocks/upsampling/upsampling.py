"""The up-samplings of MFP-DeepLabv3+'s table 3 by name."""

from __future__ import annotations

from torch import nn

from bonemets.networks.blocks.upsampling.carafe import CARAFE
from bonemets.networks.blocks.upsampling.dysample import DySample
from bonemets.networks.checks import check_choice

UPSAMPLINGS = ("dysample", "bilinear", "nearest", "deconv", "carafe")


def create_upsampling(name: str, channels: int, scale: int) -> nn.Module:
    """Build a module that maps (B, C, H, W) to (B, C, scale * H, scale * W).

    Args:
        name: one of ``UPSAMPLINGS``; ``bilinear`` aligns corners, ``deconv`` is a transposed convolution whose kernel
            equals its stride.
        channels: C.
        scale: the factor.

    Returns:
        The module.

    Raises:
        ValueError: if the name is not known.
    """
    check_choice("upsample", name, UPSAMPLINGS)
    if name == "dysample":
        return DySample(channels, scale)
    if name == "carafe":
        return CARAFE(channels, scale)
    if name == "deconv":
        return nn.ConvTranspose2d(channels, channels, kernel_size=scale, stride=scale)
    if name == "nearest":
        return nn.Upsample(scale_factor=scale, mode="nearest")
    return nn.Upsample(scale_factor=scale, mode="bilinear", align_corners=True)
