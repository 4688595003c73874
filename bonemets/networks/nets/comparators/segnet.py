"""SegNet: VGG-16 and un-pooling with the remembered places of the maxima."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks.blocks.layers.convolutions import ConvBNReLU
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.checks import check_channels, check_dropout, check_integers

_CONVOLUTIONS = (2, 2, 3, 3, 3)


def pool_with_places(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Max-pool by 2 and remember where each maximum was.

    Args:
        x: maps, shape (B, C, H, W).

    Returns:
        The pooled maps (B, C, H / 2, W / 2), and a one-hot tensor (B, C, H / 2, W / 2, 4) over each 2×2 block.
    """
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 2, 4, 3, 5)
    blocks = blocks.reshape(batch, channels, height // 2, width // 2, 4)
    values, places = blocks.max(dim=4)
    return values, F.one_hot(places, 4).to(x.dtype)


def unpool(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Undo :func:`pool_with_places`; everything but the maxima becomes 0."""
    batch, channels, height, width = x.shape
    blocks = (x.unsqueeze(4) * places).reshape(batch, channels, height, width, 2, 2)
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(batch, channels, 2 * height, 2 * width)


class SegNet(nn.Module):
    """SegNet (Badrinarayanan et al., IEEE TPAMI 2017) on VGG-16 with batch normalization.

    Deviations:
        - Pooling and un-pooling are written with one-hot places, which every export format can express.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: five widths.
        dropout: rate on the bottom map and before the head; None for none.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512, 512),
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=(5,))
        rate = check_dropout(dropout)
        self.stride = 32
        self.encoder = nn.ModuleList()
        self.decoder = nn.ModuleList()
        given = in_channels
        for count, width in zip(_CONVOLUTIONS, widths, strict=True):
            self.encoder.append(nn.Sequential(*(ConvBNReLU(given if n == 0 else width, width) for n in range(count))))
            given = width
        for level in range(4, -1, -1):
            count, width = _CONVOLUTIONS[level], widths[level]
            last = widths[level - 1] if level else width
            units = [ConvBNReLU(width, width if n < count - 1 else last) for n in range(count)]
            self.decoder.append(nn.Sequential(*units))
        self.bottom_dropout = nn.Dropout(rate)
        self.head_dropout = nn.Dropout(rate)
        self.head = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = pad_to_multiple(x, self.stride)
        memory: list[torch.Tensor] = []
        for stage in self.encoder:
            x, places = pool_with_places(stage(x))
            memory.append(places)
        x = self.bottom_dropout(x)
        for index, stage in enumerate(self.decoder):
            x = stage(unpool(x, memory[-1 - index]))
        return crop_to(self.head(self.head_dropout(x)), height, width)
