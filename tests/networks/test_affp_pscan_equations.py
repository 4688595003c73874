"""MFP-DeepLabv3+'s blocks against slow, obvious formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from slow_formulas import batch_norm, conv, conv_bn_relu, image, pool, randomized, read, run, sigmoid, softmax

from bonemets.networks.blocks.attention.pscan import PSCAN
from bonemets.networks.blocks.context.frm import FRM
from bonemets.networks.blocks.context.fsm import FSM
from bonemets.networks.blocks.context.sppm import SPPM
from bonemets.networks.blocks.upsampling.carafe import CARAFE
from bonemets.networks.blocks.upsampling.dysample import DySample


def spatial_branch(x, block):
    q, v = conv(x, block.query), conv(x, block.value)
    average = np.array([channel.sum() / channel.size for channel in q])
    deviation = np.array([np.sqrt(((c - m) ** 2).sum() / c.size) for c, m in zip(q, average, strict=True)])
    weights = softmax(average + deviation, axis=0)
    attention = np.zeros(x.shape[1:])
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            attention[i, j] = sigmoid(sum(weights[c] * v[c, i, j] for c in range(len(weights))))
    return attention


def channel_branch(x, block):
    weight = block.fully_connected.weight.detach().numpy()
    merged = np.array([weight[c, 0, 0] * x[c].mean() + weight[c, 0, 1] * x[c].std() for c in range(len(x))])
    kernel = block.across_channels.weight.detach().numpy().ravel()
    mixed = np.zeros(len(x))
    for c in range(len(x)):
        mixed[c] = block.across_channels.bias.item()
        for tap, factor in enumerate(kernel):
            neighbor = c + tap - len(kernel) // 2
            if 0 <= neighbor < len(x):
                mixed[c] += factor * merged[neighbor]
    return sigmoid(batch_norm(mixed[None], block.norm)[0])


def test_pscan_equations_1_to_7():
    block, x = randomized(PSCAN(8)), image(8, 5, 4)
    spatial, channel = spatial_branch(x, block), channel_branch(x, block)
    tensor = torch.from_numpy(x)[None]
    np.testing.assert_allclose(block.spatial_attention(tensor)[0, 0].detach(), spatial, atol=1e-10)
    np.testing.assert_allclose(block.channel_attention(tensor)[0, :, 0, 0].detach(), channel, atol=1e-10)
    np.testing.assert_allclose(run(block, x), (channel[:, None, None] * x + spatial * x) / 2, atol=1e-10)


@pytest.mark.parametrize("channels", [320, 256])
def test_pscan_kernels_and_parameters(channels):
    kernel = 7 if channels == 320 else 9
    block = PSCAN(channels)
    assert block.across_channels.kernel_size == (1, kernel)
    assert sum(p.numel() for p in block.parameters()) == channels**2 + 3 * channels + kernel + 3


def test_pscan_has_finite_gradients_on_a_constant_channel():
    x = torch.ones(2, 8, 4, 4, requires_grad=True)
    PSCAN(8)(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_pscan_channel_attention_responds_to_neighbors_only():
    block, x = randomized(PSCAN(32, kernel=7)), torch.from_numpy(image(32, 4, 4))[None]
    changed = x.clone()
    changed[0, 10] += 1
    moved = (block.channel_attention(changed) != block.channel_attention(x)).flatten()
    assert torch.nonzero(moved).flatten().tolist() == list(range(7, 14))


def group_norm(x, layer):
    out = np.zeros_like(x)
    size = len(x) // layer.num_groups
    for group in range(layer.num_groups):
        part = slice(group * size, (group + 1) * size)
        out[part] = (x[part] - x[part].mean()) / np.sqrt(x[part].var() + layer.eps)
    return out * layer.weight.detach().numpy()[:, None, None] + layer.bias.detach().numpy()[:, None, None]


@pytest.mark.parametrize("gate", ["hard", "soft"])
def test_fsm(gate):
    block, x = randomized(FSM(8, gate=gate)), image(8, 4, 5)
    gamma = block.norm.weight.detach().numpy()
    r = sigmoid((gamma / gamma.sum())[:, None, None] * group_norm(x, block.norm))
    w_up = np.where(r > 0.5, 1, 0 if gate == "hard" else r)
    w_low = np.where(r > 0.5, 0, 1 if gate == "hard" else r)
    up, low = w_up * x, w_low * x
    np.testing.assert_allclose(run(block, x), np.concatenate([up[:4] + low[4:], up[4:] + low[:4]]), atol=1e-12)


def test_fsm_keeps_the_sum_of_the_halves():
    # X_up + X_low = X, and the cross-reconstruction only exchanges parts between the halves.
    block, x = randomized(FSM(8)), image(8, 6, 6)
    out = run(block, x)
    np.testing.assert_allclose(out[:4] + out[4:], x[:4] + x[4:], atol=1e-12)
    assert not np.allclose(out, x)


def test_fsm_survives_scales_that_sum_to_zero():
    block = FSM(8)
    block.norm.weight.data = torch.tensor([1.0, -1.0] * 4)
    assert torch.isfinite(block(torch.randn(1, 8, 4, 4))).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_fsm_gates_the_same_at_half_precision(dtype):
    # With sigmoid(...) > 0.5 bfloat16 would flip half of the gates.
    torch.manual_seed(0)
    block, x = FSM(320), torch.randn(1, 320, 8, 8)
    exact = block(x.to(dtype).float())
    half = block.to(dtype)(x.to(dtype)).float()
    assert (torch.isclose(half, exact, atol=0.05, rtol=0.02)).float().mean() > 0.99


@pytest.mark.parametrize(("weighting", "scale"), [(True, False), (True, True), (False, False)])
def test_frm(weighting, scale):
    block, x = randomized(FRM(8, 2, weighting, scale)), image(8, 5, 5)
    y_u, y_l = conv(x[:4], block.squeeze_up), conv(x[4:], block.squeeze_low)
    up = conv(y_u, block.dilated) + conv(y_u, block.pointwise_up)
    low = np.concatenate([conv(y_l, block.pointwise_low), y_l])
    if weighting:
        means = np.concatenate([up, low]).mean(axis=(1, 2))
        beta = softmax(means, axis=0) * (16 if scale else 1)
        up, low = beta[:8, None, None] * up, beta[8:, None, None] * low
    np.testing.assert_allclose(run(block, x), up + low, atol=1e-10)


def test_sppm():
    block, x = randomized(SPPM(6, 4)), image(6, 9, 8)
    r = conv_bn_relu(conv_bn_relu(x, block.reduce), block.residual)
    maps = np.concatenate([r, *(pool(r, kernel, 1, kernel // 2) for kernel in (5, 9, 13))])
    assert maps.shape == (16, 9, 8)
    np.testing.assert_allclose(run(block, x), conv_bn_relu(maps, block.merge), atol=1e-10)


@pytest.mark.parametrize("dynamic_scope", [True, False])
def test_dysample_reads_where_it_says(dynamic_scope):
    s, groups, channels = 2, 2, 4
    block = randomized(DySample(channels, s, groups, dynamic_scope))
    x = image(channels, 4, 5)
    offset = conv(x, block.offset) * (sigmoid(conv(x, block.scope)) * 0.5 if dynamic_scope else 0.25)
    wanted = np.zeros((channels, 4 * s, 5 * s))
    for group in range(groups):
        part = slice(group * 2, group * 2 + 2)
        for i in range(4 * s):
            for j in range(5 * s):
                position = (i % s) * s + j % s
                across = offset[group * s * s + position, i // s, j // s]
                down = offset[(groups + group) * s * s + position, i // s, j // s]
                # Plain bilinear interpolation would read here; the offset is in low-resolution pixels.
                row, column = (i + 0.5) / s - 0.5 + down, (j + 0.5) / s - 0.5 + across
                wanted[part, i, j] = read(x[part], row, column)
    np.testing.assert_allclose(run(block, x), wanted, atol=2e-5)


@pytest.mark.parametrize("scale", [2, 4])
def test_dysample_starts_as_bilinear_interpolation(scale):
    block, x = DySample(8, scale), torch.randn(2, 8, 6, 5)
    torch.nn.init.zeros_(block.offset.weight)
    bilinear = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    torch.testing.assert_close(block(x), bilinear, rtol=1e-4, atol=1e-5)


def test_dysample_keeps_a_constant_map():
    x = torch.full((1, 8, 5, 5), 3.0)
    torch.testing.assert_close(randomized(DySample(8, 2)).float()(x), torch.full((1, 8, 10, 10), 3.0))


def test_carafe_reassembles_k_by_k_neighbors():
    s, k, channels = 2, 5, 3
    block, x = randomized(CARAFE(channels, s, compressed=4, kernel=k)), image(channels, 5, 4)
    encoded = conv(conv(x, block.compress), block.encode)
    wanted = np.zeros((channels, 5 * s, 4 * s))
    for i in range(5 * s):
        for j in range(4 * s):
            position = (i % s) * s + j % s
            logits = np.array([encoded[tap * s * s + position, i // s, j // s] for tap in range(k * k)])
            weights = softmax(logits, axis=0)
            for tap in range(k * k):
                row, column = i // s + tap // k - k // 2, j // s + tap % k - k // 2
                if 0 <= row < 5 and 0 <= column < 4:
                    wanted[:, i, j] += weights[tap] * x[:, row, column]
    np.testing.assert_allclose(run(block, x), wanted, atol=1e-10)


def test_carafe_keeps_the_inside_of_a_constant_map():
    x = torch.full((1, 4, 9, 9), 2.0, dtype=torch.float64)
    inside = randomized(CARAFE(4, 2))(x)[..., 4:-4, 4:-4]
    torch.testing.assert_close(inside, torch.full_like(inside, 2.0))
