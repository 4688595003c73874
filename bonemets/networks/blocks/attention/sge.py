"""SGE: spatial group-wise enhance."""

from __future__ import annotations

import torch
from torch import nn


class SGE(nn.Module):
    """Enhance, in each group of channels, the places that look like the group's average.

    Li, Hu and Yang, arXiv:1905.09646, 2019: the similarity of each pixel's vector to the mean vector, standardized over
    the map, scaled and shifted per group, and passed through a sigmoid.

    Deviations:
        - 64 groups as in the paper, or the largest divisor of the channels below that.
        - The scale starts at 0 and the shift at 1, as in the authors' code.

    Args:
        channels: channels in and out.
        groups: number of groups wanted.
    """

    def __init__(self, channels: int, groups: int = 64) -> None:
        super().__init__()
        self.groups = max(n for n in range(1, min(groups, channels) + 1) if channels % n == 0)
        self.scale = nn.Parameter(torch.zeros(1, self.groups, 1, 1))
        self.shift = nn.Parameter(torch.ones(1, self.groups, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        batch, channels, height, width = x.shape
        grouped = x.reshape(batch, self.groups, channels // self.groups, height, width)
        similarity = (grouped * grouped.mean(dim=(3, 4), keepdim=True)).sum(dim=2)
        centered = similarity - similarity.mean(dim=(2, 3), keepdim=True)
        # The constant keeps a flat map finite.
        spread = (centered.square().mean(dim=(2, 3), keepdim=True) + 1e-10).sqrt() + 1e-5
        gate = torch.sigmoid(centered / spread * self.scale + self.shift)
        return (grouped * gate.unsqueeze(2)).reshape(batch, channels, height, width)
