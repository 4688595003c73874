"""What ASPP and AFFP share: parallel branches, an optional attention on each, concatenation, 1×1 convolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from bonemets.networks.blocks.layers.convolutions import ConvBNReLU


class ParallelBranches(nn.Module):
    """Run branches on one map and merge them.

    Args:
        branches: modules that keep height and width.
        widths: channels out of each branch.
        out_channels: channels after the merging 1×1 convolution.
        attention: makes the attention for a number of channels; None for none.
    """

    def __init__(
        self,
        branches: Sequence[nn.Module],
        widths: Sequence[int],
        out_channels: int,
        attention: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.attentions = nn.ModuleList(nn.Identity() if attention is None else attention(width) for width in widths)
        self.project = ConvBNReLU(sum(widths), out_channels, kernel_size=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        maps: list[torch.Tensor] = []
        for branch, attention in zip(self.branches, self.attentions, strict=True):
            maps.append(attention(branch(x)))
        return self.project(torch.cat(maps, dim=1))
