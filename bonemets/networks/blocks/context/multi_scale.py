"""Multi-scale block: kernels of several sizes side by side."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.blocks.layers.convolutions import ConvBNReLU


class MultiScale(nn.Module):
    """Inception-like branches, concatenated to the width of the input.

    Multi-attention multi-scale U-Net, "Multi-scale feature learning strategy", figure 2, equations 1 and 2::

        U' = [1×1 | 1×1 then 3×3 | 1×1 then 5×5 | maxpool 3×3 then 1×1],   C' = C_1 + C_2 + C_3 + C_p

    Deviations:
        - The text says "five branches", equation 1 has four terms; four, one per kernel and one for the pool.
        - The widths of the branches are not given: an equal share each, the remainder to the 1×1 branch, so C' = C.
        - Batch normalization and ReLU follow every convolution, the 1×1 reductions included.

    Args:
        channels: channels in and out.
        kernels: odd kernel sizes in pixels, 1 among them or not (table 8: 1,3 or 1,3,5 or 1,3,5,7).
    """

    def __init__(self, channels: int, kernels: tuple[int, ...] = (1, 3, 5)) -> None:
        super().__init__()
        share = channels // (len(kernels) + 1)
        self.branches = nn.ModuleList()
        for index, kernel in enumerate(kernels):
            width = channels - share * len(kernels) if index == 0 else share
            if kernel == 1:
                self.branches.append(ConvBNReLU(channels, width, 1))
            else:
                self.branches.append(nn.Sequential(ConvBNReLU(channels, width, 1), ConvBNReLU(width, width, kernel)))
        self.branches.append(nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), ConvBNReLU(channels, share, 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        maps: list[torch.Tensor] = []
        for branch in self.branches:
            maps.append(branch(x))
        return torch.cat(maps, dim=1)
