"""The multi-attention multi-scale U-Net's blocks against slow, obvious formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from slow_formulas import (
    CLOSE,
    conv,
    conv_bn_relu,
    gelu,
    image,
    layer_norm,
    linear,
    pool,
    randomized,
    resize,
    run,
    sigmoid,
    softmax,
)
from torch import nn

from bonemets.networks.blocks.attention.non_local import NonLocal
from bonemets.networks.blocks.context.multi_scale import MultiScale
from bonemets.networks.blocks.pooling.multi_pooling import MultiPooling
from bonemets.networks.blocks.transformer.transformer import TransformerLayer
from bonemets.networks.blocks.transformer.vit import ViTBottleneck


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
