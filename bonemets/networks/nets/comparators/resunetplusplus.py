"""ResUNet++: residual units, squeeze and excitation, ASPP and attention."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from monai.networks.blocks import ChannelSELayer
from torch import nn

from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.checks import check_channels, check_dropout, check_integers


def _pre_activated(in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
    return [nn.BatchNorm2d(in_channels), nn.ReLU(), nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)]


class ResidualUnit(nn.Module):
    """Two 3×3 convolutions, each after batch normalization and ReLU, and a 1×1 shortcut.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        stride: step of the first convolution, in pixels.
        first: whether it is the network's first unit, which starts with a convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, first: bool = False) -> None:
        super().__init__()
        start = [nn.Conv2d(in_channels, out_channels, 3, padding=1)] if first else []
        layers = start or _pre_activated(in_channels, out_channels, stride)
        self.body = nn.Sequential(*layers, *_pre_activated(out_channels, out_channels))
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        return self.body(x) + self.shortcut(x)


class SummedASPP(nn.Module):
    """ResUNet++'s ASPP: 3×3 convolutions with dilations 1, 6, 12 and 18, summed, then 1×1.

    Args:
        in_channels: channels in.
        out_channels: channels out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
                nn.BatchNorm2d(out_channels),
            )
            for dilation in (1, 6, 12, 18)
        )
        self.merge = nn.Conv2d(out_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        parts: list[torch.Tensor] = []
        for branch in self.branches:
            parts.append(branch(x))
        return self.merge(parts[0] + parts[1] + parts[2] + parts[3])


class Attention(nn.Module):
    """Weight the decoder's map by itself and the pooled encoder's map.

    Args:
        skip_channels: channels of the encoder's map.
        channels: channels of the decoder's map, in and out.
    """

    def __init__(self, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(*_pre_activated(skip_channels, channels), nn.MaxPool2d(2))
        self.own = nn.Sequential(*_pre_activated(channels, channels))
        self.gate = nn.Sequential(*_pre_activated(channels, channels))

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Map x (B, C, H, W) and the skip (B, C_skip, 2H, 2W) to (B, C, H, W)."""
        return x * self.gate(self.skip(skip) + self.own(x))


class ResUNetPlusPlus(nn.Module):
    """ResUNet++ (Jha et al., ISM 2019).

    Deviations:
        - SC-UNeXt prints 7.67 MB and 19.31 GFLOPs for it; no width and size tried gives both (this one has 4 million
          parameters).

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
        features: Sequence[int] = (16, 32, 64, 128, 256),
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=(5,))
        rate = check_dropout(dropout)
        self.stride = 8
        self.stem = ResidualUnit(in_channels, widths[0], first=True)
        self.encoder = nn.ModuleList(
            nn.Sequential(
                ChannelSELayer(spatial_dims=2, in_channels=given, r=min(8, given)), ResidualUnit(given, width, stride=2)
            )
            for given, width in zip(widths[:3], widths[1:4], strict=True)
        )
        self.bridge = SummedASPP(widths[3], widths[4])
        self.attentions = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for level in range(2, -1, -1):
            below, skip = widths[level + 2], widths[level]
            self.attentions.append(Attention(skip, below))
            self.decoder.append(ResidualUnit(below + skip, widths[level + 1]))
        self.last = SummedASPP(widths[1], widths[0])
        self.dropout = nn.Dropout(rate)
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = self.stem(pad_to_multiple(x, self.stride))
        skips: list[torch.Tensor] = []
        for stage in self.encoder:
            skips.append(x)
            x = stage(x)
        x = self.dropout(self.bridge(x))
        for index, (attention, stage) in enumerate(zip(self.attentions, self.decoder, strict=True)):
            skip = skips[2 - index]
            x = attention(x, skip)
            x = F.interpolate(x, size=(skip.shape[2], skip.shape[3]), mode="bilinear", align_corners=False)
            x = stage(torch.cat([x, skip], dim=1))
        return crop_to(self.head(self.dropout(self.last(x))), height, width)
