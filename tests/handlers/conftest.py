"""A training of seconds: eight points, one linear layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanSquaredError, from_engine
from monai.transforms import RandGaussianNoised


def make_trainer(network: torch.nn.Module, epochs: int, handlers: Sequence[Any], **kwargs: Any) -> SupervisedTrainer:
    """A trainer on noisy points; `handlers` are attached in order."""
    items = [{"image": torch.tensor([float(i)]), "label": torch.tensor([2.0 * i])} for i in range(8)]
    noise = RandGaussianNoised(keys="image", prob=1.0, std=0.5)
    kwargs = {"optimizer": torch.optim.Adam(network.parameters(), lr=0.1), **kwargs}
    return SupervisedTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=DataLoader(Dataset(items, noise), batch_size=3, shuffle=True),
        network=network,
        loss_function=torch.nn.MSELoss(),
        train_handlers=list(handlers),
        **kwargs,
    )


def make_evaluator(network: torch.nn.Module, handlers: Sequence[Any] = ()) -> SupervisedEvaluator:
    """An evaluator on two points; its metric "error" is the mean squared error."""
    items = [{"image": torch.tensor([float(i)]), "label": torch.tensor([2.0 * i])} for i in range(2)]
    metric = MeanSquaredError(output_transform=from_engine(["pred", "label"]))
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset(items), batch_size=1),
        network=network,
        key_val_metric={"error": metric},
        val_handlers=list(handlers),
    )


@pytest.fixture
def trainer() -> Callable[..., SupervisedTrainer]:
    return make_trainer


@pytest.fixture
def evaluator() -> Callable[..., SupervisedEvaluator]:
    return make_evaluator


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
