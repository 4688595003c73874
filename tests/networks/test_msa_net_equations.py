"""MSA-Net's blocks and critic against slow, obvious formulas."""

from __future__ import annotations

import numpy as np
import torch
from slow_formulas import CLOSE, conv, conv_bn_relu, image, randomized, relu, run, transposed_conv
from torch import nn

from bonemets.networks import MSANet, MSANetCritic
from bonemets.networks.blocks.context.cdc import CRAC
from bonemets.networks.blocks.context.msfe import MSFE
from bonemets.networks.blocks.context.rfb import RFB
from bonemets.networks.blocks.context.rms import RMS
from bonemets.networks.blocks.pooling.pyramid_fusion import PyramidFusion


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
