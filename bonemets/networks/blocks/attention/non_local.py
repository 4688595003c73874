"""Non-local block: every pixel attends to every other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class NonLocal(nn.Module):
    """Non-local attention with a residual connection.

    Multi-attention multi-scale U-Net, "Non-local attention", figure 5, after Wang et al., CVPR 2018::

        theta, phi, g = 1×1 convolutions, C -> C/2             (17)
        flattened to (B, C/2, H W)                             (18)
        f     = theta^T phi                                    (19)
        f_div = softmax(f)                                     (20)
        y     = f_div g^T, back to (B, C/2, H, W)              (21), (22)
        z     = conv1×1(y) + x                                 (23)

    Deviations:
        - Equations 19 to 21 are torch's fused attention with scale 1: the same numbers, but the H W × H W matrix is
          kept in float32 and never stored, so float16 cannot overflow.
        - ``zero_init=True`` starts the last convolution at zero, as Wang et al. do; the paper does not say, so it is
          off.

    Args:
        channels: C, an even number.
        zero_init: whether the block starts as the identity.
    """

    def __init__(self, channels: int, zero_init: bool = False) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels // 2, 1)
        self.phi = nn.Conv2d(channels, channels // 2, 1)
        self.g = nn.Conv2d(channels, channels // 2, 1)
        self.project = nn.Conv2d(channels // 2, channels, 1)
        if zero_init:
            for parameter in self.project.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        # One attention head: (B, 1, H W, C/2).
        theta = self.theta(x).flatten(2).transpose(1, 2).unsqueeze(1)
        phi = self.phi(x).flatten(2).transpose(1, 2).unsqueeze(1)
        g = self.g(x)
        y = F.scaled_dot_product_attention(theta, phi, g.flatten(2).transpose(1, 2).unsqueeze(1), scale=1.0)
        y = y.squeeze(1).transpose(1, 2).reshape(g.shape[0], g.shape[1], g.shape[2], g.shape[3])
        return self.project(y) + x
