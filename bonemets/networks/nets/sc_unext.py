"""SC-UNeXt for skin lesions, and UNeXt-S, which it builds on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.blocks.layers.sc_skip import SCSkip
from bonemets.networks.blocks.pooling.pyramid_fusion import PyramidFusion
from bonemets.networks.blocks.transformer.shifted_mlp import PatchEmbed, ShiftedMLP
from bonemets.networks.checks import check_channels, check_dropout, check_integers


class UNeXtUp(nn.Module):
    """UNeXt's decoder stage: 3×3 convolution, batch normalization, bilinear ×2, ReLU, then add the skip.

    Args:
        in_channels: channels in.
        out_channels: channels of the skip and out.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Map z (B, C_in, H, W) and the skip x (B, C_out, 2H, 2W) to (B, C_out, 2H, 2W)."""
        z = F.interpolate(self.norm(self.conv(z)), size=(x.shape[2], x.shape[3]), mode="bilinear", align_corners=False)
        return torch.relu(z) + x


class SCUNeXt(nn.Module):
    """UNeXt with multiplicative skips, CBAM and pyramid fusion.

    "SC-UNeXt", sections 3.1 to 3.4, on UNeXt-S (Valanarasu and Patel, MICCAI 2022). With a 256×256 image::

        8@128 -> 16@64 -> 32@32 -> shifted MLP 64@16 -> shifted MLP 128@8
        -> shifted MLP 64@16 -> shifted MLP 32@32 (z3) -> 16@64 (z2) -> 8@128 (z1)
        -> pyramid fusion of z1, z2, z3 -> 8@256 -> logits 1@256

    ``skip=False, fuse=False`` is UNeXt-S: 253,561 parameters, 99,229,696 multiply-adds at 256×256, the printed 247.62
    KB (counts / 1,024) and 0.10 GFLOPs. The full model has 249,478 and 129,649,312; printed: 243.63 KB and 0.13 GFLOPs.

    Deviations:
        - What the skip and the fusion are made of is fitted to these two figures; see SCSkip and PyramidFusion.
        - The transposed convolutions and CBAMs belong to the ``skip`` switch; ``fuse`` alone acts on UNeXt's maps.
        - The text sets images to 512×512, but 0.10 and 0.13 GFLOPs hold at 256×256.
        - The last decoder stage has no batch normalization, as in UNeXt's code.
        - No dropout in the paper; ``dropout`` acts in the shifted MLPs and before the head.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: five widths.
        skip: whether decoder stages are SC skips (table 2).
        fuse: whether pyramid fusion is there (table 2).
        dropout: rate that replaces the paper's (none); None keeps the paper's.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        features: Sequence[int] = (8, 16, 32, 64, 128),
        skip: bool = True,
        fuse: bool = True,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        c1, c2, c3, c4, c5 = check_integers("features", features, lengths=(5,))
        rate = check_dropout(dropout)

        self.stride = 32
        self.convs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.MaxPool2d(2), nn.ReLU())
            for i, o in ((in_channels, c1), (c1, c2), (c2, c3))
        )
        self.tokens_4 = nn.Sequential(PatchEmbed(c3, c4), ShiftedMLP(c4, rate))
        self.tokens_5 = nn.Sequential(PatchEmbed(c4, c5), ShiftedMLP(c5, rate))

        def up(wide: int, narrow: int, attention: bool = True) -> nn.Module:
            return SCSkip(wide, narrow, attention) if skip else UNeXtUp(wide, narrow)

        self.up_4 = up(c5, c4, attention=False)
        self.mlp_4 = ShiftedMLP(c4, rate)
        self.up_3 = up(c4, c3)
        self.mlp_3 = ShiftedMLP(c3, rate)
        self.up_2 = up(c3, c2)
        self.up_1 = up(c2, c1)
        self.fuse = PyramidFusion((c1, c2, c3)) if fuse else None
        self.last = nn.Conv2d(c1, c1, 3, padding=1)
        self.dropout = nn.Dropout(rate)
        self.head = nn.Conv2d(c1, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        x = pad_to_multiple(x, self.stride)
        skips: list[torch.Tensor] = []
        for conv in self.convs:
            x = conv(x)
            skips.append(x)
        x4 = self.tokens_4(x)
        z4 = self.mlp_4(self.up_4(self.tokens_5(x4), x4))
        z3 = self.mlp_3(self.up_3(z4, skips[2]))
        z2 = self.up_2(z3, skips[1])
        z1 = self.up_1(z2, skips[0])
        if self.fuse is not None:
            z1 = self.fuse(z1, z2, z3)
        last = self.last(z1)
        last = F.interpolate(last, size=(2 * last.shape[2], 2 * last.shape[3]), mode="bilinear", align_corners=False)
        return crop_to(self.head(self.dropout(torch.relu(last))), height, width)
