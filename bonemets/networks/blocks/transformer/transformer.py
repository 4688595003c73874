"""The transformer encoder's layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class MultiHeadSelfAttention(nn.Module):
    """Multi-head self-attention.

    Multi-attention multi-scale U-Net, equations 10 to 12, after Vaswani et al., NeurIPS 2017::

        Q_h, K_h, V_h    = z W_Q, z W_K, z W_V                      (10)
        Attention_h      = softmax(Q_h K_h^T / sqrt(D_h)) V_h       (11)
        MultiHead(z)     = [head_1, ..., head_H] W_o                (12)

    Args:
        width: D, a multiple of ``heads``.
        heads: H.
        dropout: rate on the attention's weights and on the result.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.rate = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map (B, N, D) to (B, N, D)."""
        batch, tokens, width = z.shape
        qkv = self.qkv(z).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        rate = self.rate if self.training else 0.0
        heads = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], dropout_p=rate)
        return self.dropout(self.project(heads.transpose(1, 2).reshape(batch, tokens, width)))


class TransformerLayer(nn.Module):
    """Self-attention and a two-layer perceptron, each with a residual connection and layer normalization.

    Multi-attention multi-scale U-Net. With ``norm="pre"`` (equation 9, and the usual ViT)::

        z^ = z + MultiHead(LayerNorm(z));   out = z^ + FFN(LayerNorm(z^))

    and with ``norm="post"`` (equations 13 and 15)::

        z^ = LayerNorm(z + MultiHead(z));   out = LayerNorm(z^ + FFN(z^))

    with ``FFN(z) = GELU(z W_1 + b_1) W_2 + b_2`` (14).

    Deviations:
        - The paper prints equation 9 and equations 13 and 15, which exclude each other; "pre" is the default.
        - Equation 14 has a stray ``MLP()`` around the GELU.

    Args:
        width: D.
        heads: number of heads.
        hidden: width of the perceptron.
        dropout: rate.
        norm: ``pre`` or ``post``.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, norm: str = "pre") -> None:
        super().__init__()
        self.pre = norm == "pre"
        self.norm_attention = nn.LayerNorm(width)
        self.attention = MultiHeadSelfAttention(width, heads, dropout)
        self.norm_ffn = nn.LayerNorm(width)
        self.ffn = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width), nn.Dropout(dropout)
        )

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Map (B, N, D) to (B, N, D)."""
        if self.pre:
            z = z + self.attention(self.norm_attention(z))
            return z + self.ffn(self.norm_ffn(z))
        z = self.norm_attention(z + self.attention(z))
        return self.norm_ffn(z + self.ffn(z))
