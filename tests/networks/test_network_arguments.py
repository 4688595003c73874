"""The registry, the constructors' arguments, ImageNet weights from a file, and sizes."""

from __future__ import annotations

import inspect

import pytest
import torch

import bonemets.networks
from bonemets.networks import (
    DualPoolingUNet,
    MFPDeepLabV3Plus,
    MSANet,
    MSANetCritic,
    MultiAttentionUNet,
    SCUNeXt,
    create_network,
    list_networks,
    nets,
)
from bonemets.networks.blocks.encoders.mobilenet_v2 import MobileNetV2Encoder
from bonemets.networks.blocks.layers.padding import crop_to, pad_to_multiple


def test_the_papers_come_first_and_every_name_is_built():
    papers = ["mfp_deeplabv3plus", "multi_attention_unet", "dual_pooling_unet", "sc_unext", "msa_net"]
    assert list_networks()[:5] == papers
    with torch.device("meta"):
        for name in list_networks():
            assert isinstance(create_network(name, dropout=0.1), torch.nn.Module)


@pytest.mark.parametrize("name", ["DualPoolingUNet", "dual-pooling-unet", "dual_pooling_unet", "DUAL POOLING UNET"])
def test_spelling_of_a_name_does_not_matter(name):
    with torch.device("meta"):
        assert isinstance(create_network(name), DualPoolingUNet)


def test_class_names_find_their_class():
    with torch.device("meta"):
        found = {type(create_network(known)).__name__ for known in list_networks()}
    assert found == set(nets.__all__) - {"MSANetCritic"}


@pytest.mark.parametrize(("name", "nearest"), [("dual_poling_unet", "dual_pooling_unet"), ("Unet4", "unet")])
def test_an_unknown_name_lists_the_known_and_the_nearest(name, nearest):
    with pytest.raises(
        ValueError, match=f"^name='{name}' is not a known network; nearest: '{nearest}'; allowed: "
    ) as error:
        create_network(name)
    assert all(known in str(error.value) for known in list_networks())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("network", "argument", "value"),
    [
        (MFPDeepLabV3Plus, "context", "spp"),
        (MFPDeepLabV3Plus, "attention", "none"),
        (MFPDeepLabV3Plus, "attention_at", "input"),
        (MFPDeepLabV3Plus, "skips", 3),
        (MFPDeepLabV3Plus, "upsample", "bicubic"),
        (MFPDeepLabV3Plus, "gate", "medium"),
        (MFPDeepLabV3Plus, "encoder_weights", "nowhere.pth"),
        (MultiAttentionUNet, "features", (64, 128, 256, 512, 1024)),
        (MultiAttentionUNet, "features", (60, 120)),
        (MultiAttentionUNet, "features", 64),
        (MultiAttentionUNet, "vit_merge", "multiply"),
        (MultiAttentionUNet, "kernels", (1, 2, 3)),
        (MultiAttentionUNet, "kernels", ()),
        (MultiAttentionUNet, "pool_sizes", ()),
        (MultiAttentionUNet, "pool_sizes", (1, 0)),
        (MultiAttentionUNet, "image_size", 200),
        (MultiAttentionUNet, "norm", "both"),
        (DualPoolingUNet, "features", (64,)),
        (DualPoolingUNet, "pooling", "median"),
        (DualPoolingUNet, "dac", "dac_3"),
        (DualPoolingUNet, "dac", False),
        (SCUNeXt, "features", (8, 16, 32, 64)),
        (MSANet, "features", (64, 128, 256, 512)),
        (MSANet, "features", (64, 128, 256, 512, 0)),
        (MSANet, "dilations", (1, 2, 4)),
        (MSANetCritic, "in_channels", 0),
        (MSANetCritic, "features", (64, 128)),
        (nets.SegResNet, "features", 12),
        (nets.TransUNet, "hidden", 100),
        (nets.TransUNet, "image_size", 100),
    ],
)
def test_bad_arguments_name_argument_value_and_what_is_allowed(network, argument, value):
    with pytest.raises(ValueError) as error:
        network(**{argument: value})
    message = str(error.value)
    assert message.startswith(f"{argument}={value!r} ")
    assert "allowed: " in message and "\n" not in message


