"""The dual-pooling U-Net's blocks against slow, obvious formulas."""

from __future__ import annotations

import numpy as np
from slow_formulas import CLOSE, batch_norm, conv, image, linear, pool, randomized, relu, resize, run, sigmoid

from bonemets.networks.blocks.context.dac import DAC
from bonemets.networks.blocks.pooling.dual_pooling import DualPooling
from bonemets.networks.blocks.pooling.rmp import RMP


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
