"""CDC and CRAC: cascades of dilated convolutions, without and with residual connections."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.blocks.layers.convolutions import ConvBNReLU

DILATIONS = (1, 2, 4, 1, 2, 4)


class CDC(nn.Module):
    """Cascade dilated convolution: six 3×3 units in a row, dilations 1, 2, 4, 1, 2, 4.

    MSA-Net, "Cascade dilated convolution (CDC)", figure 3. Receptive fields after each unit (equation 1, table 2): 3,
    7, 15, 17, 21 and 29 px. The dilations follow hybrid dilated convolution and leave no holes.

    Deviations:
        - The case labels of equation 1 are off by one; rf_0 = 1 gives the values of table 2.

    Args:
        in_channels: channels in.
        out_channels: channels of every unit.
        dilations: of the six units.
    """

    def __init__(self, in_channels: int, out_channels: int, dilations: tuple[int, ...] = DILATIONS) -> None:
        super().__init__()
        widths = (in_channels, *[out_channels] * 5)
        self.units = nn.ModuleList(
            ConvBNReLU(width, out_channels, 3, dilation) for width, dilation in zip(widths, dilations, strict=True)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        for unit in self.units:
            x = unit(x)
        return x


class CRAC(CDC):
    """Cascade residual atrous convolution: :class:`CDC` with two residual connections.

    MSA-Net, "Multi-scale feature extraction (MSFE)", figure 4: the first unit's result is added to the third's, the
    fourth's to the sixth's.

    Args:
        in_channels: channels in.
        out_channels: channels of every unit.
        dilations: of the six units (table 8).
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        shortcut = x
        for index, unit in enumerate(self.units):
            x = unit(x)
            if index in (0, 3):
                shortcut = x
            elif index in (2, 5):
                x = x + shortcut
        return x
