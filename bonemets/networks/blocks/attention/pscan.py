"""PSCAN: parallel spatial-channel attention network."""

from __future__ import annotations

import torch
from torch import nn


class PSCAN(nn.Module):
    """Spatial and channel self-attention side by side, averaged.

    MFP-DeepLabv3+, section 2.2 and figure 5::

        A_HW = sigmoid(softmax(avg(Q) + std(Q))^T V),  Q = W_q X, V = W_v X          (1)
        avg, std over height and width, population std                               (2), (3)
        F_HW = A_HW * X                                                              (4)
        A_CH = sigmoid(BN(conv_1×K(CFC[avg(X), std(X)])))                            (5)
        F_CH = A_CH * X                                                              (6)
        F    = (F_CH + F_HW) / 2                                                     (7)

    Deviations:
        - Equation 1 names its spatial map A_CH; A_HW is meant, as in equation 4.
        - Equation 5 adds average and standard deviation, the text merges them and feeds "a fully connected layer at the
          channel level": here two weights per channel, no bias, of which the sum is a special case.
        - The paper gives no K. 7 at 320 channels and 9 elsewhere bring the "PSCAN" row to 5,325,000 exactly; 7
          everywhere would give 5,324,996.
        - ``torch.std`` has a zero gradient on a constant channel where the root of ``torch.var`` has an infinite one.

    Args:
        channels: channels in and out, an even number.
        kernel: K, odd; None for 7 at 320 channels, else 9.
    """

    def __init__(self, channels: int, kernel: int | None = None) -> None:
        super().__init__()
        k = kernel if kernel is not None else (7 if channels == 320 else 9)
        self.query = nn.Conv2d(channels, channels // 2, 1)
        self.value = nn.Conv2d(channels, channels // 2, 1)
        self.fully_connected = nn.Conv1d(channels, channels, kernel_size=2, groups=channels, bias=False)
        self.across_channels = nn.Conv2d(1, 1, (1, k), padding=(0, k // 2))
        self.norm = nn.BatchNorm2d(1)

    def spatial_attention(self, x: torch.Tensor) -> torch.Tensor:
        """Return A_HW of equation 1, shape (B, 1, H, W)."""
        q = self.query(x).flatten(2)
        q = torch.softmax(q.mean(dim=2) + q.std(dim=2, unbiased=False), dim=1)
        v = self.value(x)
        return torch.sigmoid(torch.matmul(q.unsqueeze(1), v.flatten(2)).reshape(x.shape[0], 1, x.shape[2], x.shape[3]))

    def channel_attention(self, x: torch.Tensor) -> torch.Tensor:
        """Return A_CH of equation 5, shape (B, C, 1, 1)."""
        flat = x.flatten(2)
        statistics = torch.stack([flat.mean(dim=2), flat.std(dim=2, unbiased=False)], dim=2)
        row = self.fully_connected(statistics).reshape(x.shape[0], 1, 1, x.shape[1])
        return torch.sigmoid(self.norm(self.across_channels(row))).reshape(x.shape[0], x.shape[1], 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W), equation 7."""
        return 0.5 * (self.channel_attention(x) * x + self.spatial_attention(x) * x)
