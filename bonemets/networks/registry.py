"""One name for every network: ``create_network("dual_pooling_unet", in_channels=1, out_channels=1)``."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

from torch import nn

from bonemets.networks import nets

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mfp_deeplabv3plus": nets.MFPDeepLabV3Plus,
    "multi_attention_unet": nets.MultiAttentionUNet,
    "dual_pooling_unet": nets.DualPoolingUNet,
    "sc_unext": nets.SCUNeXt,
    "msa_net": nets.MSANet,
    "deeplabv3plus": partial(
        nets.MFPDeepLabV3Plus, context="aspp", attention=None, skips="single", upsample="bilinear"
    ),
    "unext": partial(nets.SCUNeXt, skip=False, fuse=False),
    "unet": nets.UNet,
    "unetplusplus": nets.UNetPlusPlus,
    "unet3plus": nets.UNet3Plus,
    "attention_unet": nets.AttentionUNet,
    "resunetplusplus": nets.ResUNetPlusPlus,
    "double_unet": nets.DoubleUNet,
    "segnet": nets.SegNet,
    "cenet": nets.CENet,
    "pspnet": nets.PSPNet,
    "transunet": nets.TransUNet,
    "segresnet": nets.SegResNet,
    "dynunet": nets.DynUNet,
}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def list_networks() -> list[str]:
    """Return the names that :func:`create_network` knows, the five papers' networks first."""
    return list(NETWORKS)


def create_network(name: str, **kwargs: Any) -> nn.Module:
    """Build a network by its name.

    Args:
        name: one of :func:`list_networks`; letter case, hyphens and underscores do not matter,
            so a class name does too.
        kwargs: arguments of the network's constructor; every network takes ``in_channels``, ``out_channels`` and
            ``dropout``.

    Returns:
        The network, with new weights.

    Raises:
        ValueError: if there is no such network; the message lists the known names and the nearest.
    """
    known = {_plain(key): key for key in NETWORKS}
    plain = _plain(str(name))
    if plain not in known:
        near = get_close_matches(plain, known, n=1, cutoff=0.0)
        raise ValueError(
            f"name={name!r} is not a known network; nearest: {known[near[0]]!r}; allowed: {', '.join(NETWORKS)}."
        )
    return NETWORKS[known[plain]](**kwargs)
