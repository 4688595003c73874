"""Multi-pooling block: context averaged over grids of several sizes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class MultiPooling(nn.Module):
    """Concatenate a map with its averages over 1×1, 2×2, 4×4 and 8×8 grids.

    Multi-attention multi-scale U-Net, "Multi-pooling learning strategy", figure 3, after PSPNet::

        F_i           = conv1×1(adaptive average pool of F_input to s_i × s_i), C -> C / N     (3)
        F_i_upsampled = bilinear up-sampling of F_i to the size of F_input                     (4)
        F_concat      = [F_input, F_1_upsampled, ..., F_4_upsampled]                           (5)

    Deviations:
        - Equation 3's "window size" s is read as the size of the pooled grid, as in PSPNet; as a window, 1×1 would be
          the map itself.
        - Neither normalization nor ReLU follows the convolution: equation 3 has none.
        - Where the number of grids does not divide C, the first grids get one channel more, so that C come from them.

    Args:
        channels: channels in, at least one per grid; twice as many come out.
        grids: s, sizes of the grids.
    """

    def __init__(self, channels: int, grids: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        super().__init__()
        share, rest = divmod(channels, len(grids))
        self.pools = nn.ModuleList(nn.AdaptiveAvgPool2d(grid) for grid in grids)
        self.convs = nn.ModuleList(nn.Conv2d(channels, share + (i < rest), 1) for i in range(len(grids)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, 2 C, H, W)."""
        maps = [x]
        for pool, conv in zip(self.pools, self.convs, strict=True):
            context = conv(pool(x))
            maps.append(F.interpolate(context, size=(x.shape[2], x.shape[3]), mode="bilinear", align_corners=False))
        return torch.cat(maps, dim=1)
