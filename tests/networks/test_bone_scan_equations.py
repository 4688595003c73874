"""The blocks of the dual-pooling and multi-attention U-Nets, SC-UNeXt and MSA-Net against slow, obvious formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from slow_formulas import (
    batch_norm,
    conv,
    conv_bn_relu,
    gelu,
    image,
    layer_norm,
    linear,
    pool,
    randomized,
    relu,
    resize,
    run,
    sigmoid,
    softmax,
)
from torch import nn

from bonemets.networks import MSANet, MSANetCritic
from bonemets.networks.blocks.cbam import CBAM
from bonemets.networks.blocks.cdc import CRAC
from bonemets.networks.blocks.dac import DAC
from bonemets.networks.blocks.dual_pooling import DualPooling
from bonemets.networks.blocks.msfe import MSFE
from bonemets.networks.blocks.multi_pooling import MultiPooling
from bonemets.networks.blocks.multi_scale import MultiScale
from bonemets.networks.blocks.non_local import NonLocal
from bonemets.networks.blocks.pyramid_fusion import PyramidFusion
from bonemets.networks.blocks.rfb import RFB
from bonemets.networks.blocks.rmp import RMP
from bonemets.networks.blocks.rms import RMS
from bonemets.networks.blocks.sc_skip import SCSkip
from bonemets.networks.blocks.shifted_mlp import ShiftedMLP
from bonemets.networks.blocks.transformer import TransformerLayer
from bonemets.networks.blocks.vit import ViTBottleneck

CLOSE = {"atol": 1e-9, "rtol": 1e-9}


def hardswish(x):
    return x * np.clip(x + 3, 0, 6) / 6


def test_dual_pooling_fuses_by_coordinate_attention():
    block, x = randomized(DualPooling(4)), image(4, 8, 6)
    maximum, average = pool(x, 2, 2), pool(x, 2, 2, reduce=np.mean)
    per_row, per_column = maximum.mean(axis=2), maximum.mean(axis=1)
    both = np.concatenate([per_row, per_column], axis=1)
    hidden = hardswish(batch_norm(linear(both.T, block.encode).T, block.norm))
    rows, columns = hidden[:, :4], hidden[:, 4:]
    gate_rows = sigmoid(linear(rows.T, block.gate_height).T)
    gate_columns = sigmoid(linear(columns.T, block.gate_width).T)
    wanted = np.zeros_like(average)
    for i in range(4):
        for j in range(3):
            wanted[:, i, j] = average[:, i, j] * gate_rows[:, i] * gate_columns[:, j]
    np.testing.assert_allclose(run(block, x), wanted, **CLOSE)


def test_dac_adds_the_rectified_branches():
    block, x = randomized(DAC(3, "dac_2")), image(3, 7, 7)
    dense = conv(x, block.d1)
    twice = conv(dense, block.d1)
    branches = [
        dense,
        conv(twice, block.last),
        conv(conv(dense, block.second), block.last),
        conv(conv(twice, block.second), block.last),
    ]
    np.testing.assert_allclose(run(block, x), x + sum(relu(branch) for branch in branches), **CLOSE)


def test_raw_dac_cascades():
    block, x = randomized(DAC(2, "raw")), image(2, 9, 9)
    dense, third = conv(x, block.d1), block.third
    branches = [
        dense,
        conv(conv(x, block.second), block.last),
        conv(conv(dense, block.second), block.last),
        conv(conv(conv(dense, block.second), third), block.last),
    ]
    np.testing.assert_allclose(run(block, x), x + sum(relu(branch) for branch in branches), **CLOSE)


def test_rmp_pools_2_3_4_5():
    block, x = randomized(RMP(3)), image(3, 12, 11)
    pooled = [pool(x, kernel, kernel) for kernel in (2, 3, 4, 5)]
    assert [map_.shape[1:] for map_ in pooled] == [(6, 5), (4, 3), (3, 2), (2, 2)]
    context = [resize(conv(map_, layer), 12, 11) for map_, layer in zip(pooled, block.convs, strict=True)]
    np.testing.assert_allclose(run(block, x), np.concatenate([*context, x]), **CLOSE)


def test_multi_scale_branches():
    block, x = randomized(MultiScale(10)), image(10, 6, 6)
    one, three, five, pooled = block.branches
    wanted = [
        conv_bn_relu(x, one),
        conv_bn_relu(conv_bn_relu(x, three[0]), three[1]),
        conv_bn_relu(conv_bn_relu(x, five[0]), five[1]),
        conv_bn_relu(pool(x, 3, 1, 1), pooled[1]),
    ]
    # Ten channels over four branches: two each, and the remainder to the 1×1 branch.
    assert [len(part) for part in wanted] == [4, 2, 2, 2]
    np.testing.assert_allclose(run(block, x), np.concatenate(wanted), **CLOSE)


@pytest.mark.parametrize(("grids", "widths"), [((1, 2, 4, 8), [2, 2, 2, 2]), ((1, 2, 4), [3, 3, 2]), ((8,), [8])])
def test_multi_pooling_equations_3_to_5(grids, widths):
    block, x = randomized(MultiPooling(8, grids)), image(8, 16, 8)
    parts = [x]
    for grid, layer in zip(grids, block.convs, strict=True):
        averages = np.zeros((8, grid, grid))
        for i in range(grid):
            for j in range(grid):
                rows, columns = slice(i * 16 // grid, (i + 1) * 16 // grid), slice(j * 8 // grid, (j + 1) * 8 // grid)
                averages[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
        parts.append(resize(conv(averages, layer), 16, 8))
    assert [len(part) for part in parts] == [8, *widths]
    np.testing.assert_allclose(run(block, x), np.concatenate(parts), **CLOSE)


def test_non_local_equations_17_to_23():
    block, x = randomized(NonLocal(6)), image(6, 4, 3)
    theta, phi, g = (conv(x, layer).reshape(3, 12) for layer in (block.theta, block.phi, block.g))
    y = np.zeros((3, 12))
    for query in range(12):
        f = np.array([(theta[:, query] * phi[:, key]).sum() for key in range(12)])
        f_div = softmax(f, axis=0)
        for key in range(12):
            y[:, query] += f_div[key] * g[:, key]
    np.testing.assert_allclose(run(block, x), conv(y.reshape(3, 4, 3), block.project) + x, **CLOSE)


def attention(z, layer, heads):
    tokens, width = z.shape
    size = width // heads
    qkv = linear(z, layer.qkv)
    q, k, v = qkv[:, :width], qkv[:, width : 2 * width], qkv[:, 2 * width :]
    out = np.zeros_like(z)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for token in range(tokens):
            weights = softmax(np.array([q[token, part] @ k[other, part] for other in range(tokens)]) / size**0.5, 0)
            out[token, part] = sum(weights[other] * v[other, part] for other in range(tokens))
    return linear(out, layer.project)


def transformer_layer(z, layer, heads, norm):
    def ffn(value):
        return linear(gelu(linear(value, layer.ffn[0])), layer.ffn[3])

    if norm == "pre":
        z = z + attention(layer_norm(z, layer.norm_attention), layer.attention, heads)
        return z + ffn(layer_norm(z, layer.norm_ffn))
    z = layer_norm(z + attention(z, layer.attention, heads), layer.norm_attention)
    return layer_norm(z + ffn(z), layer.norm_ffn)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_transformer_equations_9_to_15(norm):
    layer = randomized(TransformerLayer(8, 2, 16, 0.1, norm))
    z = np.random.default_rng(1).normal(size=(5, 8))
    np.testing.assert_allclose(run(layer, z), transformer_layer(z, layer, 2, norm), **CLOSE)


@pytest.mark.parametrize("merge", ["add", "scale", "tokens"])
@pytest.mark.parametrize("patch", [1, 2])
def test_vit_equations_6_to_16(merge, patch):
    block = randomized(ViTBottleneck(3, patch, grid=2, width=8, depth=2, heads=2, merge=merge))
    side = 2 * patch
    x = image(3, side, side)
    patches = []
    for i in range(2):
        for j in range(2):
            part = x[:, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch]
            patches.append(part.transpose(1, 2, 0).ravel())
    z = np.concatenate([block.class_token.detach().numpy()[0], linear(np.array(patches), block.embed)])
    z = z + block.positions.detach().numpy()[0]
    for layer in block.layers:
        z = transformer_layer(z, layer, 2, "pre")
    z = linear(layer_norm(z, block.norm), block.head)
    if merge == "add":
        wanted = x + z[0][:, None, None]
    elif merge == "scale":
        wanted = x * sigmoid(z[0])[:, None, None]
    else:
        wanted = resize(z[1:].T.reshape(3, 2, 2), side, side)
    np.testing.assert_allclose(run(block, x), wanted, **CLOSE)


def test_vit_positions_are_unchanged_at_the_native_size_and_smooth_beyond():
    block = randomized(ViTBottleneck(3, 1, grid=4, width=8, depth=1, heads=2))
    assert torch.equal(block.position_embeddings(4, 4), block.positions)
    assert block.position_embeddings(6, 3).shape == (1, 19, 8)
    nn.init.ones_(block.positions)
    torch.testing.assert_close(block.position_embeddings(7, 5), torch.ones(1, 36, 8, dtype=torch.float64))


def shift(x, axis):
    """Five groups of channels, moved by -2 to 2 pixels, with zeros coming in."""
    out = np.zeros_like(x)
    size = -(-len(x) // 5)
    for c in range(len(x)):
        step = c // size - 2
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                row, column = (i - step, j) if axis == "height" else (i, j - step)
                if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                    out[c, i, j] = x[c, row, column]
    return out


@pytest.mark.parametrize("channels", [10, 13])
def test_shifted_mlp(channels):
    block, x = randomized(ShiftedMLP(channels)), image(channels, 5, 6)

    def last(function, value, layer):
        return function(value.transpose(1, 2, 0), layer).transpose(2, 0, 1)

    y = last(layer_norm, x, block.norm_in)
    y = gelu(conv(last(linear, shift(y, "height"), block.linear_1), block.depthwise))
    y = last(linear, shift(y, "width"), block.linear_2)
    np.testing.assert_allclose(run(block, x), last(layer_norm, x + y, block.norm_out), **CLOSE)


def cbam(x, block):
    def mlp(vector):
        return linear(relu(linear(vector, block.mlp[0])), block.mlp[2])

    x = sigmoid(mlp(x.mean(axis=(1, 2))) + mlp(x.max(axis=(1, 2))))[:, None, None] * x
    return sigmoid(conv(np.stack([x.mean(axis=0), x.max(axis=0)]), block.spatial)) * x


def test_cbam_equation_1():
    block, x = randomized(CBAM(8, reduction=4)), image(8, 6, 5)
    np.testing.assert_allclose(run(block, x), cbam(x, block), **CLOSE)


def transposed_conv(x, layer):
    """Kernel equal to stride, full or depthwise."""
    weight = layer.weight.detach().numpy()
    s = layer.stride[0]
    out = np.zeros((layer.out_channels, x.shape[1] * s, x.shape[2] * s))
    for o in range(layer.out_channels):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                given = x[:, i // s, j // s]
                if layer.groups > 1:
                    out[o, i, j] = given[o] * weight[o, 0, i % s, j % s]
                else:
                    out[o, i, j] = given @ weight[:, o, i % s, j % s]
    return out if layer.bias is None else out + layer.bias.detach().numpy()[:, None, None]


@pytest.mark.parametrize("attention", [True, False])
def test_sc_skip_equation_2(attention):
    block, z, x = randomized(SCSkip(6, 4, attention)), image(6, 3, 3), image(4, 6, 6, seed=8)
    u = relu(batch_norm(transposed_conv(z, block.up), block.norm))
    attended = cbam(x, block.attention) if attention else x
    np.testing.assert_allclose(run(block, z, x), relu(conv(u * attended + u, block.fuse)), **CLOSE)


def test_pyramid_fusion_adds_at_the_finest_size():
    block = randomized(PyramidFusion((2, 3, 4)))
    z1, z2, z3 = image(2, 8, 8), image(3, 4, 4), image(4, 2, 2)
    wanted = z1 + sum(
        transposed_conv(conv(z, expand[0]), expand[1]) for z, expand in zip((z2, z3), block.expand, strict=True)
    )
    np.testing.assert_allclose(run(block, z1, z2, z3), wanted, **CLOSE)


def crac(x, block):
    l1 = conv_bn_relu(x, block.units[0])
    y3 = conv_bn_relu(conv_bn_relu(l1, block.units[1]), block.units[2]) + l1
    l4 = conv_bn_relu(y3, block.units[3])
    return conv_bn_relu(conv_bn_relu(l4, block.units[4]), block.units[5]) + l4


def rfb(x, block):
    out = conv_bn_relu(x, block.residual)
    for branch in block.branches:
        y = x
        for unit in branch:
            y = conv_bn_relu(y, unit)
        out = out + y
    return out


def test_msfe_is_crac_plus_rfb():
    block, x = randomized(MSFE(3, 8)), image(3, 7, 6)
    np.testing.assert_allclose(run(block.crac, x), crac(x, block.crac), **CLOSE)
    np.testing.assert_allclose(run(block.rfb, x), rfb(x, block.rfb), **CLOSE)
    np.testing.assert_allclose(run(block, x), relu(crac(x, block.crac) + rfb(x, block.rfb)), **CLOSE)


def test_crac_and_rfb_have_the_stated_dilations():
    assert [unit.conv.dilation[0] for unit in CRAC(2, 2, (1, 3, 5, 1, 3, 5)).units] == [1, 3, 5, 1, 3, 5]
    assert [branch[-1].conv.dilation[0] for branch in RFB(2, 8).branches] == [1, 3, 5]


def test_rms_adds_the_first_unit_to_the_third():
    block, x = randomized(RMS(3, 4)), image(3, 6, 6)
    first = conv_bn_relu(x, block.first)
    wanted = conv_bn_relu(conv_bn_relu(first, block.second), block.third) + first
    np.testing.assert_allclose(run(block, x), wanted, **CLOSE)


def test_critic_concatenates_weighted_maps():
    critic, x = randomized(MSANetCritic(1, features=(2, 3, 4, 5, 6, 7))), torch.randn(2, 1, 64, 64).double()
    parts, y = [x.reshape(2, -1)], x
    for weight, layer in zip((1, 2, 2, 2, 2, 4), critic.layers, strict=True):
        y = layer(y)
        parts.append(weight * y.reshape(2, -1))
    assert torch.equal(critic(x), torch.cat(parts, dim=1))
    assert [layer[0].kernel_size[0] for layer in critic.layers] == [7, 5, 4, 4, 4, 3]
    assert isinstance(critic.layers[0][1], nn.Identity)


def test_critic_vector_length():
    with torch.device("meta"):
        assert MSANetCritic(1)(torch.zeros(1, 1, 256, 256)).shape == (1, 2_072_576)


def test_msa_net_returns_four_logits_in_training_and_one_in_evaluation():
    torch.manual_seed(0)
    network, x = MSANet(features=(4, 8, 8, 8, 8)), torch.randn(2, 1, 70, 50)
    outputs = network.train()(x)
    assert [output.shape for output in outputs] == [(2, 1, 70, 50)] * 4
    assert isinstance(network.eval()(x), torch.Tensor)
    assert isinstance(MSANet(features=(4, 8, 8, 8, 8), deep_supervision=False).train()(x), torch.Tensor)
    # D1 comes from the coarsest map, 1/8, so it varies least between neighbors; D4 is the evaluation's answer.
    roughness = [float(output.diff(dim=3).abs().mean() / output.std()) for output in outputs]
    assert roughness == sorted(roughness)
    for layer in network.modules():
        layer.training = not isinstance(layer, nn.BatchNorm2d)
    torch.testing.assert_close(network(x)[3], network.eval()(x))


def test_msa_net_sees_the_pyramid_of_averages():
    torch.manual_seed(0)
    network, seen = MSANet(features=(4, 8, 8, 8, 8)).eval(), []
    for stage in network.encoder:
        stage.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 1, 64, 64)
    network(x)
    for level, factor in enumerate((2, 4, 8)):
        expected = x.reshape(1, 1, 64 // factor, factor, 64 // factor, factor).mean(dim=(3, 5))
        torch.testing.assert_close(seen[level][:, -1:], expected)
    assert [map_.shape[1] for map_ in seen] == [5, 9, 9, 8]
