"""The convolution units that all networks here are made of."""

from __future__ import annotations

import torch
from torch import nn


class ConvBNReLU(nn.Module):
    """Convolution, batch normalization, ReLU; keeps height and width at stride 1.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernel_size: odd kernel size, in pixels.
        dilation: distance between the kernel's taps, in pixels.
        stride: step, in pixels.
        bias: whether the convolution has a bias (redundant before batch normalization, but counted by some papers).
        relu: whether to end in a ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        dilation: int = 1,
        stride: int = 1,
        bias: bool = True,
        relu: bool = True,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        return self.act(self.norm(self.conv(x)))


class DoubleConv(nn.Module):
    """U-Net's unit: two 3×3 convolutions, each with batch normalization and ReLU, and without bias.

    Args:
        in_channels: channels in.
        out_channels: channels out of either convolution.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = ConvBNReLU(in_channels, out_channels, bias=False)
        self.second = ConvBNReLU(out_channels, out_channels, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        return self.second(self.first(x))


class UpBlock(nn.Module):
    """U-Net's decoder stage: 2×2 transposed convolution, concatenation with the skip, :class:`DoubleConv`.

    Args:
        in_channels: channels of the map from below.
        skip_channels: channels of the encoder's map.
        out_channels: channels out.
    """

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
        self.conv = DoubleConv(skip_channels + out_channels, out_channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) and the skip (B, C_skip, 2H, 2W) to (B, C_out, 2H, 2W)."""
        return self.conv(torch.cat([skip, self.up(x)], dim=1))
