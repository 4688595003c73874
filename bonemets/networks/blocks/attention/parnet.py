"""ParNet's attention: skip-squeeze-excitation beside 1×1 and 3×3 convolutions."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.blocks.layers.convolutions import ConvBNReLU


class ParNet(nn.Module):
    """``SiLU(conv1×1(x) + conv3×3(x) + x * sigmoid(conv1×1(average of x)))``.

    Goyal et al., NeurIPS 2022, section 3.1 (RepVGG-SSE block), without the re-parameterization for inference; both
    convolutions are followed by batch normalization. No hyper-parameters.

    Args:
        channels: channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.point = ConvBNReLU(channels, channels, 1, bias=False, relu=False)
        self.local = ConvBNReLU(channels, channels, 3, bias=False, relu=False)
        self.squeeze = nn.Conv2d(channels, channels, 1)
        self.act = nn.SiLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        gate = torch.sigmoid(self.squeeze(x.mean(dim=(2, 3), keepdim=True)))
        return self.act(self.point(x) + self.local(x) + x * gate)
