"""The adversarial engine in long trainings: batches in parts, resumed, in mixed precision, by two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from adversarial_trainer import (
    assert_same,
    dice_loss,
    make_items,
    make_trainer,
    paper_networks,
    pixelwise,
    plain_critic,
)
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.handlers import LrScheduleHandler
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from bonemets.engines.averaging import ExponentialAverage
from bonemets.errors import InputError
from bonemets.handlers import EpochSeed, FiniteLoss, TrainingState
from bonemets.losses import MultiScaleL1Loss


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
    assert_close(straight, resumed, rtol=0, atol=0)


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


class NaNAt(torch.nn.Module):
    """A loss that is not a number at one call."""

    def __init__(self, loss: torch.nn.Module, call: int) -> None:
        super().__init__()
        self.loss, self.call, self.calls = loss, call, 0

    def forward(self, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.loss(output, label) * (torch.nan if self.calls == self.call else 1)


def test_ends_at_the_first_nan_before_the_networks_step() -> None:
    network, critic = paper_networks()
    before = []
    trainer = make_trainer(
        network, critic, batch_size=3, max_epochs=2, loss_function=NaNAt(dice_loss(), 4), train_handlers=[FiniteLoss()]
    )
    trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda engine: before.append([p.detach().clone() for p in network.parameters()])
    )
    with pytest.raises(InputError, match="the loss is nan in epoch 2, batch 2 of 2"):
        trainer.run()
    assert len(before) == 4
    assert all(torch.equal(a, b) for a, b in zip(before[-1], network.parameters(), strict=True))


def test_a_critic_that_became_nan_is_seen_in_the_same_batch() -> None:
    network, critic = paper_networks()
    with torch.no_grad():
        next(critic.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match="the loss is nan in epoch 1, batch 1"):
        make_trainer(network, critic, train_handlers=[FiniteLoss()]).run()
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


def test_steps_that_the_gradient_scaler_skips_are_no_nan(monkeypatch) -> None:
    network, critic = paper_networks()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    scaler = torch.amp.GradScaler
    # A scale at which the gradients overflow: each step is skipped, and the scale halved.
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler(device, init_scale=3e38))
    loss = dice_loss()
    trainer = make_trainer(
        network,
        critic,
        amp=True,
        loss_function=lambda output, label: 1e4 * loss(output, label),
        train_handlers=[FiniteLoss()],
    )
    losses = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.iteration))
    trainer.run()
    assert losses == [1, 2]
    assert trainer.scaler.get_scale() == pytest.approx(3e38 / 4)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
