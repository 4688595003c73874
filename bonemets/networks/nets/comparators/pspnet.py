"""PSPNet: pyramid scene parsing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks.blocks.encoders.resnet_encoder import ResNetEncoder
from bonemets.networks.blocks.layers.convolutions import ConvBNReLU
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.checks import check_channels, check_dropout, check_integers


class PSPNet(nn.Module):
    """PSPNet (Zhao et al., CVPR 2017): dilated ResNet-50 at stride 8 and averages over 1×1, 2×2, 3×3 and 6×6 grids.

    Deviations:
        - Without the auxiliary loss; ResNet-50 starts from random weights.
        - In training it needs a batch of at least two: batch normalization has one value per image in the 1×1 grid.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: four inner widths of ResNet's stages.
        dropout: rate before the head that replaces the paper's 0.1; None keeps it.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512),
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=(4,))
        self.stride = 8
        self.encoder = ResNetEncoder(in_channels, features=widths, bottleneck=True, dilated=True)
        deep = self.encoder.channels[-1]
        grids = (1, 2, 3, 6)
        self.pools = nn.ModuleList(nn.AdaptiveAvgPool2d(grid) for grid in grids)
        self.convs = nn.ModuleList(ConvBNReLU(deep, deep // len(grids), 1, bias=False) for _ in grids)
        self.merge = ConvBNReLU(2 * deep, deep // len(grids), bias=False)
        self.dropout = nn.Dropout(check_dropout(dropout, 0.1))
        self.head = nn.Conv2d(deep // len(grids), out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = pad_to_multiple(x, self.stride)
        deep = self.encoder(x)[4]
        maps = [deep]
        for pool, conv in zip(self.pools, self.convs, strict=True):
            size = (deep.shape[2], deep.shape[3])
            maps.append(F.interpolate(conv(pool(deep)), size=size, mode="bilinear", align_corners=False))
        logits = self.head(self.dropout(self.merge(torch.cat(maps, dim=1))))
        logits = F.interpolate(logits, size=(x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)
        return crop_to(logits, height, width)
