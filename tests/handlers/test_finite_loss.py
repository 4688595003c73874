"""Trainings whose loss or weights stop being numbers."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import mlflow
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedTrainer

from bonemets.bundle.provenance import RunningConfig
from bonemets.errors import InputError
from bonemets.handlers import BestModel, EpochSeed, FiniteLoss, MLflowTracking, TrainingState
from bonemets.handlers.training_state import save_whole

CONFIG = RunningConfig(merged={"epochs": 4}, settings={"epochs": 4}, network_def={"_target_": "torch.nn.Linear"})


class NaNAt(torch.nn.Module):
    """Mean squared error that is not a number at one call."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.call, self.calls = call, 0

    def forward(self, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        loss = torch.nn.functional.mse_loss(output, label)
        return loss * math.nan if self.calls == self.call else loss


def make(network: torch.nn.Module, folder: Path, loss: torch.nn.Module, resume: bool = False, epochs: int = 4):
    """A training without validation: three batches of two images an epoch."""
    items = [
        {"image": MetaTensor(torch.tensor([float(i)]), meta={"filename_or_obj": f"/secret/scan_{i}.nii"}),
         "label": torch.tensor([2.0 * i])}
        for i in range(6)
    ]  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    best = BestModel(folder / "models" / "model.pt", network, None, CONFIG)
    tracking = MLflowTracking(f"sqlite:///{folder / 'runs.db'}", "e", "r", CONFIG)
    objects = {"network": network, "optimizer": optimizer, "best": best, "tracking": tracking}
    return SupervisedTrainer(
        device="cpu", max_epochs=epochs, train_data_loader=DataLoader(Dataset(items), batch_size=2), network=network,
        optimizer=optimizer, loss_function=loss, train_handlers=[
            TrainingState(folder / "checkpoint.pt", objects, resume=resume), EpochSeed(0), FiniteLoss(), tracking, best,
        ],
    )  # fmt: skip


def test_ends_at_the_first_nan_and_goes_on_from_the_last_good_epoch(network, tmp_path: Path) -> None:
    straight = copy.deepcopy(network)
    before = copy.deepcopy(network)
    with pytest.raises(InputError) as told:
        make(network, tmp_path, NaNAt(8)).run()
    text = str(told.value)
    assert "the loss is nan in epoch 3, batch 2 of 3 (images: scan_2.nii, scan_3.nii)" in text
    assert "secret" not in text
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert run.info.status == "FAILED"
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["epoch"] == 2
    kept = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in kept.values())

    make(before, tmp_path, torch.nn.MSELoss(), resume=True).run()
    make(straight, tmp_path / "straight", torch.nn.MSELoss()).run()
    for name, value in straight.state_dict().items():
        assert torch.equal(before.state_dict()[name], value)
    assert client.get_run(run.info.run_id).info.status == "FINISHED"


def break_weights(network: torch.nn.Module, epoch: int):
    """A NaN that appears with the last step of an epoch, which no loss sees."""

    def step(engine: Engine) -> None:
        if engine.state.epoch == epoch and engine.state.iteration % engine.state.epoch_length == 0:
            with torch.no_grad():
                network[0].weight[0] = math.nan

    return step


def test_weights_that_broke_with_the_last_step_are_not_saved(network, tmp_path: Path) -> None:
    trainer = make(network, tmp_path, torch.nn.MSELoss())
    trainer.add_event_handler(Events.ITERATION_COMPLETED, break_weights(network, 2))
    with pytest.raises(InputError, match=r"epoch 2: 0\.weight has values that are not finite"):
        trainer.run()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["epoch"] == 1
    assert torch.isfinite(torch.load(tmp_path / "models" / "model.pt", weights_only=True)["0.weight"]).all()


def test_checkpoints_never_hold_a_nan(network, trainer, tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    engine = trainer(network, 3, [TrainingState(path, {"network": network})])
    engine.add_event_handler(Events.ITERATION_COMPLETED, break_weights(network, 2))
    with pytest.raises(InputError, match=r"epoch 2: network\.0\.weight has values that are not finite"):
        engine.run()
    kept = torch.load(path, weights_only=True)
    assert kept["epoch"] == 1

    kept["network"]["0.weight"][0] = math.nan
    save_whole(kept, path)
    with pytest.raises(InputError, match=r"c\.pt: network\.0\.weight has values that are not finite"):
        trainer(network, 3, [TrainingState(path, {"network": network}, resume=True)]).run()
