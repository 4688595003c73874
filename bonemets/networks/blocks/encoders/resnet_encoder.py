"""ResNet as an encoder: MONAI's, with the maps in between and an optional dilation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.resnet import ResNet
from torch import nn


class ResNetEncoder(nn.Module):
    """ResNet (He et al., CVPR 2016) from MONAI, returning the maps at 1/2, 1/4, 1/8, 1/16 and 1/32.

    Args:
        in_channels: channels of the image.
        layers: number of units in each stage: (3, 4, 6, 3) for ResNet-34 and -50; three numbers leave the last stage
            out.
        features: inner widths of the stages; with bottlenecks four times as many channels come out.
        bottleneck: bottleneck units (ResNet-50) instead of basic ones (ResNet-34).
        dilated: keep the last two stages at 1/8 with dilations 2 and 4.
    """

    def __init__(
        self,
        in_channels: int,
        layers: Sequence[int] = (3, 4, 6, 3),
        features: Sequence[int] = (64, 128, 256, 512),
        bottleneck: bool = False,
        dilated: bool = False,
    ) -> None:
        super().__init__()
        kept = len(layers)
        resnet = ResNet(
            "bottleneck" if bottleneck else "basic",
            [*layers, *[1] * (4 - kept)],
            list(features),
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        stages = [resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4][:kept]
        self.stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.act)
        self.pool = resnet.maxpool
        self.stages = nn.ModuleList(stages)
        self.channels = [features[0], *[width * (4 if bottleneck else 1) for width in features[:kept]]]
        if dilated:
            for stage, dilation in zip(stages[2:], (2, 4), strict=False):
                for module in stage.modules():
                    if isinstance(module, nn.Conv2d):
                        module.stride = (1, 1)
                        if module.kernel_size == (3, 3):
                            module.dilation = module.padding = (dilation, dilation)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Map (B, C, H, W) to the maps of the stem and of each stage."""
        maps = [self.stem(x)]
        x = self.pool(maps[0])
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
