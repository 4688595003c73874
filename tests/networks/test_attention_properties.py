"""What each attention must leave unchanged, and where it must respond."""

from __future__ import annotations

import pytest
import torch
from slow_formulas import randomized
from torch import nn

from bonemets.networks.blocks.attention.attention import ATTENTIONS, create_attention
from bonemets.networks.blocks.attention.eca import ECA
from bonemets.networks.blocks.attention.gam import GAM
from bonemets.networks.blocks.attention.lsk import LSK
from bonemets.networks.blocks.attention.non_local import NonLocal
from bonemets.networks.blocks.attention.parnet import ParNet
from bonemets.networks.blocks.attention.pscan import PSCAN
from bonemets.networks.blocks.attention.sge import SGE
from bonemets.networks.blocks.attention.simam import SimAM
from bonemets.networks.blocks.pooling.dual_pooling import DualPooling
from bonemets.networks.blocks.transformer.vit import ViTBottleneck


def maps(channels: int = 16, height: int = 8, width: int = 8, seed: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, height, width, generator=generator, dtype=torch.float64)


def shuffled(x: torch.Tensor) -> torch.Tensor:
    """The same pixels in another order."""
    order = torch.randperm(x.shape[2] * x.shape[3], generator=torch.Generator().manual_seed(0))
    return x.flatten(2)[:, :, order].reshape(x.shape)


@pytest.mark.parametrize("name", ATTENTIONS)
def test_keeps_shape_and_does_something(name):
    block, x = randomized(create_attention(name, 16)), maps()
    assert block(x).shape == x.shape
    assert not torch.allclose(block(x), x)


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if name != "parnet"])
def test_a_zero_stays_zero(name):
    # All but ParNet only multiply: where a channel is 0 it remains 0.
    x = maps()
    x[:, 3, 2:5] = 0
    assert (randomized(create_attention(name, 16))(x)[:, 3, 2:5] == 0).all()


@pytest.mark.parametrize("name", [name for name in ATTENTIONS if name not in ("parnet", "lsk")])
def test_gates_keep_the_sign_and_never_amplify(name):
    x = maps()
    ratio = randomized(create_attention(name, 16))(x) / x
    assert (ratio > 0).all() and (ratio < 1).all()


@pytest.mark.parametrize("name", ["pscan", "eca", "sge", "simam"])
def test_order_of_pixels_does_not_matter(name):
    block, x = randomized(create_attention(name, 16)), maps()
    torch.testing.assert_close(block(shuffled(x)), shuffled(block(x)))


def test_neutral_weights_halve_what_pscan_and_eca_pass():
    x = maps()
    for block in (PSCAN(16), ECA(16)):
        for parameter in block.parameters():
            nn.init.zeros_(parameter)
        torch.testing.assert_close(block.double().eval()(x), 0.5 * x)


def test_pscan_spatial_gate_is_shared_by_channels_and_channel_gate_by_pixels():
    block, x = randomized(PSCAN(16)), maps()
    assert block.spatial_attention(x).shape == (2, 1, 8, 8)
    assert block.channel_attention(x).shape == (2, 16, 1, 1)
    torch.testing.assert_close(block.channel_attention(shuffled(x)), block.channel_attention(x))
    torch.testing.assert_close(block.spatial_attention(shuffled(x)), shuffled(block.spatial_attention(x)))


def test_eca_responds_to_neighboring_channels_only():
    block, x = randomized(ECA(256)), maps(256, 4, 4)
    changed = x.clone()
    changed[:, 100] += 1
    moved = ((block(changed) / changed - block(x) / x).abs() > 1e-12).any(dim=(0, 2, 3))
    assert torch.nonzero(moved).flatten().tolist() == [98, 99, 100, 101, 102]


def test_gam_responds_within_its_two_kernels():
    block, x = randomized(GAM(16)), maps(height=21, width=21)
    changed = x.clone()
    changed[:, :, 10, 10] += 1
    rows = torch.nonzero((block(changed) != block(x)).any(dim=(0, 1, 3))).flatten().tolist()
    assert rows == list(range(10 - 6, 10 + 7))


def test_lsk_gate_depends_on_where_not_on_a_copy_elsewhere():
    block, x = randomized(LSK(16)), maps(height=40, width=40)
    changed = x.clone()
    changed[:, :, 0, 0] += 1
    moved = (block(changed) != block(x)).any(dim=(0, 1))
    # 11 px of the large kernels and 3 px of the selection: nothing beyond 14 px moves, but 14 px away something does.
    assert moved[:15, :15].any() and moved[14].any() and not moved[15:].any() and not moved[:, 15:].any()


