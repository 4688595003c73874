"""Multi-attention multi-scale U-Net for bone metastases in SPECT bone scintigrams: ViT, non-local, multi-scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bonemets.networks.blocks.attention.non_local import NonLocal
from bonemets.networks.blocks.context.multi_scale import MultiScale
from bonemets.networks.blocks.layers.convolutions import DoubleConv
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.blocks.pooling.multi_pooling import MultiPooling
from bonemets.networks.blocks.transformer.vit import MERGES, NORMS, ViTBottleneck
from bonemets.networks.checks import (
    check_channels,
    check_choice,
    check_dropout,
    check_integers,
    check_positive_integer,
)

_HEADS = 8


def _stage(in_channels: int, out_channels: int, multi_scale: bool, kernels: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = [DoubleConv(in_channels, out_channels)]
    if multi_scale:
        layers.append(MultiScale(out_channels, kernels))
    return nn.Sequential(*layers)


class MultiAttentionUNet(nn.Module):
    """U-Net with multi-scale blocks in every stage, multi-pooling in the second, ViT and non-local at the bottom.

    "Methods" of the paper: multi-scale (equations 1, 2), multi-pooling (3 to 5), ViT (6 to 16), non-local (17 to 23),
    figure 1. With a 256×256 image and the default widths::

        64@256 -> multi-pooling 128@128 -> 128@128 -> 256@64 -> 512@32
        -> 512@16 -> ViT -> non-local -> 1024@16 -> 512@32 -> 256@64 -> 128@128 -> 64@256 -> logits 1@256

    Deviations:
        - Widths 64 to 512 with 1,024 at the bottom are read from table 1: len(features) = 4 makes its patch size,
          16 / 2^len(features), exactly 1, and 512 the number of channels where the ViT stands. No count is published.
        - ViT and non-local stand between the last pooling and the bottom's convolutions, where there are 512 channels.
        - With three, two or one widths the patch size is 2, 4 or 8, by the same formula.
        - The paper's dropout, 0.1, is in the ViT only. A number given as ``dropout`` also acts on the bottom map and
          before the head.
        - See the deviations of the blocks.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: one to four widths, multiples of 8; the bottom has twice the last.
        multi_scale: whether stages end in the multi-scale block (table 7).
        multi_pooling: whether the second stage starts with multi-pooling (table 7).
        non_local: whether the non-local block is there ("multi-attention" in table 7).
        vit: whether the ViT is there (table 7).
        vit_merge: how its class token flows back: ``add``, ``scale`` or ``tokens``.
        kernels: kernel sizes of the multi-scale block, odd (table 8).
        image_size: native height and width in pixels, a multiple of 16; other sizes interpolate position embeddings.
        norm: layer normalization of the ViT, ``pre`` or ``post``.
        dropout: rate that replaces the paper's; None keeps it.
        pool_sizes: one to eight sizes of the multi-pooling block's grids (figure 14).

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512),
        multi_scale: bool = True,
        multi_pooling: bool = True,
        non_local: bool = True,
        vit: bool = True,
        vit_merge: str = "add",
        kernels: Sequence[int] = (1, 3, 5),
        image_size: int = 256,
        norm: str = "pre",
        dropout: float | None = None,
        pool_sizes: Sequence[int] = (1, 2, 4, 8),
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=range(1, 5), multiple_of=_HEADS)
        sizes = check_integers("kernels", kernels, lengths=range(1, 6))
        if any(size % 2 == 0 for size in sizes):
            raise ValueError(f"kernels={kernels!r} is not valid; allowed: odd sizes in pixels.")
        grids = check_integers("pool_sizes", pool_sizes, lengths=range(1, _HEADS + 1))
        check_choice("vit_merge", vit_merge, MERGES)
        check_choice("norm", norm, NORMS)
        check_positive_integer("image_size", image_size)
        if image_size % 16:
            raise ValueError(f"image_size={image_size!r} is not valid; allowed: a multiple of 16 pixels.")

        down = 2 ** len(widths)
        self.stride = max(down, 16) if vit else down
        self.pool = nn.MaxPool2d(2)
        self.encoder = nn.ModuleList()
        self.multi_pooling = MultiPooling(widths[0], grids) if multi_pooling else nn.Identity()
        width = in_channels
        for level, feature in enumerate(widths):
            if level == 1 and multi_pooling:
                width = 2 * width
            self.encoder.append(_stage(width, feature, multi_scale, sizes))
            width = feature
        bottom = 2 * width
        below = 2 * width if len(widths) == 1 and multi_pooling else width
        rate = check_dropout(dropout, 0.1)
        self.vit = (
            ViTBottleneck(below, 16 // down, image_size // 16, width, 6, _HEADS, rate, vit_merge, norm)
            if vit
            else nn.Identity()
        )
        self.non_local = NonLocal(below) if non_local else nn.Identity()
        self.bottom = _stage(below, bottom, multi_scale, sizes)
        self.bottom_dropout = nn.Dropout(check_dropout(dropout))
        self.ups = nn.ModuleList()
        self.decoder = nn.ModuleList()
        width = bottom
        for feature in reversed(widths):
            self.ups.append(nn.ConvTranspose2d(width, feature, kernel_size=2, stride=2))
            self.decoder.append(_stage(2 * feature, feature, multi_scale, sizes))
            width = feature
        self.head_dropout = nn.Dropout(check_dropout(dropout))
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = pad_to_multiple(x, self.stride)
        skips: list[torch.Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(x)
            skips.append(x)
            x = self.pool(x)
            if level == 0:
                x = self.multi_pooling(x)
        x = self.non_local(self.vit(x))
        x = self.bottom_dropout(self.bottom(x))
        for level, (up, stage) in enumerate(zip(self.ups, self.decoder, strict=True)):
            x = stage(torch.cat([skips[-1 - level], up(x)], dim=1))
        return crop_to(self.head(self.head_dropout(x)), height, width)
