"""ASPP: atrous spatial pyramid pooling of DeepLabv3+."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks.blocks.context.parallel_branches import ParallelBranches
from bonemets.networks.blocks.layers.convolutions import ConvBNReLU


class ImagePooling(nn.Module):
    """ASPP's image-level branch: global average, 1×1 convolution, spread over the map.

    In training it needs a batch of at least two: batch normalization has one value per image and channel here.

    Args:
        in_channels: channels in.
        out_channels: channels out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(in_channels, out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W), constant over each image."""
        pooled = self.conv(x.mean(dim=(2, 3), keepdim=True))
        return F.interpolate(pooled, size=(x.shape[2], x.shape[3]), mode="bilinear", align_corners=True)


class ASPP(ParallelBranches):
    """Atrous spatial pyramid pooling (Chen et al., ECCV 2018): 1×1, three dilated 3×3, image pooling.

    Deviations:
        - Every convolution has a bias although batch normalization follows: 2,707,968 parameters at 320 -> 256, which
          brings DeepLabv3+ to the 5,813,266 that MFP-DeepLabv3+'s table 1 prints.

    Args:
        in_channels: channels in.
        out_channels: channels of each branch and of the result.
        dilations: of the three 3×3 branches, in pixels of the map.
        attention: makes an attention for each branch; None for none.
    """

    def __init__(
        self,
        in_channels: int = 320,
        out_channels: int = 256,
        dilations: tuple[int, ...] = (6, 12, 18),
        attention: Callable[[int], nn.Module] | None = None,
    ) -> None:
        branches: list[nn.Module] = [ConvBNReLU(in_channels, out_channels, 1)]
        branches += [ConvBNReLU(in_channels, out_channels, 3, dilation) for dilation in dilations]
        branches.append(ImagePooling(in_channels, out_channels))
        super().__init__(branches, [out_channels] * len(branches), out_channels, attention)