def test_sge_starts_as_a_constant_and_keeps_groups_apart():
    x = maps()
    torch.testing.assert_close(SGE(16, groups=4).double()(x), torch.sigmoid(torch.ones(1).double()) * x)
    block = randomized(SGE(16, groups=4))
    changed = x.clone()
    changed[:, 5] += torch.randn(8, 8, generator=torch.Generator().manual_seed(1)).double()
    moved = (block(changed) != block(x)).any(dim=(0, 2, 3))
    assert torch.nonzero(moved).flatten().tolist() == [4, 5, 6, 7]


def test_simam_favors_what_stands_out():
    x = torch.ones(1, 1, 9, 9)
    torch.testing.assert_close(SimAM()(x), x * torch.sigmoid(torch.tensor(0.5)))
    x[0, 0, 4, 4] = 3.0
    gates = SimAM()(x) / x
    assert gates.argmax() == 4 * 9 + 4
    # Equation 5 at the outlier: mean 1 + 2/81, variance over 80.
    mean = 1 + 2 / 81
    variance = (80 * (1 - mean) ** 2 + (3 - mean) ** 2) / 80
    energy = torch.tensor((3 - mean) ** 2 / (4 * (variance + 1e-4)) + 0.5)
    torch.testing.assert_close(gates[0, 0, 4, 4], torch.sigmoid(energy))


def test_parnet_without_its_convolutions_is_half_of_x_through_silu():
    block, x = ParNet(16).double().eval(), maps()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(block(x), nn.functional.silu(0.5 * x))


def test_dual_pooling_gates_are_one_factor_per_row_and_one_per_column():
    block, x = randomized(DualPooling(8)), maps(8, 16, 12)
    average = nn.functional.avg_pool2d(x, 2)
    gates = block(x) / average
    torch.testing.assert_close(gates[..., 1:, 1:] * gates[..., :-1, :-1], gates[..., 1:, :-1] * gates[..., :-1, 1:])
    # A brighter maximum moves the gates of its own row and its own column, and no other.
    changed = x.clone()
    changed[:, :, 6, 4] += 10
    moved = ((block(changed) / nn.functional.avg_pool2d(changed, 2) - gates).abs() > 1e-12).any(dim=(0, 1))
    cross = torch.zeros(8, 6, dtype=torch.bool)
    cross[3, :] = cross[:, 2] = True
    assert torch.equal(moved, cross)


def test_dual_pooling_scales_the_average_only():
    block, x = randomized(DualPooling(8)), maps(8)
    # The same maxima with other averages: the gates stay.
    lower = x.clone()
    blocks = lower.unfold(2, 2, 2).unfold(3, 2, 2)
    smallest = blocks.flatten(4).argmin(dim=4)
    for i in range(4):
        for j in range(4):
            for b in range(2):
                for c in range(8):
                    place = int(smallest[b, c, i, j])
                    lower[b, c, 2 * i + place // 2, 2 * j + place % 2] -= 1
    gates = block(x) / nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(block(lower) / nn.functional.avg_pool2d(lower, 2), gates)


def test_non_local_is_the_identity_when_started_at_zero_and_ignores_the_order_of_pixels():
    x = maps()
    assert torch.equal(NonLocal(16, zero_init=True).double()(x), x)
    block = randomized(NonLocal(16))
    torch.testing.assert_close(block(shuffled(x)), shuffled(block(x)))
    x = 0.1 * x
    changed = x.clone()
    changed[:, :, 0, 0] += 1
    assert ((block(changed) - block(x)).abs() > 0).any(dim=1).all(), "every pixel sees every other"


def test_vit_adds_or_scales_by_one_number_per_channel():
    x = maps(8, 4, 4)
    added = randomized(ViTBottleneck(8, 1, 4, 16, 1, 2, merge="add"))(x) - x
    torch.testing.assert_close(added, added[:, :, :1, :1].expand_as(added))
    scaled = randomized(ViTBottleneck(8, 1, 4, 16, 1, 2, merge="scale"))(x) / x
    torch.testing.assert_close(scaled, scaled[:, :, :1, :1].expand_as(scaled))
    assert (scaled > 0).all() and (scaled < 1).all()


def test_an_unknown_attention_is_refused():
    with pytest.raises(ValueError, match=r"^attention='cbma' is not known; allowed: 'pscan', .*$"):
        create_attention("cbma", 8)
