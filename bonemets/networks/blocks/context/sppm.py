"""SPPM: spatial pyramid pooling with maxima."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.blocks.layers.convolutions import ConvBNReLU


class SPPM(nn.Module):
    """Three max pools that keep the map's size, beside the map itself, merged by a 1×1 convolution.

    MFP-DeepLabv3+, section 2.1.3 and figure 4::

        y = CBR(x);  r = CBR(y);  out = CBR([r, pool5(r), pool9(r), pool13(r)])

    Deviations:
        - The pools act on r, the order of YOLO's spatial pyramid pooling; the text could also mean y. Same count.
        - Kernels 5, 9 and 13 are YOLO's; the paper gives none.
        - Only the first convolution has a bias: 328,704 parameters more, table 1's last difference.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        kernels: odd sizes of the pools, in pixels.
    """

    def __init__(self, in_channels: int = 320, out_channels: int = 256, kernels: tuple[int, ...] = (5, 9, 13)) -> None:
        super().__init__()
        self.reduce = ConvBNReLU(in_channels, out_channels, 1)
        self.residual = ConvBNReLU(out_channels, out_channels, 1, bias=False)
        self.pools = nn.ModuleList(nn.MaxPool2d(kernel, stride=1, padding=kernel // 2) for kernel in kernels)
        self.merge = ConvBNReLU(out_channels * (len(kernels) + 1), out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        r = self.residual(self.reduce(x))
        maps = [r]
        for pool in self.pools:
            maps.append(pool(r))
        return self.merge(torch.cat(maps, dim=1))
