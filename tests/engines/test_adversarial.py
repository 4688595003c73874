"""The engine that alternates critic and segmentation network, against a plain PyTorch loop."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from adversarial_trainer import (
    EQUAL,
    assert_same,
    dice_loss,
    make_items,
    make_trainer,
    paper_networks,
    pixelwise,
    plain_critic,
)
from ignite.metrics import Average
from monai.engines import SupervisedTrainer
from monai.handlers import from_engine
from monai.losses import DeepSupervisionLoss, DiceLoss
from torch import nn

from bonemets.losses import IgnoreLabelLoss, MultiScaleL1Loss


def by_hand(
    network: nn.Module, critic: nn.Module, alpha: float, beta: float, weights: tuple[float, ...], clip: float
) -> list[tuple[float, float, float]]:
    """Two batches of three, as the paper's equations say and SegAN's loop orders them; the losses of each."""
    steps, critic_steps = (torch.optim.SGD(net.parameters(), lr=0.1) for net in (network, critic))
    items = make_items(6)
    seen = []
    for first in (0, 3):
        image = torch.stack([item["image"] for item in items[first : first + 3]])
        truth = torch.stack([item["label"] for item in items[first : first + 3]]).float()

        def adversarial(outputs: list[torch.Tensor], image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
            total = torch.zeros(())
            real = critic(image * truth)
            for weight, output in zip(weights, outputs, strict=True):
                total = total + weight * (critic(image * torch.sigmoid(output)) - real).abs().mean()
            return total

        outputs = network(image)
        critic_loss = 1 - adversarial([output.detach() for output in outputs], image, truth)
        critic_steps.zero_grad()
        critic_loss.backward()
        critic_steps.step()
        for parameter in critic.parameters():
            parameter.data = parameter.data.clamp(-clip, clip)

        segmentation = torch.zeros(())
        for weight, output in zip(weights, outputs, strict=True):
            p = torch.sigmoid(output)
            segmentation = segmentation + weight * (1 - (2 * (p * truth).sum() + 1e-5) / (p.sum() + truth.sum() + 1e-5))
        against = adversarial(outputs, image, truth)
        steps.zero_grad()
        (alpha * segmentation + beta * against).backward()
        steps.step()
        seen.append((segmentation.item(), against.item(), critic_loss.item()))
    return seen


@pytest.mark.parametrize(("alpha", "beta", "weights"), [(1.0, 1.0, EQUAL), (0.3, 0.7, (0.1, 0.4, 0.4, 0.1))])
def test_two_steps_are_those_of_a_plain_loop(alpha: float, beta: float, weights: tuple[float, ...]) -> None:
    network, critic = paper_networks()
    other, other_critic = copy.deepcopy(network), copy.deepcopy(critic)
    start = copy.deepcopy(network)
    trainer = make_trainer(
        network,
        critic,
        loss_function=DeepSupervisionLoss(IgnoreLabelLoss(DiceLoss(sigmoid=True, batch=True)), weights=list(weights)),
        adversarial_loss=MultiScaleL1Loss(critic, weights=weights),
        segmentation_weight=alpha,
        adversarial_weight=beta,
        key_train_metric={
            name: Average(output_transform=from_engine([name], first=True))
            for name in ("loss", "segmentation_loss", "adversarial_loss", "critic_loss")
        },
    )
    trainer.run()
    losses = by_hand(other, other_critic, alpha, beta, weights, clip=0.05)
    for one, two in ((network, other), (critic, other_critic)):
        parameters = zip(one.parameters(), two.parameters(), strict=True)
        # Batch normalization of a few pixels at the bottom amplifies rounding to 4e-6.
        assert all(torch.allclose(first, second, atol=1e-5) for first, second in parameters)
    moved = zip(network.parameters(), start.parameters(), strict=True)
    assert max(float((after - before).abs().max()) for after, before in moved) > 1e-3
    segmentation, against, critic_loss = (sum(values) / 2 for values in zip(*losses, strict=True))
    metrics = trainer.state.metrics
    assert metrics["segmentation_loss"] == pytest.approx(segmentation, abs=1e-5)
    assert metrics["adversarial_loss"] == pytest.approx(against, abs=1e-5)
    assert metrics["critic_loss"] == pytest.approx(critic_loss, abs=1e-5)
    assert metrics["loss"] == pytest.approx(alpha * segmentation + beta * against, abs=1e-5)


def test_prediction_is_the_finest_output_of_every_image() -> None:
    network, critic = paper_networks()
    before = copy.deepcopy(network).train()
    items = make_items(3)
    trainer = make_trainer(network, critic, items=items)
    trainer.run()
    finest = before(torch.stack([item["image"] for item in items]))[-1].detach()
    assert len(trainer.state.output) == 3
    for output, wanted in zip(trainer.state.output, finest, strict=True):
        assert torch.equal(output["pred"], wanted)


def test_without_adversarial_weight_it_is_supervised_training() -> None:
    network, critic = paper_networks()
    other, untouched = copy.deepcopy(network), copy.deepcopy(critic)
    metric = {"critic_loss": Average(output_transform=from_engine(["critic_loss"], first=True))}
    trainer = make_trainer(network, critic, adversarial_weight=0, key_train_metric=metric)
    trainer.run()
    SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=trainer.data_loader,
        network=other,
        optimizer=torch.optim.SGD(other.parameters(), lr=0.1),
        loss_function=dice_loss(),
    ).run()
    assert_same(network, other)
    assert_same(critic, untouched)
    assert math.isnan(trainer.state.metrics["critic_loss"])


def test_ignored_pixels_have_no_influence() -> None:
    items = make_items(3, ignored=True)
    changed = [{**item, "image": item["image"].clone()} for item in items]
    for item in changed:
        item["image"][:, 4:12, 4:20] = 5
    outcome = []
    for data in (items, changed, make_items(3)):
        network, critic = pixelwise(), plain_critic()
        make_trainer(network, critic, items=data).run()
        outcome.append((network, critic))
    assert_same(outcome[0][0], outcome[1][0])
    assert_same(outcome[0][1], outcome[1][1])
    with pytest.raises(AssertionError):
        assert_same(outcome[0][0], outcome[2][0], exact=False)


@pytest.mark.parametrize(("clip", "bounded"), [(0.05, True), (0.0, False)])
def test_critic_is_clipped(clip: float, bounded: bool) -> None:
    network, critic = paper_networks()
    make_trainer(network, critic, clip=clip).run()
    largest = max(float(parameter.detach().abs().max()) for parameter in critic.parameters())
    assert (largest <= 0.05 + 1e-7) is bounded


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"segmentation_weight": -1}, "segmentation_weight=-1 is not valid; allowed: a number of at least 0."),
        ({"adversarial_weight": -0.1}, "adversarial_weight=-0.1 is not valid"),
        ({"segmentation_weight": 0, "adversarial_weight": 0}, "segmentation_weight=0 is not valid with adv"),
        ({"clip": -0.05}, "clip=-0.05 is not valid"),
        ({"accumulation_steps": 0}, "accumulation_steps=0 is not valid"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        make_trainer(pixelwise(), plain_critic(), **arguments)


def test_an_optimizer_of_the_wrong_network_is_refused() -> None:
    network = pixelwise()
    wrong = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="^critic_optimizer does not fit"):
        make_trainer(network, plain_critic(), critic_optimizer=wrong)


def test_a_batch_without_label_is_refused() -> None:
    items = [{"image": item["image"]} for item in make_items(3)]
    with pytest.raises(ValueError, match="the batch has no label"):
        make_trainer(pixelwise(), plain_critic(), items=items).run()
