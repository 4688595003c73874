"""RMS: residual multi-scale module."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.blocks.layers.convolutions import ConvBNReLU


class RMS(nn.Module):
    """Three 3×3 units with dilations 1, 2 and 4; the first one's result is added to the third's.

    MSA-Net, "Residual multi-scale module (RMS)", figure 5.

    Deviations:
        - "Without introducing additional parameters" is not literally so: three convolutions stand for U-Net's two.

    Args:
        in_channels: channels in.
        out_channels: channels out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ConvBNReLU(in_channels, out_channels, 3, dilation=1)
        self.second = ConvBNReLU(out_channels, out_channels, 3, dilation=2)
        self.third = ConvBNReLU(out_channels, out_channels, 3, dilation=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        first = self.first(x)
        return self.third(self.second(first)) + first
