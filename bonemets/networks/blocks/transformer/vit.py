"""ViT bottleneck: a vision transformer whose class token flows back into the map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks.blocks.transformer.transformer import TransformerLayer
from bonemets.networks.checks import check_choice

MERGES = ("add", "scale", "tokens")
NORMS = ("pre", "post")


def resize_positions(positions: torch.Tensor, grid: int, rows: int, columns: int) -> torch.Tensor:
    """Interpolate the position embeddings of a square grid of patches (bicubic; unchanged at the native size).

    Args:
        positions: shape (1, grid * grid, D).
        grid: patches along each side at the native size.
        rows: patches wanted along the height.
        columns: patches wanted along the width.

    Returns:
        Embeddings of shape (1, rows * columns, D).
    """
    native = positions.transpose(1, 2).reshape(1, positions.shape[2], grid, grid)
    resized = F.interpolate(native, size=(rows, columns), mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2)


class ViTBottleneck(nn.Module):
    """Vision transformer on a feature map, with a class token.

    Multi-attention multi-scale U-Net, "ViT learning strategy", figure 4 and table 1::

        N     = (H / P) (W / P) patches                        (6)
        z_0^i = E x_p^i + p_i                                  (7)
        z_0   = [class token; z_0^1; ...; z_0^N]               (8)
        six transformer layers, 8 heads                        (9) to (15)
        h     = head of z_[CLS]                                (16)

    Deviations:
        - Equation 16's "feature map" h is a vector of as many numbers as the map has channels (table 1: num_classes
          512). ``merge="add"`` adds it to every pixel, the only reading that keeps shapes and the map without
          parameters; ``scale`` multiplies by sigmoid(h); ``tokens`` replaces the map by the patch tokens, put through
          the same head.
        - The perceptron's width is 4 D = 2,048, the usual ratio; the paper gives none.
        - For other image sizes the position embeddings are interpolated (bicubic; unchanged at the native size).
        - Equation 7's E has P·P·C × D elements; the paper prints P × P × C × D.

    Args:
        channels: C of the map.
        patch_size: P, in pixels of the map.
        grid: patches along each side at the native size.
        width: D.
        depth: number of layers.
        heads: number of heads.
        dropout: rate, 0.1 in table 1.
        merge: ``add``, ``scale`` or ``tokens``.
        norm: ``pre`` or ``post``, see :class:`TransformerLayer`.

    Raises:
        ValueError: if merge or norm is not known.
    """

    def __init__(
        self,
        channels: int,
        patch_size: int = 1,
        grid: int = 16,
        width: int = 512,
        depth: int = 6,
        heads: int = 8,
        dropout: float = 0.1,
        merge: str = "add",
        norm: str = "pre",
    ) -> None:
        super().__init__()
        check_choice("vit_merge", merge, MERGES)
        check_choice("norm", norm, NORMS)
        self.patch_size = patch_size
        self.grid = grid
        self.merge = merge
        self.embed = nn.Linear(patch_size**2 * channels, width)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, grid**2 + 1, width))
        nn.init.normal_(self.class_token, std=0.02)
        nn.init.normal_(self.positions, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(TransformerLayer(width, heads, 4 * width, dropout, norm) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, channels)

    def position_embeddings(self, rows: int, columns: int) -> torch.Tensor:
        """Return the embeddings of the class token and of rows × columns patches, shape (1, 1 + N, D)."""
        patches = resize_positions(self.positions[:, 1:], self.grid, rows, columns)
        return torch.cat([self.positions[:, :1], patches], dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W), H and W multiples of the patch size, to (B, C, H, W)."""
        batch, channels, height, width = x.shape
        p = self.patch_size
        rows, columns = height // p, width // p
        patches = x.reshape(batch, channels, rows, p, columns, p).permute(0, 2, 4, 3, 5, 1)
        z = self.embed(patches.reshape(batch, rows * columns, p * p * channels))
        z = torch.cat([self.class_token.to(z.dtype).expand(batch, -1, -1), z], dim=1)
        z = self.dropout(z + self.position_embeddings(rows, columns).to(z.dtype))
        for layer in self.layers:
            z = layer(z)
        z = self.norm(z)
        if self.merge == "tokens":
            tokens = self.head(z[:, 1:]).transpose(1, 2).reshape(batch, channels, rows, columns)
            return F.interpolate(tokens, size=(height, width), mode="bilinear", align_corners=False)
        h = self.head(z[:, 0]).reshape(batch, channels, 1, 1)
        return x * torch.sigmoid(h) if self.merge == "scale" else x + h