@pytest.fixture(scope="module")
def torchvision_weights(tmp_path_factory):
    """A file as torchvision's: the encoder's keys, its last convolution, and the classifier."""
    torch.manual_seed(3)
    state = {
        key: torch.rand_like(value.float()).to(value.dtype) for key, value in MobileNetV2Encoder().state_dict().items()
    }
    state["features.18.0.weight"] = torch.rand(1280, 320, 1, 1)
    state["classifier.1.weight"] = torch.rand(1000, 1280)
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.pth"
    torch.save(state, path)
    return path, state


def test_encoder_has_torchvisions_names():
    keys = list(MobileNetV2Encoder().state_dict())
    assert keys[0] == "features.0.0.weight" and keys[1] == "features.0.1.weight"
    for key in ("features.1.conv.0.0.weight", "features.1.conv.1.weight", "features.1.conv.2.running_mean"):
        assert key in keys
    for key in ("features.2.conv.1.0.weight", "features.17.conv.2.weight", "features.17.conv.3.bias"):
        assert key in keys
    # 52 convolutions in torchvision's network, one of them the 1,280-channel one that is left out.
    assert sum(value.ndim == 4 for value in MobileNetV2Encoder().state_dict().values()) == 51


def test_loads_imagenet_weights_from_a_file(torchvision_weights):
    path, state = torchvision_weights
    network = MFPDeepLabV3Plus(encoder_weights=path)
    for key, value in network.encoder.state_dict().items():
        assert torch.equal(value, state[key])
    gray = MFPDeepLabV3Plus(in_channels=1, encoder_weights=path).encoder.features[0][0].weight
    torch.testing.assert_close(gray, state["features.0.0.weight"].sum(dim=1, keepdim=True))


def test_refuses_weights_that_do_not_fit(torchvision_weights, tmp_path):
    path, state = torchvision_weights
    with pytest.raises(ValueError, match="^encoder_weights=.* does not fit at 'features.0.0.weight'; allowed: "):
        MFPDeepLabV3Plus(in_channels=2, encoder_weights=path)
    del state["features.17.conv.2.weight"]
    torch.save(state, tmp_path / "half.pth")
    with pytest.raises(ValueError, match="does not fit at 'features.17.conv.2.weight'"):
        MFPDeepLabV3Plus(encoder_weights=tmp_path / "half.pth")


def test_padding_is_on_the_right_and_at_the_bottom_and_is_undone():
    x = torch.rand(1, 2, 33, 48)
    padded = pad_to_multiple(x, 16, least=50)
    assert padded.shape == (1, 2, 50, 50) and torch.equal(padded[..., :33, :48], x)
    assert (padded[..., 33:, :] == 0).all() and (padded[..., 48:] == 0).all()
    assert torch.equal(crop_to(padded, 33, 48), x)
    assert pad_to_multiple(x[..., :32, :], 16).shape == (1, 2, 32, 48)


def test_dual_pooling_takes_images_smaller_than_its_largest_pool():
    with torch.no_grad():
        assert DualPoolingUNet(features=(4, 4, 4, 4, 8)).eval()(torch.rand(1, 1, 17, 30)).shape == (1, 1, 17, 30)


@pytest.mark.parametrize("features", [(8,), (8, 16), (8, 8, 16), (8, 8, 8, 16)])
@pytest.mark.parametrize("size", [(256, 256), (96, 130)])
def test_multi_attention_unet_with_fewer_stages_has_larger_patches(features, size):
    network = MultiAttentionUNet(features=features).eval()
    assert network.vit.patch_size == 16 // 2 ** len(features)
    with torch.no_grad():
        assert network(torch.rand(1, 1, *size)).shape == (1, 1, *size)


