"""LSK: large selective kernel attention."""

from __future__ import annotations

import torch
from torch import nn


class LSK(nn.Module):
    """Choose between two large depthwise kernels at every pixel.

    Li et al., ICCV 2023, section 3.3: a 5×5 and, after it, a 7×7 with dilation 3 (23 px together), each reduced to half
    of the channels; mean and maximum over channels decide through a 7×7 convolution.

    Args:
        channels: channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.near = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.far = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.reduce_near = nn.Conv2d(channels, half, 1)
        self.reduce_far = nn.Conv2d(channels, half, 1)
        self.select = nn.Conv2d(2, 2, 7, padding=3)
        self.project = nn.Conv2d(half, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        near = self.near(x)
        far = self.reduce_far(self.far(near))
        near = self.reduce_near(near)
        both = torch.cat([near, far], dim=1)
        choice = torch.cat([both.mean(dim=1, keepdim=True), both.amax(dim=1, keepdim=True)], dim=1)
        choice = torch.sigmoid(self.select(choice))
        return x * self.project(near * choice[:, :1] + far * choice[:, 1:])
