"""The engine that alternates critic and segmentation network, against a plain PyTorch loop."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.metrics import Average
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler, from_engine
from monai.losses import DeepSupervisionLoss, DiceLoss
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from bonemets.engines.adversarial import AdversarialSegmentationTrainer
from bonemets.engines.averaging import ExponentialAverage
from bonemets.handlers import EpochSeed, TrainingState
from bonemets.losses import IgnoreLabelLoss, MultiScaleL1Loss
from bonemets.networks import MSANet, MSANetCritic

EQUAL = (0.25, 0.25, 0.25, 0.25)


def make_items(count: int, ignored: bool = False, size: int = 32) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    items = []
    for _ in range(count):
        image = torch.rand(1, size, size, generator=generator)
        label = (image > 0.8).to(torch.uint8)
        if ignored:
            label[:, 4:12, 4:20] = 2
        items.append({"image": image, "label": label})
    return items


def pixelwise() -> nn.Module:
    """A network without batch normalization, whose every pixel depends on that pixel alone."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 1), nn.Tanh(), nn.Conv2d(4, 1, 1))


def plain_critic() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.LeakyReLU(0.2), nn.Flatten())


def paper_networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return MSANet(1, 1, features=(2, 2, 4, 4, 4)), MSANetCritic(1, (2, 2, 4, 4, 4, 4))


def dice_loss() -> nn.Module:
    return DeepSupervisionLoss(IgnoreLabelLoss(DiceLoss(sigmoid=True, batch=True)), weights=list(EQUAL))


def make_trainer(network: nn.Module, critic: nn.Module, **arguments: Any) -> AdversarialSegmentationTrainer:
    items = arguments.pop("items", None) or make_items(6)
    optimizer = arguments.pop("make_optimizer", lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    defaults: dict[str, Any] = {
        "device": "cpu",
        "max_epochs": 1,
        "train_data_loader": DataLoader(Dataset(items), batch_size=arguments.pop("batch_size", 3)),
        "network": network,
        "optimizer": optimizer(network.parameters()),
        "loss_function": dice_loss(),
        "adversarial_loss": MultiScaleL1Loss(critic),
        "critic_optimizer": optimizer(critic.parameters()),
    }
    return AdversarialSegmentationTrainer(**{**defaults, **arguments})


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


def assert_same(first: nn.Module, second: nn.Module, exact: bool = True) -> None:
    for (name, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other) if exact else torch.allclose(one, other, atol=1e-6), name


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


@pytest.mark.parametrize(("images", "steps"), [(6, 2), (5, 2), (3, 4)])
def test_parts_of_a_batch_make_the_steps_of_the_batch(images: int, steps: int) -> None:
    outcome = []
    for number in (1, steps):
        network, critic = pixelwise(), plain_critic()
        # A mean over pixels; Dice over a batch is no mean of the parts' Dice.
        loss = lambda logits, label: nn.functional.binary_cross_entropy_with_logits(logits, label.float())  # noqa: E731
        trainer = make_trainer(
            network, critic, items=make_items(images), batch_size=6, accumulation_steps=number, loss_function=loss
        )
        trainer.run()
        assert len(trainer.state.output) == images
        outcome.append((network, critic))
    assert_same(outcome[0][0], outcome[1][0], exact=False)
    assert_same(outcome[0][1], outcome[1][1], exact=False)


@pytest.mark.parametrize("amp", [False, True])
def test_two_and_two_epochs_are_four(amp: bool, tmp_path: Path) -> None:
    def run(path: Path, epochs: int, resume: bool = False, seed: int = 0) -> dict[str, Any]:
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.Dropout(0.3), nn.Conv2d(4, 1, 1)
        network = nn.Sequential(*layers)
        critic = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.BatchNorm2d(2), nn.Flatten())
        optimizers = [torch.optim.Adam(net.parameters(), lr=0.01) for net in (network, critic)]
        schedulers = [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9) for optimizer in optimizers]
        objects = {
            "network": network,
            "critic": critic,
            "optimizer": optimizers[0],
            "critic_optimizer": optimizers[1],
            "lr_scheduler": schedulers[0],
            "critic_lr_scheduler": schedulers[1],
            "average": ExponentialAverage(network, optimizers[0]),
        }

        falling = [LrScheduleHandler(scheduler, print_lr=False) for scheduler in schedulers]
        trainer = make_trainer(
            network, critic, optimizer=optimizers[0], critic_optimizer=optimizers[1], max_epochs=epochs, amp=amp,
            train_data_loader=DataLoader(Dataset(make_items(6)), batch_size=3, shuffle=True),
            train_handlers=[TrainingState(path, objects, resume=resume), EpochSeed(0), *falling],
        )  # fmt: skip
        trainer.run()
        return torch.load(path, weights_only=True)

    straight = run(tmp_path / "straight.pt", 4)
    run(tmp_path / "halves.pt", 2)
    resumed = run(tmp_path / "halves.pt", 4, resume=True, seed=9)
    assert resumed["epoch"] == 4
    # The scaler's count of steps without overflow goes on from the two epochs before.
    assert (straight["scaler"].get("_growth_tracker") == 8) is amp
    assert_equal(straight, resumed)


