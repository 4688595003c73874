"""CBAM: convolutional block attention module."""

from __future__ import annotations

import torch
from torch import nn


class CBAM(nn.Module):
    """Channel attention, then spatial attention.

    Woo et al., ECCV 2018; SC-UNeXt, section 3.2, equation 1::

        F'  = M_c(F) * F,    M_c = sigmoid(MLP(avgpool F) + MLP(maxpool F))
        F'' = M_s(F') * F',  M_s = sigmoid(conv_k×k[mean over channels; maximum over channels])

    Deviations:
        - The spatial convolution has neither bias nor batch normalization.

    Args:
        channels: channels in and out.
        reduction: ratio of the MLP's hidden width (16 in CBAM's paper; 8 in our SC-UNeXt); at least one unit remains.
        kernel: odd size of the spatial convolution, in pixels.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel: int = 7) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1))
        self.spatial = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def channel_attention(self, x: torch.Tensor) -> torch.Tensor:
        """Return M_c, shape (B, C, 1, 1)."""
        return torch.sigmoid(self.mlp(x.mean(dim=(2, 3), keepdim=True)) + self.mlp(x.amax(dim=(2, 3), keepdim=True)))

    def spatial_attention(self, x: torch.Tensor) -> torch.Tensor:
        """Return M_s, shape (B, 1, H, W)."""
        both = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.spatial(both))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        x = self.channel_attention(x) * x
        return self.spatial_attention(x) * x
