"""FRM: feature reconstruction module."""

from __future__ import annotations

import torch
from torch import nn


class FRM(nn.Module):
    """Multi-scale features from half of the channels, cheap ones from the other half, weighted by a softmax.

    MFP-DeepLabv3+, section 2.1.2 and figure 3; the channel reconstruction unit of SCConv (Li et al., CVPR 2023)::

        Y_u, Y_l = 1×1 squeezes of X's two halves
        Y_up     = dilated3×3(Y_u) + 1×1(Y_u)
        Y_low    = [1×1(Y_l), Y_l]
        beta     = softmax over the 2C channel means of [Y_up, Y_low]
        out      = beta_up * Y_up + beta_low * Y_low

    Deviations:
        - The two outputs of the upper path are added, as in SCConv. The text says "concatenated", but only the sum
          gives 301,120 parameters and with them table 1's 4,553,554.
        - The text prints "Y_up times Y_up"; beta_up times Y_up is meant.
        - beta is about 1 / 2C and no normalization follows: at the start three of AFFP's five branches are nearly
          silent (standard deviation 7e-4 against 0.58). This is the paper's; ``scale=True`` multiplies by 2C.

    Args:
        channels: channels in and out, a multiple of 4.
        dilation: of the 3×3 convolution, in pixels.
        weighting: whether beta weights the sum; False is the row "FSM" of table 1, which has the same count.
        scale: whether to multiply beta by 2C.
    """

    def __init__(self, channels: int, dilation: int, weighting: bool = True, scale: bool = False) -> None:
        super().__init__()
        half, squeezed = channels // 2, channels // 4
        self.half_channels = half
        self.weighting = weighting
        self.factor = float(2 * channels) if scale else 1.0
        self.squeeze_up = nn.Conv2d(half, squeezed, 1, bias=False)
        self.squeeze_low = nn.Conv2d(half, squeezed, 1, bias=False)
        self.dilated = nn.Conv2d(squeezed, channels, 3, padding=dilation, dilation=dilation)
        self.pointwise_up = nn.Conv2d(squeezed, channels, 1, bias=False)
        self.pointwise_low = nn.Conv2d(squeezed, channels - squeezed, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        y_u = self.squeeze_up(x[:, : self.half_channels])
        y_l = self.squeeze_low(x[:, self.half_channels :])
        y_up = self.dilated(y_u) + self.pointwise_up(y_u)
        y_low = torch.cat([self.pointwise_low(y_l), y_l], dim=1)
        if not self.weighting:
            return y_up + y_low
        means = torch.cat([y_up, y_low], dim=1).mean(dim=(2, 3), keepdim=True)
        beta = torch.softmax(means, dim=1) * self.factor
        beta_up, beta_low = torch.chunk(beta, 2, dim=1)
        return beta_up * y_up + beta_low * y_low
