"""GAM: global attention mechanism."""

from __future__ import annotations

import torch
from torch import nn


class GAM(nn.Module):
    """Channel attention by an MLP at every pixel, then spatial attention by two 7×7 convolutions.

    Liu, Shao and Hoffmann, arXiv:2112.05561, 2021, with 7×7 kernels as there and reduction 16.

    Args:
        channels: channels in and out.
        reduction: ratio of both hidden widths.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1))
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 7, padding=3),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 7, padding=3),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        x = x * torch.sigmoid(self.channel(x))
        return x * torch.sigmoid(self.spatial(x))
