"""SC skip: multiply the encoder's attended map with the up-sampled decoder map, instead of concatenating."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.blocks.attention.cbam import CBAM


class SCSkip(nn.Module):
    """Decoder stage of SC-UNeXt.

    SC-UNeXt, section 3.3, equation 2, ``z_1 = f([(2x, +z_2) * x_1] + z_2)``, read as::

        U   = ReLU(BN(2×2 transposed convolution(z_{i+1})))
        z_i = f(U * CBAM(x_i) + U),    f = 3×3 convolution, ReLU

    Deviations:
        - "2x, +z_2" cannot be computed as printed; it is read as "z_2 up-sampled by 2".
        - f, the CBAM's ratio 8 and where CBAM stands are fitted to the published 243.63 KB and 0.13 GFLOPs; more than
          100 other choices fit as well.

    Args:
        in_channels: channels of z_{i+1}.
        out_channels: channels of x_i and z_i.
        attention: whether the skip passes a CBAM.
    """

    def __init__(self, in_channels: int, out_channels: int, attention: bool) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=2, stride=2)
        self.norm = nn.BatchNorm2d(out_channels)
        self.attention = CBAM(out_channels, reduction=8) if attention else nn.Identity()
        self.fuse = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Map z (B, C_in, H, W) and the skip x (B, C_out, 2H, 2W) to (B, C_out, 2H, 2W)."""
        u = torch.relu(self.norm(self.up(z)))
        return torch.relu(self.fuse(u * self.attention(x) + u))
