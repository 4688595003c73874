"""RMP: residual multi-kernel pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class RMP(nn.Module):
    """Residual multi-kernel pooling: context from max pools of several sizes, one channel each.

    CE-Net (Gu et al., IEEE TMI 2019, section III-C); used with 2×2, 3×3, 4×4 and 5×5 pools by He et al. 2024
    (doi:10.4236/jcc.2024.124006, section 2.2.2). Each pool (stride = kernel) is reduced to one channel by a 1×1
    convolution, brought back to the map's size, and concatenated with the map.

    Deviations:
        - CE-Net's code lets the four pools share one 1×1 convolution; here each has its own, as both papers' figures
          draw four.
        - Up-sampling is bilinear with ``align_corners=False``.

    Args:
        channels: channels in.
        kernels: sizes of the pools, in pixels; the map must be at least as large as the largest.
    """

    def __init__(self, channels: int, kernels: tuple[int, ...] = (2, 3, 4, 5)) -> None:
        super().__init__()
        self.kernels = kernels
        self.pools = nn.ModuleList(nn.MaxPool2d(kernel) for kernel in kernels)
        self.convs = nn.ModuleList(nn.Conv2d(channels, 1, kernel_size=1) for _ in kernels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, number of pools + C, H, W); the pools come first."""
        maps: list[torch.Tensor] = []
        for pool, conv in zip(self.pools, self.convs, strict=True):
            context = conv(pool(x))
            maps.append(F.interpolate(context, size=(x.shape[2], x.shape[3]), mode="bilinear", align_corners=False))
        maps.append(x)
        return torch.cat(maps, dim=1)
