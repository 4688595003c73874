"""FSM: feature selection module."""

from __future__ import annotations

import torch
from torch import nn

from bonemets.networks.checks import check_choice

GATES = ("hard", "soft")


class FSM(nn.Module):
    """Feature selection by the scale of group normalization, and cross-reconstruction.

    MFP-DeepLabv3+, section 2.1.1 and figure 2; the spatial reconstruction unit of SCConv (Li et al., CVPR 2023)::

        W_C   = gamma / sum(gamma)
        R     = sigmoid(W_C * GN(X))
        W_up  = 1 where R > 0.5, else 0;   W_low = 1 - W_up
        X_up  = W_up * X;                  X_low = W_low * X
        out   = [X_up1 + X_low2, X_up2 + X_low1]        (1, 2: halves of the channels)

    Deviations:
        - R > 0.5 is computed as W_C * GN(X) > 0. R lies within 0.4965 to 0.5038 at the start: in pure bfloat16 the
          sigmoid would flip 49 % of the gates, in float16 12 %.
        - A hard gate passes no gradient to gamma and beta; both are frozen then (still counted), or distributed
          training would wait for them.
        - ``gate="soft"`` is SCConv's code: values of R below the threshold weight the lower path instead of counting
          as 0 or 1.
        - Four groups, as in SCConv; the paper gives no number.

    Args:
        channels: channels in and out, a multiple of ``groups`` and of 2.
        groups: groups of the normalization.
        gate: ``hard`` as in the paper, or ``soft``.

    Raises:
        ValueError: if the gate is not known.
    """

    def __init__(self, channels: int, groups: int = 4, gate: str = "hard") -> None:
        super().__init__()
        check_choice("gate", gate, GATES)
        self.norm = nn.GroupNorm(groups, channels)
        self.soft = gate == "soft"
        self.norm.requires_grad_(self.soft)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        gamma = self.norm.weight
        total = gamma.sum()
        # A sum of 0 would divide by zero; the gates' signs are then gamma's own.
        weight = (gamma / torch.where(total == 0, torch.ones_like(total), total)).reshape(1, -1, 1, 1)
        scaled = self.norm(x) * weight
        informative = scaled > 0
        if self.soft:
            r = torch.sigmoid(scaled)
            up = torch.where(informative, torch.ones_like(r), r) * x
            low = torch.where(informative, torch.zeros_like(r), r) * x
        else:
            up = torch.where(informative, x, torch.zeros_like(x))
            low = torch.where(informative, torch.zeros_like(x), x)
        up_1, up_2 = torch.chunk(up, 2, dim=1)
        low_1, low_2 = torch.chunk(low, 2, dim=1)
        return torch.cat([up_1 + low_2, up_2 + low_1], dim=1)
