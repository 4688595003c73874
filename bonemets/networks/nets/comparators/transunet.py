"""TransUNet: ResNet-50, ViT-Base and a cascaded up-sampler."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks.blocks.encoders.resnet_encoder import ResNetEncoder
from bonemets.networks.blocks.layers.convolutions import ConvBNReLU, DoubleConv
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple
from bonemets.networks.blocks.transformer.transformer import TransformerLayer
from bonemets.networks.blocks.transformer.vit import resize_positions
from bonemets.networks.checks import check_channels, check_dropout, check_integers, check_positive_integer


class TransUNet(nn.Module):
    """TransUNet (Chen et al., arXiv:2102.04306, 2021), R50-ViT-B/16.

    Deviations:
        - The ResNet (3, 4 and 9 units, as there) is the standard one with batch normalization; the original has
          pre-activations, group normalization and standardized weights, for the sake of its ImageNet-21k checkpoint.
        - Everything starts from random weights; position embeddings are interpolated for other image sizes.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        features: inner widths of ResNet's three stages; four times as many channels come out.
        hidden: width of the transformer, a multiple of ``heads``.
        depth: its number of layers.
        heads: its number of heads.
        decoder: four widths of the up-sampler.
        image_size: native height and width in pixels, a multiple of 16.
        dropout: rate in the transformer that replaces the paper's 0.1; None keeps it.

    Raises:
        ValueError: if an argument is not allowed; the message says which and what is.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        features: Sequence[int] = (64, 128, 256),
        hidden: int = 768,
        depth: int = 12,
        heads: int = 12,
        decoder: Sequence[int] = (256, 128, 64, 16),
        image_size: int = 256,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels)
        widths = check_integers("features", features, lengths=(3,))
        ups = check_integers("decoder", decoder, lengths=(4,))
        for name, value in (("hidden", hidden), ("depth", depth), ("heads", heads), ("image_size", image_size)):
            check_positive_integer(name, value)
        if hidden % heads:
            raise ValueError(f"hidden={hidden!r} is not valid; allowed: a multiple of heads={heads!r}.")
        if image_size % 16:
            raise ValueError(f"image_size={image_size!r} is not valid; allowed: a multiple of 16 pixels.")
        rate = check_dropout(dropout, 0.1)

        self.stride = 16
        self.grid = image_size // 16
        self.encoder = ResNetEncoder(in_channels, (3, 4, 9), (*widths, widths[-1]), bottleneck=True)
        stem, quarter, eighth, sixteenth = self.encoder.channels
        self.embed = nn.Conv2d(sixteenth, hidden, 1)
        self.positions = nn.Parameter(torch.zeros(1, self.grid**2, hidden))
        nn.init.normal_(self.positions, std=0.02)
        self.dropout = nn.Dropout(rate)
        self.layers = nn.ModuleList(TransformerLayer(hidden, heads, 4 * hidden, rate) for _ in range(depth))
        self.norm = nn.LayerNorm(hidden)
        self.bridge = ConvBNReLU(hidden, 2 * ups[0], bias=False)
        given = (2 * ups[0] + eighth, ups[0] + quarter, ups[1] + stem, ups[2])
        self.decoder = nn.ModuleList(DoubleConv(wide, width) for wide, width in zip(given, ups, strict=True))
        self.head = nn.Conv2d(ups[-1], out_channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (B, in_channels, H, W) of any size to logits (B, out_channels, H, W)."""
        height, width = x.shape[-2], x.shape[-1]
        maps = self.encoder(pad_to_multiple(x, self.stride))
        embedded = self.embed(maps[3])
        rows, columns = embedded.shape[2], embedded.shape[3]
        positions = resize_positions(self.positions, self.grid, rows, columns).to(embedded.dtype)
        z = self.dropout(embedded.flatten(2).transpose(1, 2) + positions)
        for layer in self.layers:
            z = layer(z)
        x = self.bridge(self.norm(z).transpose(1, 2).reshape(z.shape[0], z.shape[2], rows, columns))
        for index, stage in enumerate(self.decoder):
            size = (2 * x.shape[2], 2 * x.shape[3])
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            if index < 3:
                x = torch.cat([x, maps[2 - index]], dim=1)
            x = stage(x)
        return crop_to(self.head(x), height, width)