def test_shared_and_own_weights_of_dac_start_from_the_same_formula():
    shared, own = DualPoolingUNet(features=(4, 8)), DualPoolingUNet(features=(4, 8), share_weights=False)
    count = [sum(p.numel() for p in network.dac.parameters()) for network in (shared, own)]
    # dac_2 shares 2 3×3 and a 1×1; on their own the branches hold 8 3×3 and 3 1×1.
    assert count == [2 * (9 * 64 + 8) + 72, 8 * (9 * 64 + 8) + 3 * 72]


def test_frm_scale_multiplies_the_branches():
    torch.manual_seed(0)
    plain = MFPDeepLabV3Plus().eval()
    scaled = MFPDeepLabV3Plus(frm_scale=True).eval()
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(1, 320, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(scaled.context.branches[2](x), 640 * plain.context.branches[2](x))


def test_soft_gate_trains_the_normalization():
    soft, hard = MFPDeepLabV3Plus(gate="soft"), MFPDeepLabV3Plus()
    assert all(parameter.requires_grad for parameter in soft.parameters())
    assert sum(not parameter.requires_grad for parameter in hard.parameters()) == 6


@pytest.mark.parametrize(
    ("network", "defaults"),
    [
        (
            MFPDeepLabV3Plus,
            {
                "in_channels": 3,
                "out_channels": 2,
                "context": "affp",
                "attention": "pscan",
                "attention_at": "branches",
                "skips": "multi",
                "upsample": "dysample",
            },
        ),
        (
            MultiAttentionUNet,
            {
                "in_channels": 1,
                "out_channels": 1,
                "features": (64, 128, 256, 512),
                "multi_scale": True,
                "multi_pooling": True,
                "non_local": True,
                "vit": True,
                "vit_merge": "add",
                "kernels": (1, 3, 5),
                "image_size": 256,
            },
        ),
        (
            DualPoolingUNet,
            {
                "in_channels": 1,
                "out_channels": 1,
                "features": (64, 128, 256, 512, 1024),
                "pooling": "fusion",
                "dac": "dac_2",
                "rmp": True,
            },
        ),
        (
            SCUNeXt,
            {"in_channels": 3, "out_channels": 1, "features": (8, 16, 32, 64, 128), "skip": True, "fuse": True},
        ),
        (
            MSANet,
            {
                "in_channels": 1,
                "out_channels": 1,
                "features": (64, 128, 256, 512, 512),
                "cdc": True,
                "msfe": True,
                "pyramid": True,
                "deep_supervision": True,
                "dilations": (1, 2, 4, 1, 2, 4),
            },
        ),
    ],
)
def test_arguments_and_defaults_stay_as_bundles_use_them(network, defaults):
    parameters = inspect.signature(network).parameters
    assert {name: parameter.default for name, parameter in list(parameters.items())[: len(defaults)]} == defaults
    assert list(parameters)[: len(defaults)] == list(defaults)
    assert parameters["dropout"].default is None


def test_everything_is_exported():
    assert set(bonemets.networks.__all__) >= {"create_network", "list_networks", "MSANetCritic", "SCUNeXt"}
    for name in nets.__all__:
        assert getattr(nets, name).__doc__


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        MultiAttentionUNet(features=(8, 8, 8, 16)),
        DualPoolingUNet(features=(4, 4, 4, 4, 8)),
        SCUNeXt(),
        MSANet(features=(4, 4, 8, 8, 8)),
        MFPDeepLabV3Plus(),
    ],
    ids=lambda network: type(network).__name__,
)
def test_exports_with_a_dynamic_size(network):
    network.eval()
    channels = 3 if isinstance(network, SCUNeXt | MFPDeepLabV3Plus) else 1
    height, width = torch.export.Dim("h", min=8, max=64), torch.export.Dim("w", min=8, max=64)
    program = torch.export.export(
        network,
        (torch.rand(1, channels, 32 * 10, 32 * 9),),
        dynamic_shapes=({2: network.stride * height, 3: network.stride * width},),
    )
    images = torch.rand(1, channels, 256, 288)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(images), network(images), rtol=1e-4, atol=1e-5)
