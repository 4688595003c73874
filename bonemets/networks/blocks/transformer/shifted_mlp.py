"""Shifted, tokenized MLP of UNeXt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def shift_channels(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Shift five groups of channels by -2, -1, 0, 1 and 2 pixels; zeros come in at the border.

    Args:
        x: maps, shape (B, C, H, W).
        dim: 2 to shift along the height, 3 along the width.

    Returns:
        The shifted maps, same shape.
    """
    size = x.shape[dim]
    padding = [0, 0, 2, 2] if dim == 2 else [2, 2, 0, 0]
    shifted: list[torch.Tensor] = []
    for index, group in enumerate(torch.chunk(F.pad(x, padding), 5, dim=1)):
        # Group number `index` shifts by index - 2, so it reads that much earlier; the padding has moved pixel 0 to 2.
        shifted.append(group.narrow(dim, 4 - index, size))
    return torch.cat(shifted, dim=1)


class ShiftedMLP(nn.Module):
    """Mix channels at each pixel while groups of channels are shifted, first down and up, then left and right.

    UNeXt (Valanarasu and Patel, MICCAI 2022), section 2, equations 1 to 4::

        y   = LN(x)
        y   = GELU(DWConv(Linear(shift along H of y)))
        out = LN'(x + Linear(shift along W of y))

    Deviations:
        - LN' is the normalization that UNeXt's code applies to the tokens after each block.
        - The depthwise convolution sits between the linear layers, as in UNeXt's code.

    Args:
        channels: channels in and out; the hidden width is the same.
        dropout: rate behind the activation and behind the second linear layer.
    """

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(channels)
        self.linear_1 = nn.Linear(channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(channels, channels)
        self.norm_out = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        y = self.norm_in(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = self.linear_1(shift_channels(y, 2).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = self.dropout(self.act(self.depthwise(y)))
        y = self.dropout(self.linear_2(shift_channels(y, 3).permute(0, 2, 3, 1)))
        return self.norm_out(x.permute(0, 2, 3, 1) + y).permute(0, 3, 1, 2)


class PatchEmbed(nn.Module):
    """Overlapping patches: 3×3 convolution with stride 2, layer normalization over channels.

    Args:
        in_channels: channels in.
        out_channels: channels out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H / 2, W / 2)."""
        return self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
