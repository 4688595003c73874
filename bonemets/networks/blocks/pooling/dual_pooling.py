"""Dual pooling: coordinate attention of the max-pooled map weights the average-pooled one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class DualPooling(nn.Module):
    """Halve a map by fusing maximum and average pooling.

    He et al. 2024 (doi:10.4236/jcc.2024.124006), section 2.2.1 and figure 2, after coordinate attention (Hou et al.,
    CVPR 2021). With M = maxpool(x) and A = avgpool(x)::

        [f_h; f_w] = hardswish(BN(W_1 [mean over width of M; mean over height of M]))
        out        = A * sigmoid(W_h f_h) * sigmoid(W_w f_w)

    Deviations:
        - The hidden width, max(8, C / 32), is that of the coordinate-attention paper; this paper gives none.
        - Only the average-pooled map is weighted, and only by the maximum-pooled map's gates: "the max pooling results
          are encoded in two directions; the weight of the results is multiplied by the average pooling results".

    Args:
        channels: channels of the map.
        reduction: ratio of the hidden width.
        least: smallest hidden width.
    """

    def __init__(self, channels: int, reduction: int = 32, least: int = 8) -> None:
        super().__init__()
        hidden = max(least, channels // reduction)
        self.encode = nn.Conv2d(channels, hidden, kernel_size=1)
        self.norm = nn.BatchNorm2d(hidden)
        self.act = nn.Hardswish()
        self.gate_height = nn.Conv2d(hidden, channels, kernel_size=1)
        self.gate_width = nn.Conv2d(hidden, channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H // 2, W // 2)."""
        maximum = F.max_pool2d(x, 2)
        average = F.avg_pool2d(x, 2)
        per_row = maximum.mean(dim=3, keepdim=True)
        per_column = maximum.mean(dim=2, keepdim=True)
        both = torch.cat([per_row, per_column.transpose(2, 3)], dim=2)
        both = self.act(self.norm(self.encode(both)))
        rows, columns = torch.split(both, [maximum.shape[2], maximum.shape[3]], dim=2)
        gate_rows = torch.sigmoid(self.gate_height(rows))
        gate_columns = torch.sigmoid(self.gate_width(columns.transpose(2, 3)))
        return average * gate_rows * gate_columns
