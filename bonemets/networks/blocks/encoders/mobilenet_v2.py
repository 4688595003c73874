"""MobileNetV2 as an encoder at output stride 16, with torchvision's names so that its weights can be loaded."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

# Sandler et al., CVPR 2018, table 2: expansion, channels, repeats, stride of the first.
_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_LAST_AT_STRIDE_16 = 13


def _unit(in_channels: int, out_channels: int, kernel: int, stride: int, groups: int, dilation: int) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU6(),
    )


class InvertedResidual(nn.Module):
    """MobileNetV2's unit: 1×1 expansion, depthwise 3×3, linear 1×1 projection, and a shortcut where shapes agree.

    Args:
        in_channels: channels in.
        out_channels: channels out.
        stride: step of the depthwise convolution, in pixels.
        expansion: ratio of the hidden width; 1 leaves the first convolution out.
        dilation: dilation of the depthwise convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int, dilation: int = 1) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [_unit(in_channels, hidden, 1, 1, 1, 1)]
        layers.append(_unit(hidden, hidden, 3, stride, hidden, dilation))
        layers += [nn.Conv2d(hidden, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]
        self.conv = nn.Sequential(*layers)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        return x + self.conv(x) if self.shortcut else self.conv(x)


class MobileNetV2Encoder(nn.Module):
    """MobileNetV2 (Sandler et al., CVPR 2018) without its last 1280-channel convolution, at output stride 16.

    Deviations:
        - As in the public DeepLabv3+ code the count was found with, stage 160 loses its stride: its own depthwise
          convolution keeps dilation 1, those after it have dilation 2. Counts: 1,811,712 with three channels in.

    Args:
        in_channels: channels of the image.
    """

    channels = (24, 32, 96, 320)

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [_unit(in_channels, 32, 3, 2, 1, 1)]
        width = 32
        for expansion, channels, repeats, first_stride in _STAGES:
            for repeat in range(repeats):
                beyond = len(layers) > _LAST_AT_STRIDE_16
                stride = first_stride if repeat == 0 and not beyond else 1
                dilation = 2 if beyond and len(layers) > _LAST_AT_STRIDE_16 + 1 else 1
                layers.append(InvertedResidual(width, channels, stride, expansion, dilation))
                width = channels
        self.features = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map (B, C, H, W) to 24@H/4 (shallow), 32@H/8 (intermediate), 96@H/16 (deep) and 320@H/16."""
        maps: list[torch.Tensor] = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in (3, 6, 13, 17):
                maps.append(x)
        return maps[0], maps[1], maps[2], maps[3]

    def load_torchvision(self, path: str | Path) -> None:
        """Load ImageNet weights from a local file in torchvision's format (``mobilenet_v2-*.pth``).

        With one input channel the first convolution's three color kernels are added up.

        Args:
            path: file of a state dict with torchvision's keys, ``features.0.0.weight`` and on.

        Raises:
            ValueError: if the file is missing, or does not hold these weights.
        """
        file = Path(path)
        if not file.is_file():
            raise ValueError(
                f"encoder_weights={str(path)!r} is not a file; allowed: torchvision's mobilenet_v2 weights."
            )
        given = torch.load(file, map_location="cpu", weights_only=True)
        wanted = self.state_dict()
        first = "features.0.0.weight"
        if first in given and wanted[first].shape[1] == 1:
            given = {**given, first: given[first].sum(dim=1, keepdim=True)}
        wrong = [key for key, value in wanted.items() if key not in given or given[key].shape != value.shape]
        if wrong:
            raise ValueError(
                f"encoder_weights={str(path)!r} does not fit at {wrong[0]!r}; allowed: torchvision's mobilenet_v2 "
                "weights for in_channels 1 or 3."
            )
        self.load_state_dict({key: given[key] for key in wanted})
