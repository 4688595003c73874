"""DoubleU-Net: two U-Nets in a row, the second looks at the image through the first one's answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.blocks import ChannelSELayer
from torch import nn

from bonemets.networks.blocks.context.aspp import ASPP
from bonemets.networks.blocks.layers.convolutions import ConvBNReLU
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.checks import check_channels, check_dropout, check_integers

# Convolutions in the five stages of VGG-19.
_CONVOLUTIONS = (2, 2, 4, 4, 4)


def _unit(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        ConvBNReLU(in_channels, out_channels),
        ConvBNReLU(out_channels, out_channels),
        ChannelSELayer(spatial_dims=2, in_channels=out_channels, r=min(8, out_channels)),
    )


class DoubleUNet(nn.Module):
    """DoubleU-Net (Jha et al., CBMS 2020): VGG-19 U-Net, then a second U-Net on image times first mask.

    Deviations:
        - Returns the second network's logits; the original returns both masks side by side.
        - The first mask has one channel whatever ``out_channels`` is, since it multiplies the image.
        - VGG-19 has batch normalization and starts from random weights.
        - In training it needs a batch of at least two (image pooling in ASPP).

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: five widths of VGG's stages, multiples of 2; the other parts have half of them.
        dropout: rate on both bottom maps and before the head; None for none.

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
        widths = check_integers("features", features, lengths=(5,), multiple_of=2)
        rate = check_dropout(dropout)
        halves = [width // 2 for width in widths[:4]]
        bridge = widths[0]

        self.stride = 16
        self.pool = nn.MaxPool2d(2)
        self.encoder_1 = nn.ModuleList()
        given = in_channels
        for count, width in zip(_CONVOLUTIONS, widths, strict=True):
            units = [ConvBNReLU(given if n == 0 else width, width) for n in range(count)]
            self.encoder_1.append(nn.Sequential(*units))
            given = width
        self.aspp_1 = ASPP(widths[4], bridge)
        self.encoder_2 = nn.ModuleList(
            _unit(given, width) for given, width in zip((in_channels, *halves), halves, strict=False)
        )
        self.aspp_2 = ASPP(halves[3], bridge)
        self.decoder_1 = nn.ModuleList()
        self.decoder_2 = nn.ModuleList()
        below = bridge
        for level in range(3, -1, -1):
            self.decoder_1.append(_unit(below + widths[level], halves[level]))
            self.decoder_2.append(_unit(below + widths[level] + halves[level], halves[level]))
            below = halves[level]
        self.dropout = nn.Dropout(rate)
        self.head_1 = nn.Conv2d(halves[0], 1, 1)
        self.head_2 = nn.Conv2d(halves[0], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        image = pad_to_multiple(x, self.stride)
        skips_1: list[torch.Tensor] = []
        x = image
        for level, stage in enumerate(self.encoder_1):
            x = stage(self.pool(x) if level else x)
            skips_1.append(x)
        x = self.dropout(self.aspp_1(x))
        for index, stage in enumerate(self.decoder_1):
            skip = skips_1[3 - index]
            x = F.interpolate(x, size=(skip.shape[2], skip.shape[3]), mode="bilinear", align_corners=False)
            x = stage(torch.cat([x, skip], dim=1))
        x = image * torch.sigmoid(self.head_1(x))
        skips_2: list[torch.Tensor] = []
        for stage in self.encoder_2:
            x = stage(x)
            skips_2.append(x)
            x = self.pool(x)
        x = self.dropout(self.aspp_2(x))
        for index, stage in enumerate(self.decoder_2):
            skip = skips_1[3 - index]
            x = F.interpolate(x, size=(skip.shape[2], skip.shape[3]), mode="bilinear", align_corners=False)
            x = stage(torch.cat([x, skip, skips_2[3 - index]], dim=1))
        return crop_to(self.head_2(self.dropout(x)), height, width)
