"""The attentions of MFP-DeepLabv3+'s table 2 by name."""

from __future__ import annotations

from torch import nn

from bonemets.networks.blocks.attention.cbam import CBAM
from bonemets.networks.blocks.attention.eca import ECA
from bonemets.networks.blocks.attention.gam import GAM
from bonemets.networks.blocks.attention.lsk import LSK
from bonemets.networks.blocks.attention.parnet import ParNet
from bonemets.networks.blocks.attention.pscan import PSCAN
from bonemets.networks.blocks.attention.sge import SGE
from bonemets.networks.blocks.attention.simam import SimAM
from bonemets.networks.checks import check_choice

ATTENTIONS = ("pscan", "cbam", "eca", "gam", "lsk", "sge", "simam", "parnet")


def create_attention(name: str, channels: int) -> nn.Module:
    """Build an attention that maps (B, C, H, W) to (B, C, H, W).

    Args:
        name: one of ``ATTENTIONS``.
        channels: C.

    Returns:
        The attention with the hyper-parameters that its docstring gives.

    Raises:
        ValueError: if the name is not known.
    """
    check_choice("attention", name, ATTENTIONS)
    if name == "simam":
        return SimAM()
    classes = {"pscan": PSCAN, "cbam": CBAM, "eca": ECA, "gam": GAM, "lsk": LSK, "sge": SGE, "parnet": ParNet}
    return classes[name](channels)
