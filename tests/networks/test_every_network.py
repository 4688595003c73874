"""One inherited tester for every name in the registry. Run as a script, it renews the snapshot of state-dict keys."""

from __future__ import annotations

import json

from network_tester import SNAPSHOT, NetworkTester, describe_state

from bonemets.networks import list_networks

UNET = (4, 8, 8, 8, 16)


class TestMFPDeepLabV3Plus(NetworkTester):
    name = "mfp_deeplabv3plus"
    channels = (3, 2)
    # FSM's hard gate passes no gradient to its normalization.
    frozen = ("0.norm.weight", "0.norm.bias")


class TestMultiAttentionUNet(NetworkTester):
    name = "multi_attention_unet"
    narrow = {"features": (8, 8, 16, 32)}


class TestDualPoolingUNet(NetworkTester):
    name = "dual_pooling_unet"
    narrow = {"features": UNET}


class TestSCUNeXt(NetworkTester):
    name = "sc_unext"
    channels = (3, 1)


class TestMSANet(NetworkTester):
    name = "msa_net"
    narrow = {"features": (4, 8, 8, 16, 16)}


class TestDeepLabV3Plus(NetworkTester):
    name = "deeplabv3plus"
    channels = (3, 2)


class TestUNeXt(NetworkTester):
    name = "unext"
    channels = (3, 1)


class TestUNet(NetworkTester):
    name = "unet"
    narrow = {"features": UNET}


class TestUNetPlusPlus(NetworkTester):
    name = "unetplusplus"
    narrow = {"features": (4, 4, 8, 8, 16, 4)}


class TestUNet3Plus(NetworkTester):
    name = "unet3plus"
    narrow = {"features": UNET}


class TestAttentionUNet(NetworkTester):
    name = "attention_unet"
    narrow = {"features": UNET}


class TestResUNetPlusPlus(NetworkTester):
    name = "resunetplusplus"
    narrow = {"features": (4, 8, 8, 16, 16)}


class TestDoubleUNet(NetworkTester):
    name = "double_unet"
    narrow = {"features": (8, 8, 8, 16, 16)}


class TestSegNet(NetworkTester):
    name = "segnet"
    narrow = {"features": (4, 8, 8, 16, 16)}


class TestCENet(NetworkTester):
    name = "cenet"
    narrow = {"features": (4, 8, 16, 16)}


class TestPSPNet(NetworkTester):
    name = "pspnet"
    narrow = {"features": (4, 8, 8, 16)}


class TestTransUNet(NetworkTester):
    name = "transunet"
    narrow = {"features": (4, 8, 8), "hidden": 16, "depth": 2, "heads": 2, "decoder": (16, 8, 8, 4)}


class TestSegResNet(NetworkTester):
    name = "segresnet"
    narrow = {"features": 8}


class TestDynUNet(NetworkTester):
    name = "dynunet"
    narrow = {"features": (4, 8, 8, 16, 16)}


TESTERS = {tester.name: tester for tester in NetworkTester.__subclasses__()}


def test_no_network_is_left_out():
    assert sorted(TESTERS) == sorted(list_networks()) == sorted(json.loads(SNAPSHOT.read_text()))


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps({name: describe_state(name) for name in list_networks()}, indent=1) + "\n")
