"""PFM: pyramid feature fusion."""

from __future__ import annotations

import torch
from torch import nn


class PyramidFusion(nn.Module):
    """Bring two coarser decoder maps to the finest one's size by transposed convolutions, and add all.

    SC-UNeXt, section 3.4: "deconvolution to expand feature layers at different levels to the same size, and then adds
    them at the element level".

    Deviations:
        - The form (1×1 to the finest width, then a depthwise transposed convolution whose kernel is its stride, both
          without bias) is fitted to the published 243.63 KB; it is not unique.

    Args:
        channels: widths of z1 (finest), z2 and z3.
    """

    def __init__(self, channels: tuple[int, int, int] = (8, 16, 32)) -> None:
        super().__init__()
        width = channels[0]
        self.expand = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(given, width, 1, bias=False),
                nn.ConvTranspose2d(width, width, factor, stride=factor, groups=width, bias=False),
            )
            for given, factor in zip(channels[1:], (2, 4), strict=True)
        )

    def forward(self, z1: torch.Tensor, z2: torch.Tensor, z3: torch.Tensor) -> torch.Tensor:
        """Map (B, C_1, H, W), (B, C_2, H/2, W/2) and (B, C_3, H/4, W/4) to (B, C_1, H, W)."""
        coarser = [z2, z3]
        for index, expand in enumerate(self.expand):
            z1 = z1 + expand(coarser[index])
        return z1