def assert_equal(first: Any, second: Any) -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    else:
        assert first == second


def test_mixed_precision_is_near_single_precision() -> None:
    outcome = []
    for amp in (False, True):
        network, critic = paper_networks()
        trainer = make_trainer(network, critic, items=make_items(3), amp=amp)
        trainer.run()
        outcome.append(trainer.state.output[0])
        assert trainer.scaler.is_enabled() is amp
    assert outcome[0]["pred"].dtype == torch.float32
    assert outcome[1]["pred"].dtype == torch.bfloat16
    assert outcome[1]["loss"] == pytest.approx(float(outcome[0]["loss"]), abs=0.02)


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


def _two_steps(network: nn.Module, critic: nn.Module, items: list[dict], parallel: bool) -> tuple[nn.Module, nn.Module]:
    wrap = DistributedDataParallel if parallel else lambda module: module
    loss = MultiScaleL1Loss(critic)
    make_trainer(
        wrap(network), critic, items=items, max_epochs=2, batch_size=6, adversarial_loss=wrap(loss),
        loss_function=lambda logits, label: nn.functional.binary_cross_entropy_with_logits(logits, label.float()),
    ).run()  # fmt: skip
    return network, critic


def _process(rank: int, address: str, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    networks = _two_steps(pixelwise(), plain_critic(), make_items(6)[rank::2], parallel=True)
    torch.save([network.state_dict() for network in networks], f"{folder}/{rank}.pt")
    # The paper's networks, with batch normalization and four outputs, stay the same in both processes.
    network, critic = paper_networks()
    trainer = make_trainer(
        DistributedDataParallel(network),
        critic,
        adversarial_loss=DistributedDataParallel(MultiScaleL1Loss(critic)),
        items=make_items(12)[rank::2],
    )
    trainer.run()
    for parameter in [*network.parameters(), *critic.parameters()]:
        both = [torch.empty_like(parameter) for _ in range(2)]
        distributed.all_gather(both, parameter.detach().contiguous())
        if not torch.equal(both[0], both[1]):
            raise AssertionError("the two processes' weights differ")
    distributed.barrier()


@pytest.mark.slow
def test_two_processes_are_one_with_both_batches(tmp_path: Path) -> None:
    multiprocessing.spawn(_process, args=(f"file://{tmp_path / 'rendezvous'}", str(tmp_path)), nprocs=2, join=True)
    straight = _two_steps(pixelwise(), plain_critic(), make_items(6), parallel=False)
    for rank in range(2):
        for wanted, found in zip(straight, torch.load(tmp_path / f"{rank}.pt"), strict=True):
            for name, value in wanted.state_dict().items():
                assert torch.allclose(value, found[name], atol=1e-6), name
