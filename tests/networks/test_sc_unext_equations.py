"""SC-UNeXt's blocks against slow, obvious formulas."""

from __future__ import annotations

import numpy as np
import pytest
from slow_formulas import (
    CLOSE,
    batch_norm,
    conv,
    gelu,
    image,
    layer_norm,
    linear,
    randomized,
    relu,
    run,
    sigmoid,
    transposed_conv,
)

from bonemets.networks.blocks.attention.cbam import CBAM
from bonemets.networks.blocks.layers.sc_skip import SCSkip
from bonemets.networks.blocks.transformer.shifted_mlp import ShiftedMLP


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


@pytest.mark.parametrize("attention", [True, False])
def test_sc_skip_equation_2(attention):
    block, z, x = randomized(SCSkip(6, 4, attention)), image(6, 3, 3), image(4, 6, 6, seed=8)
    u = relu(batch_norm(transposed_conv(z, block.up), block.norm))
    attended = cbam(x, block.attention) if attention else x
    np.testing.assert_allclose(run(block, z, x), relu(conv(u * attended + u, block.fuse)), **CLOSE)
