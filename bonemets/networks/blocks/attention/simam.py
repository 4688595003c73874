"""SimAM: a simple, parameter-free attention."""

from __future__ import annotations

import torch
from torch import nn


class SimAM(nn.Module):
    """Weight each value by how far it stands out of its channel.

    Yang et al., ICML 2021, equation 5: with the channel's mean m and variance v,
    ``x * sigmoid((x - m)² / (4 (v + lambda)) + 1/2)``. No parameters.

    Args:
        regularization: lambda, 1e-4 in the paper.
    """

    def __init__(self, regularization: float = 1e-4) -> None:
        super().__init__()
        self.regularization = regularization

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        squares = (x - x.mean(dim=(2, 3), keepdim=True)).square()
        count = max(x.shape[2] * x.shape[3] - 1, 1)
        variance = squares.sum(dim=(2, 3), keepdim=True) / count
        return x * torch.sigmoid(squares / (4 * (variance + self.regularization)) + 0.5)
