"""MSA-Net: adversarial segmentation of bone metastases in SPECT bone scintigrams; generator and critic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks.blocks.context.cdc import CDC, DILATIONS
from bonemets.networks.blocks.context.msfe import MSFE
from bonemets.networks.blocks.context.rms import RMS
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.checks import check_channels, check_dropout, check_integers, check_positive_integer


class MSANet(nn.Module):
    """MSA-Net's generator: CDC, MSFE, RMS, an image pyramid, and four supervised outputs.

    "The generator network", figure 2. With a 256×256 image and the default widths::

        CDC 64@256 -> [+ image/2] MSFE 128@128 -> [+ image/4] 256@64 -> [+ image/8] 512@32 -> 512@16
        -> RMS 512@32 (D1) -> 256@64 (D2) -> 128@128 (D3) -> 64@256 (D4), each with a 1×1 head

    Down-sampling is average pooling, up-sampling bilinear; the image pyramid is average pooling too.

    Deviations:
        - The widths are fitted to the paper's "57 M": generator 47,643,892 and critic 9,386,816 make 57,030,708.
        - Sigmoids are left to the caller; this returns logits.
        - No dropout in the paper; ``dropout`` acts on the bottom map and before the heads.
        - ``dilations`` changes CRAC only (table 8); CDC keeps 1, 2, 4, 1, 2, 4 and RMS 1, 2, 4.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: five widths.
        cdc: whether the first stage is CDC instead of RMS (table 6).
        msfe: whether the other encoder stages are MSFE instead of RMS (table 6).
        pyramid: whether the reduced image joins stages 2 to 4 (table 6).
        deep_supervision: whether D1 to D3 have heads too (table 6).
        dilations: six dilations of CRAC (table 8).
        dropout: rate that replaces the paper's (none); None keeps the paper's.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256, 512, 512),
        cdc: bool = True,
        msfe: bool = True,
        pyramid: bool = True,
        deep_supervision: bool = True,
        dilations: Sequence[int] = DILATIONS,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=(5,))
        crac_dilations = check_integers("dilations", dilations, lengths=(6,))
        rate = check_dropout(dropout)

        self.stride = 16
        self.pyramid = pyramid
        self.deep_supervision = deep_supervision
        self.pool = nn.AvgPool2d(2)
        self.first = CDC(in_channels, widths[0]) if cdc else RMS(in_channels, widths[0])
        self.encoder = nn.ModuleList()
        for level in range(1, 5):
            given = widths[level - 1] + (in_channels if pyramid and level < 4 else 0)
            stage = MSFE(given, widths[level], crac_dilations) if msfe else RMS(given, widths[level])
            self.encoder.append(stage)
        self.bottom_dropout = nn.Dropout(rate)
        self.decoder = nn.ModuleList()
        below = widths[4]
        for width in widths[3::-1]:
            self.decoder.append(RMS(below + width, width))
            below = width
        supervised = widths[3::-1] if deep_supervision else widths[:1]
        self.head_dropout = nn.Dropout(rate)
        self.heads = nn.ModuleList(nn.Conv2d(width, out_channels, 1) for width in supervised)

    def decode(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return the decoder's four maps D1 (coarsest) to D4 of an image whose sides are multiples of 16."""
        x = self.first(image)
        skips = [x]
        for level, stage in enumerate(self.encoder):
            x = self.pool(x)
            image = self.pool(image)
            if self.pyramid and level < 3:
                x = torch.cat([x, image], dim=1)
            x = stage(x)
            skips.append(x)
        x = self.bottom_dropout(x)
        maps: list[torch.Tensor] = []
        for level, stage in enumerate(self.decoder):
            skip = skips[-2 - level]
            x = F.interpolate(x, size=(skip.shape[2], skip.shape[3]), mode="bilinear", align_corners=False)
            x = stage(torch.cat([x, skip], dim=1))
            maps.append(x)
        return maps

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Map images of any size to logits.

        Args:
            x: images, shape (B, in_channels, H, W).

        Returns:
            In training with deep supervision the list of logits of D1, D2, D3 and D4, each (B, out_channels, H, W);
            otherwise, and always in TorchScript, those of D4 alone.
        """
        height, width = x.shape[-2], x.shape[-1]
        padded = pad_to_multiple(x, self.stride)
        maps = self.decode(padded)
        logits: list[torch.Tensor] = []
        first = 4 - len(self.heads)
        for level, head in enumerate(self.heads):
            if self.training or level == len(self.heads) - 1:
                out = head(self.head_dropout(maps[first + level]))
                size = (padded.shape[2], padded.shape[3])
                out = F.interpolate(out, size=size, mode="bilinear", align_corners=False)
                logits.append(crop_to(out, height, width))
        if not torch.jit.is_scripting():
            return logits if self.training and self.deep_supervision else logits[-1]
        return logits[-1]


class MSANetCritic(nn.Module):
    """MSA-Net's discriminator: six convolutions whose maps, weighted and flattened, are one long vector.

    "The discriminator network", figure 6, after SegAN's critic (Xue et al., Neuroinformatics 2018)::

        f1 = LeakyReLU(conv7×7 s2, 64)
        f2..f6 = LeakyReLU(BN(conv)): 5×5, 4×4, 4×4, 4×4, 3×3, all s2, widths 128, 256, 512, 512, 512
        D(x) = [x, f1, 2 f2, 2 f3, 2 f4, 2 f5, 4 f6], flattened

    Deviations:
        - The paper's "weighted sum, flattened into a one-dimensional tensor" is this weighted concatenation, which is
          what SegAN's code computes. That code also declares six large-kernel blocks that are never called; they are
          left out.
        - No ``dropout``: two passes through the critic are compared, and must see the same network.

    Args:
        in_channels: channels of the critic's input: the image's, or twice that with ``concat`` (table 11).
        features: six widths.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    weights = (1.0, 2.0, 2.0, 2.0, 2.0, 4.0)

    def __init__(self, in_channels: int = 1, features: Sequence[int] = (64, 128, 256, 512, 512, 512)) -> None:
        super().__init__()
        check_positive_integer("in_channels", in_channels)
        widths = (in_channels, *check_integers("features", features, lengths=(6,)))
        self.layers = nn.ModuleList()
        for index, (kernel, padding) in enumerate(((7, 3), (5, 2), (4, 1), (4, 1), (4, 1), (3, 1))):
            conv = nn.Conv2d(widths[index], widths[index + 1], kernel, stride=2, padding=padding, bias=False)
            norm = nn.BatchNorm2d(widths[index + 1]) if index else nn.Identity()
            self.layers.append(nn.Sequential(conv, norm, nn.LeakyReLU(0.2)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, n); n is 2,072,576 for one channel at 256×256."""
        parts = [x.flatten(1)]
        for layer, weight in zip(self.layers, self.weights, strict=True):
            x = layer(x)
            parts.append(weight * x.flatten(1))
        return torch.cat(parts, dim=1)
