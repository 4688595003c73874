"""DAC: dense atrous convolution, four cascades with growing receptive fields."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.checks import check_choice

VARIANTS = ("raw", "dac_1", "dac_2")

# The convolutions of each branch: "d3" is 3×3 with dilation 3, "last" the closing convolution.
_BRANCHES: dict[str, tuple[tuple[str, ...], ...]] = {
    "raw": (("d1",), ("d3", "last"), ("d1", "d3", "last"), ("d1", "d3", "d5", "last")),
    "dac_1": (("d1",), ("d3", "last"), ("d1", "d3", "last"), ("d1", "d3", "d5", "last")),
    "dac_2": (("d1",), ("d1", "d1", "last"), ("d1", "d2", "last"), ("d1", "d1", "d2", "last")),
}


class DAC(nn.Module):
    """Dense atrous convolution: ``x`` plus four branches of stacked, dilated convolutions.

    CE-Net (Gu et al., IEEE TMI 2019, section III-B) and its two redesigns of He et al. 2024
    (doi:10.4236/jcc.2024.124006, section 2.2.2, figure 3). Receptive fields of the branches:

    ========= ================================================ ============
    variant   branches (dN: 3×3 of dilation N)                 pixels
    ========= ================================================ ============
    ``raw``   d1 | d3, 1×1 | d1, d3, 1×1 | d1, d3, d5, 1×1     3, 7, 9, 19
    ``dac_1`` the same with a closing 3×3 instead of 1×1       3, 9, 11, 21
    ``dac_2`` d1 | d1, d1, 1×1 | d1, d2, 1×1 | d1, d1, d2, 1×1 3, 5, 7, 9
    ========= ================================================ ============

    Deviations:
        - As in CE-Net's own code the branches share their convolutions, there is no batch normalization, and one ReLU
          ends each branch. ``share_weights=False`` gives each branch its own.
        - The figure of ``dac_2`` is read as the plainest one with its stated fields 3, 5, 7 and 9 and without gridding:
          dilation 2 always follows a dense convolution.

    Args:
        channels: channels in and out.
        variant: one of ``raw``, ``dac_1``, ``dac_2``.
        share_weights: whether the branches share their convolutions.

    Raises:
        ValueError: if the variant is not known.
    """

    __constants__ = ("share_weights", "variant")

    def __init__(self, channels: int, variant: str = "dac_2", share_weights: bool = True) -> None:
        super().__init__()
        check_choice("variant", variant, VARIANTS)
        self.variant = variant
        self.share_weights = share_weights
        closing = 3 if variant == "dac_1" else 1

        def convolution(name: str) -> nn.Conv2d:
            if name == "last":
                return nn.Conv2d(channels, channels, closing, padding=closing // 2)
            dilation = int(name[1:])
            return nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)

        if share_weights:
            self.d1 = convolution("d1")
            self.second = convolution("d2" if variant == "dac_2" else "d3")
            self.third = nn.Identity() if variant == "dac_2" else convolution("d5")
            self.last = convolution("last")
        else:
            self.own = nn.ModuleList(nn.Sequential(*map(convolution, branch)) for branch in _BRANCHES[variant])

    def branches(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the four branches before their ReLU, each (B, C, H, W)."""
        if not self.share_weights:
            return [branch(x) for branch in self.own]
        dense = self.d1(x)
        if self.variant == "dac_2":
            twice = self.d1(dense)
            return [dense, self.last(twice), self.last(self.second(dense)), self.last(self.second(twice))]
        wider = self.second(dense)
        return [dense, self.last(self.second(x)), self.last(wider), self.last(self.third(wider))]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        out = x
        for branch in self.branches(x):
            out = out + torch.relu(branch)
        return out
