"""Networks that the papers describe, the networks they compare with, and one registry of all."""

from bonemets.networks.nets import (
    DualPoolingUNet,
    MFPDeepLabV3Plus,
    MSANet,
    MSANetCritic,
    MultiAttentionUNet,
    SCUNeXt,
)
from bonemets.networks.registry import create_network, list_networks

__all__ = [
    "DualPoolingUNet",
    "MFPDeepLabV3Plus",
    "MSANet",
    "MSANetCritic",
    "MultiAttentionUNet",
    "SCUNeXt",
    "create_network",
    "list_networks",
]
