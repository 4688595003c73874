"""U-Net 3+: full-scale skip connections."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks.blocks.layers.convolutions import ConvBNReLU, DoubleConv
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.checks import check_channels, check_dropout, check_integers


class FullScaleStage(nn.Module):
    """One decoder stage: join finer encoder maps, the stage's own and coarser decoder maps.

    Args:
        given: channels of the maps of all levels.
        level: the stage's level, 0 at full size.
        share: channels that each map is brought to.
    """

    def __init__(self, given: Sequence[int], level: int, share: int) -> None:
        super().__init__()
        self.level = level
        self.joins = nn.ModuleList(ConvBNReLU(width, share) for width in given)
        self.merge = ConvBNReLU(share * len(given), share * len(given))

    def forward(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """Map one map per level, each half the size of the one before, to (B, share * levels, H, W) at its level."""
        rows, columns = maps[self.level].shape[2], maps[self.level].shape[3]
        parts: list[torch.Tensor] = []
        for source, join in enumerate(self.joins):
            given = maps[source]
            if source < self.level:
                factor = given.shape[2] // rows
                given = F.max_pool2d(given, kernel_size=[factor, factor])
            elif source > self.level:
                given = F.interpolate(given, size=(rows, columns), mode="bilinear", align_corners=False)
            parts.append(join(given))
        return self.merge(torch.cat(parts, dim=1))


class UNet3Plus(nn.Module):
    """U-Net 3+ (Huang et al., ICASSP 2020): every decoder stage sees every scale.

    Each stage joins five maps of 64 channels: the finer encoder maps by max pooling, its own, and the coarser decoder
    maps by bilinear up-sampling; then a 3×3 convolution at 320.

    Deviations:
        - Without deep supervision and without the classification-guided module.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: widths of the encoder from top to bottom.
        dropout: rate on the bottom map and before the head; None for none.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=range(2, 7))
        rate = check_dropout(dropout)
        depth = len(widths)
        share = widths[0]
        joined = share * depth

        self.stride = 2 ** (depth - 1)
        self.pool = nn.MaxPool2d(2)
        pairs = zip((in_channels, *widths[:-1]), widths, strict=True)
        self.encoder = nn.ModuleList(DoubleConv(given, width) for given, width in pairs)
        self.bottom_dropout = nn.Dropout(rate)
        self.decoder = nn.ModuleList()
        for level in range(depth - 2, -1, -1):
            given = [*widths[: level + 1], *[joined] * (depth - 2 - level), widths[-1]]
            self.decoder.append(FullScaleStage(given, level, share))
        self.head_dropout = nn.Dropout(rate)
        self.head = nn.Conv2d(joined, out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = pad_to_multiple(x, self.stride)
        maps: list[torch.Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if level else x)
            maps.append(x)
        maps[-1] = self.bottom_dropout(maps[-1])
        # From here on, each level's map is replaced by the decoder's.
        for index, stage in enumerate(self.decoder):
            maps[len(maps) - 2 - index] = stage(maps)
        return crop_to(self.head(self.head_dropout(maps[0])), height, width)
