"""MSA-Net's adversarial loss."""

from __future__ import annotations

import pytest
import torch

from bonemets.losses.multiscale_l1 import CRITIC_INPUTS, MultiScaleL1Loss, clip_weights, critic_input
from bonemets.networks import MSANetCritic

NARROW = (2, 4, 4, 8, 8, 8)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 1, 64, 64, generator=generator)
    target = (torch.rand(2, 1, 64, 64, generator=generator) > 0.7).float()
    logits = [torch.randn(2, 1, 64, 64, generator=generator) for _ in range(4)]
    return image, target, logits


def critic(channels: int = 1) -> MSANetCritic:
    torch.manual_seed(0)
    return MSANetCritic(channels, NARROW).eval()


def test_is_the_mean_over_outputs_of_the_mean_absolute_difference(batch):
    image, target, logits = batch
    network = critic()
    with torch.no_grad():
        wanted = network(image * target)
        parts = [(network(image * torch.sigmoid(output)) - wanted).abs().mean() for output in logits]
        torch.testing.assert_close(MultiScaleL1Loss(network)(logits, target, image), torch.stack(parts).mean())
        torch.testing.assert_close(MultiScaleL1Loss(network)(logits[0], target, image), parts[0])
        weighted = MultiScaleL1Loss(network, weights=(0.4, 0.4, 0.1, 0.1))(logits, target, image)
        torch.testing.assert_close(weighted, 0.4 * parts[0] + 0.4 * parts[1] + 0.1 * parts[2] + 0.1 * parts[3])


@pytest.mark.parametrize("kind", CRITIC_INPUTS)
def test_a_perfect_prediction_costs_nothing_and_a_wrong_one_something(batch, kind):
    image, target, _ = batch
    loss = MultiScaleL1Loss(critic(2 if kind == "concat" else 1), kind)
    assert loss(200 * (target - 0.5), target, image) < 1e-6
    assert loss(-200 * (target - 0.5), target, image) > 1e-3


@pytest.mark.parametrize("kind", CRITIC_INPUTS)
def test_inputs_of_table_11(batch, kind):
    image, target, _ = batch
    wanted = {
        "product": image * target,
        "concat": torch.cat([image, target], dim=1),
        "sum": image + target,
        "mask": target,
    }
    assert torch.equal(critic_input(image, target, kind), wanted[kind])


@pytest.mark.parametrize("kind", CRITIC_INPUTS)
def test_ignored_pixels_have_no_influence(batch, kind):
    image, target, logits = batch
    target[:, :, 10:20, 5:30] = 2
    loss = MultiScaleL1Loss(critic(2 if kind == "concat" else 1), kind)
    output = logits[0].requires_grad_()
    first = loss(output, target, image)
    (gradient,) = torch.autograd.grad(first, output)
    assert (gradient[:, :, 10:20, 5:30] == 0).all() and (gradient != 0).any()
    changed = output.detach().clone()
    changed[:, :, 10:20, 5:30] += 5
    assert torch.equal(loss(changed, target, image), first)


def test_generator_lowers_it_and_critic_raises_it(batch):
    image, target, logits = batch
    network = critic().train()
    loss = MultiScaleL1Loss(network)
    output = logits[0].clone().requires_grad_()
    before = loss(output, target, image)
    before.backward()
    with torch.no_grad():
        assert loss(output - 2000 * output.grad, target, image) < before
        for parameter in network.parameters():
            parameter += 0.01 * parameter.grad
        assert loss(output, target, image) > before


def test_clipping_bounds_the_critic():
    network = critic()
    clip_weights(network, 0.0)
    assert max(float(parameter.abs().max()) for parameter in network.parameters()) > 0.05
    clip_weights(network)
    assert max(float(parameter.abs().max()) for parameter in network.parameters()) <= 0.05 + 1e-8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"critic_input": "both"}, "critic_input='both' is not known; allowed: 'product', 'concat', 'sum', 'mask'"),
        ({"weights": (1, -1)}, r"weights=\(1, -1\) is not valid; allowed: numbers of at least 0"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        MultiScaleL1Loss(critic(), **arguments)


def test_as_many_weights_as_outputs(batch):
    image, target, logits = batch
    with pytest.raises(ValueError, match="allowed: 4 numbers"):
        MultiScaleL1Loss(critic(), weights=(1, 1))(logits, target, image)
    with pytest.raises(ValueError, match="^clip=-1 is not valid"):
        clip_weights(critic(), -1)
