"""MSFE: multi-scale feature extraction."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.blocks.context.cdc import CRAC, DILATIONS
from bonemets.networks.blocks.context.rfb import RFB


class MSFE(nn.Module):
    """``ReLU(CRAC(x) + RFB(x))``; MSA-Net, "Multi-scale feature extraction (MSFE)", figure 4.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        dilations: of CRAC's six units.
    """

    def __init__(self, in_channels: int, out_channels: int, dilations: tuple[int, ...] = DILATIONS) -> None:
        super().__init__()
        self.crac = CRAC(in_channels, out_channels, dilations)
        self.rfb = RFB(in_channels, out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        return torch.relu(self.crac(x) + self.rfb(x))
