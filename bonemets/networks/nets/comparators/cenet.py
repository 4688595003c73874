"""CE-Net: ResNet-34 with DAC and RMP, which the dual-pooling U-Net borrowed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bonemets.networks.blocks.context.dac import DAC
from bonemets.networks.blocks.encoders.resnet_encoder import ResNetEncoder
from bonemets.networks.blocks.layers.convolutions import ConvBNReLU
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.blocks.pooling.rmp import RMP
from bonemets.networks.checks import check_channels, check_dropout, check_integers


class CENet(nn.Module):
    """CE-Net (Gu et al., IEEE TMI 2019).

    Deviations:
        - RMP has a 1×1 convolution for each pool, as in our dual-pooling U-Net; CE-Net's code shares one.
        - ResNet-34 starts from random weights.
        - RMP's 5×5 pool needs a bottom map of 5×5: images below 160 px are padded to 160 px.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: four widths of ResNet's stages, multiples of 4.
        dropout: rate on the bottom map and before the head; None for none.

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
        widths = check_integers("features", features, lengths=(4,), multiple_of=4)
        rate = check_dropout(dropout)
        self.stride = 32
        self.encoder = ResNetEncoder(in_channels, features=widths)
        self.context = nn.Sequential(DAC(widths[3], "raw"), RMP(widths[3]))
        self.bottom_dropout = nn.Dropout(rate)
        pairs = zip((widths[3] + 4, *widths[2::-1]), (*widths[2::-1], widths[0]), strict=True)
        self.decoder = nn.ModuleList(self._up(given, width) for given, width in pairs)
        half = widths[0] // 2
        self.last = nn.Sequential(
            nn.ConvTranspose2d(widths[0], half, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1),
            nn.ReLU(),
            nn.Dropout(rate),
        )
        self.head = nn.Conv2d(half, out_channels, 3, padding=1)

    @staticmethod
    def _up(in_channels: int, out_channels: int) -> nn.Sequential:
        inner = in_channels // 4
        return nn.Sequential(
            ConvBNReLU(in_channels, inner, 1),
            nn.ConvTranspose2d(inner, inner, 3, stride=2, padding=1, output_padding=1),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            ConvBNReLU(inner, out_channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        maps = self.encoder(pad_to_multiple(x, self.stride, 5 * self.stride))
        x = self.bottom_dropout(self.context(maps[4]))
        for index, up in enumerate(self.decoder):
            x = up(x)
            if index < 3:
                x = x + maps[3 - index]
        return crop_to(self.head(self.last(x)), height, width)
