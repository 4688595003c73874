"""Parameters and multiply-adds, to the last digit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bonemets.networks import MSANetCritic, create_network

SINGLE = {"skips": "single", "upsample": "bilinear"}
PLAIN = {"multi_pooling": False, "non_local": False, "multi_scale": False, "vit": False}
BASE_32 = (32, 64, 128, 256, 512)
RMS = {"cdc": False, "msfe": False, "pyramid": False, "deep_supervision": False}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "arguments", "parameters"),
    [
        # Published: MFP-DeepLabv3+, tables 1 and 5; UNeXt-S, 247.62 KB.
        ("mfp_deeplabv3plus", {"context": "aspp", "attention": None, **SINGLE}, 5_813_266),
        ("mfp_deeplabv3plus", {"context": "fsm", "attention": None, **SINGLE}, 4_553_554),
        ("mfp_deeplabv3plus", {"context": "fsm_frm", "attention": None, **SINGLE}, 4_553_554),
        ("mfp_deeplabv3plus", {"context": "affp", "attention": None, **SINGLE}, 4_882_258),
        ("mfp_deeplabv3plus", {"context": "affp", "attention": "pscan", **SINGLE}, 5_325_000),
        ("deeplabv3plus", {}, 5_813_266),
        ("deeplabv3plus", {"out_channels": 1}, 5_813_009),
        ("sc_unext", {"skip": False, "fuse": False}, 253_561),
        ("unext", {}, 253_561),
        # Ours: the rest of MFP-DeepLabv3+'s tables 2 and 3.
        ("mfp_deeplabv3plus", {}, 5_633_800),
        ("mfp_deeplabv3plus", {"gate": "soft", "frm_scale": True}, 5_633_800),
        ("mfp_deeplabv3plus", {"upsample": "carafe"}, 6_094_636),
        ("mfp_deeplabv3plus", {"upsample": "deconv"}, 6_647_624),
        ("mfp_deeplabv3plus", {"upsample": "nearest"}, 5_552_616),
        ("mfp_deeplabv3plus", {"attention": "cbam", **SINGLE}, 4_939_096),
        ("mfp_deeplabv3plus", {"attention": "eca", **SINGLE}, 4_882_283),
        ("mfp_deeplabv3plus", {"attention": "gam", **SINGLE}, 7_627_714),
        ("mfp_deeplabv3plus", {"attention": "lsk", **SINGLE}, 5_655_472),
        ("mfp_deeplabv3plus", {"attention": "sge", **SINGLE}, 4_882_898),
        ("mfp_deeplabv3plus", {"attention": "simam", **SINGLE}, 4_882_258),
        ("mfp_deeplabv3plus", {"attention": "parnet", **SINGLE}, 9_710_610),
        # SC-UNeXt, table 2 (printed for the full model: 243.63 KB, that is 249,477 within 5).
        ("sc_unext", {"fuse": False}, 248_934),
        ("sc_unext", {"skip": False}, 254_105),
        ("sc_unext", {}, 249_478),
        # Multi-attention U-Net, tables 7 and 8.
        ("multi_attention_unet", PLAIN, 31_036_481),
        ("multi_attention_unet", {**PLAIN, "vit": True}, 50_609_217),
        ("multi_attention_unet", {"multi_pooling": False, "non_local": False}, 56_075_265),
        ("multi_attention_unet", {"multi_pooling": False}, 56_600_833),
        ("multi_attention_unet", {}, 56_678_721),
        ("multi_attention_unet", {"vit_merge": "tokens", "norm": "post"}, 56_678_721),
        ("multi_attention_unet", {"kernels": (1, 3)}, 54_705_801),
        ("multi_attention_unet", {"kernels": (1, 3, 5, 7)}, 58_712_269),
        # Figure 14: the grids share the channels, however many they are.
        ("multi_attention_unet", {"pool_sizes": (1, 2, 4)}, 56_678_721),
        ("multi_attention_unet", {"pool_sizes": (1, 2, 4, 8, 16)}, 56_678_721),
        # Dual-pooling U-Net, table 2.
        ("dual_pooling_unet", {"pooling": "max", "dac": None, "rmp": False}, 31_036_481),
        ("dual_pooling_unet", {"pooling": "average", "dac": None, "rmp": False}, 31_036_481),
        ("dual_pooling_unet", {"dac": None, "rmp": False}, 31_073_849),
        ("dual_pooling_unet", {"dac": "raw"}, 60_450_365),
        ("dual_pooling_unet", {"dac": "dac_1"}, 68_838_973),
        ("dual_pooling_unet", {}, 51_012_157),
        ("dual_pooling_unet", {"features": BASE_32, "pooling": "max", "dac": None, "rmp": False}, 7_762_465),
        ("dual_pooling_unet", {"features": BASE_32}, 12_763_461),
        # MSA-Net, table 6 (printed: 57 M with the critic).
        ("msa_net", RMS, 28_223_489),
        ("msa_net", {**RMS, "pyramid": True}, 28_231_553),
        ("msa_net", {"cdc": False, "msfe": False}, 28_232_452),
        ("msa_net", {"cdc": False}, 47_532_724),
        ("msa_net", {"msfe": False}, 28_343_620),
        ("msa_net", {}, 47_643_892),
        ("msa_net", {"dilations": (1, 5, 7, 1, 5, 7)}, 47_643_892),
        # Comparators: the classic U-Net, and what the papers of U-Net 3+ (26.97 M), CE-Net (29.00 M) and TransUNet
        # (105.3 M) state.
        ("unet", {}, 31_036_481),
        ("unet3plus", {"in_channels": 3}, 26_967_809),
        ("cenet", {"in_channels": 3}, 29_004_632),
        ("transunet", {"in_channels": 3}, 105_322_001),
    ],
)
def test_parameters(name, arguments, parameters):
    with torch.device("meta"):
        assert count(create_network(name, **arguments)) == parameters


@pytest.mark.parametrize(("channels", "parameters"), [(1, 9_386_816), (2, 9_389_952)])
def test_parameters_of_the_critic(channels, parameters):
    with torch.device("meta"):
        assert count(MSANetCritic(channels)) == parameters


def test_parameters_of_the_parts_of_the_baseline():
    with torch.device("meta"):
        network = create_network("deeplabv3plus")
    assert count(network.encoder) == 1_811_712
    assert count(network.context) == 2_707_968
    assert count(network.shallow) == 1_296
    assert count(network.fuse) == 1_291_776
    assert count(network.head) == 514


def multiply_adds(network: nn.Module, side: int) -> int:
    """Multiplications in Conv2d, ConvTranspose2d and Linear layers for one image; biases not counted."""
    total = 0

    def add(module, inputs, output):
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += module.weight[0].numel() * output[0].numel()
        elif isinstance(module, nn.ConvTranspose2d):
            total += module.weight[0].numel() * inputs[0][0].numel()
        else:
            total += module.in_features * output[0].numel()

    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    handles = [module.register_forward_hook(add) for module in network.modules() if isinstance(module, layers)]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, side, side, device="meta"))
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize(
    ("skip", "fuse", "expected"),
    [
        (False, False, 99_229_696),
        (True, False, 128_600_736),
        (False, True, 100_278_272),
        (True, True, 129_649_312),
    ],
)
def test_multiply_adds_of_sc_unext(skip, fuse, expected):
    with torch.device("meta"):
        network = create_network("sc_unext", skip=skip, fuse=fuse)
    assert multiply_adds(network, 256) == expected
