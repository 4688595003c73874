"""RFB: receptive field block."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.blocks.layers.convolutions import ConvBNReLU


class RFB(nn.Module):
    """Three branches with kernels 1, 3, 5 followed by dilations 1, 3, 5, and a residual path, summed.

    MSA-Net, "Multi-scale feature extraction (MSFE)", figure 4, after Liu, Huang and Wang, ECCV 2018.

    Deviations:
        - Each branch enters by a 1×1 convolution to 1/8 of the output's channels, as in the RFB paper; MSA-Net gives
          neither. With the critic this makes 57.03 M parameters, MSA-Net's "57 M"; 1/4 would give 60.0 M.
        - "Equivalent kernel 5" is two 3×3 convolutions.
        - The residual path is a 1×1 convolution with batch normalization, since channels change.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        reduction: ratio of the branches' inner width.
    """

    def __init__(self, in_channels: int, out_channels: int, reduction: int = 8) -> None:
        super().__init__()
        inner = max(1, out_channels // reduction)
        self.branches = nn.ModuleList()
        for index, dilation in enumerate((1, 3, 5)):
            units = [ConvBNReLU(in_channels, inner, 1)]
            units += [ConvBNReLU(inner, inner) for _ in range(index)]
            self.branches.append(nn.Sequential(*units, ConvBNReLU(inner, out_channels, 3, dilation)))
        self.residual = ConvBNReLU(in_channels, out_channels, 1, relu=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W); no ReLU at the end."""
        out = self.residual(x)
        for branch in self.branches:
            out = out + branch(x)
        return out
