"""Dual-pooling U-Net: He et al. 2024, Journal of Computer and Communications 12(4), doi:10.4236/jcc.2024.124006."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bonemets.networks.blocks.context.dac import DAC, VARIANTS
from bonemets.networks.blocks.layers.convolutions import DoubleConv, UpBlock
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.blocks.pooling.dual_pooling import DualPooling
from bonemets.networks.blocks.pooling.rmp import RMP
from bonemets.networks.checks import check_channels, check_choice, check_dropout, check_integers

POOLINGS = ("fusion", "max", "average")


def _pool(kind: str, channels: int) -> nn.Module:
    if kind == "fusion":
        return DualPooling(channels)
    return nn.MaxPool2d(2) if kind == "max" else nn.AvgPool2d(2)


class DualPoolingUNet(nn.Module):
    """U-Net with dual pooling on the way down and DAC and RMP at its bottom.

    He et al., "U-Net based dual-pooling segmentation of bone metastases in thoracic SPECT bone scintigrams", 2024,
    sections 2.2.1 (dual pooling) and 2.2.2 (DAC, RMP). With a 256×256 image and the default widths::

        64@256 -> 128@128 -> 256@64 -> 512@32 -> 1024@16 -> DAC -> RMP 1028@16 -> 512@32 -> ... -> 64@256 -> 1@256

    Deviations:
        - The paper gives no widths; 64 to 1024 is the classic U-Net's list. No parameter count is published.
        - The skips carry the maps before pooling, as in U-Net; the paper's figure 1 does not say.
        - RMP's 5×5 pool needs a bottom map of 5×5: images below 80 px (with four pools) are padded to 80 px.
        - No dropout in the paper; ``dropout`` acts on the bottom map and before the head.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: widths from top to bottom; one pooling between neighbors.
        pooling: ``fusion`` (dual pooling), ``max`` or ``average`` (rows 1 and 2 of table 2).
        dac: ``dac_2``, ``dac_1``, ``raw``, or None for no DAC (table 2).
        rmp: whether RMP follows.
        share_weights: whether DAC's branches share their convolutions, as in CE-Net.
        dropout: rate that replaces the paper's (none); None keeps the paper's.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512, 1024),
        pooling: str = "fusion",
        dac: str | None = "dac_2",
        rmp: bool = True,
        share_weights: bool = True,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=range(2, 8))
        check_choice("pooling", pooling, POOLINGS)
        check_choice("dac", dac, (*VARIANTS, None))
        rate = check_dropout(dropout)

        bottom = widths[-1]
        context = bottom + 4 if rmp else bottom
        ups = list(zip((context, *widths[:0:-1][1:]), widths[-2::-1], strict=True))

        self.stride = 2 ** (len(widths) - 1)
        self.least = 5 * self.stride if rmp else 0
        self.stem = DoubleConv(in_channels, widths[0])
        self.pools = nn.ModuleList(_pool(pooling, width) for width in widths[:-1])
        self.encoder = nn.ModuleList(DoubleConv(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        self.dac = DAC(bottom, dac, share_weights) if dac is not None else nn.Identity()
        self.rmp = RMP(bottom) if rmp else nn.Identity()
        self.bottom_dropout = nn.Dropout(rate)
        self.decoder = nn.ModuleList(UpBlock(below, width, width) for below, width in ups)
        self.head_dropout = nn.Dropout(rate)
        self.head = nn.Conv2d(widths[0], out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = self.stem(pad_to_multiple(x, self.stride, self.least))
        skips = [x]
        for pool, conv in zip(self.pools, self.encoder, strict=True):
            x = conv(pool(x))
            skips.append(x)
        x = self.bottom_dropout(self.rmp(self.dac(x)))
        for level, up in enumerate(self.decoder):
            x = up(x, skips[-2 - level])
        return crop_to(self.head(self.head_dropout(x)), height, width)
