"""ECA: efficient channel attention."""

from __future__ import annotations

import math

import torch
from torch import nn


class ECA(nn.Module):
    """Channel attention by a one-dimensional convolution over neighboring channels.

    Wang et al., CVPR 2020. The kernel is the odd number at or above |log2(C) / gamma + b / gamma| with gamma 2 and b 1,
    the paper's defaults (5 at 256 and at 320 channels).

    Args:
        channels: channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        nearest = int(abs((math.log2(channels) + 1) / 2))
        kernel = nearest if nearest % 2 else nearest + 1
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        means = x.mean(dim=(2, 3)).unsqueeze(1)
        return x * torch.sigmoid(self.conv(means)).reshape(x.shape[0], x.shape[1], 1, 1)
