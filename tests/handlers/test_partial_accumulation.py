from __future__ import annotations

import copy

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer

from bonemets.handlers import PartialAccumulation


def trained(network, points: int, batch: int, steps: int, handlers=(), amp: bool = False) -> torch.Tensor:
    """The weights after two epochs of gradient descent on so many points, in order."""
    network = copy.deepcopy(network)
    items = [{"image": torch.tensor([i / points]), "label": torch.tensor([2.0 * i])} for i in range(points)]
    trainer = SupervisedTrainer(
        device="cpu",
        max_epochs=2,
        train_data_loader=DataLoader(Dataset(items), batch_size=batch),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9),
        loss_function=torch.nn.MSELoss(),
        accumulation_steps=steps,
        train_handlers=list(handlers),
    )
    if amp:
        trainer.amp, trainer.amp_kwargs = True, {"enabled": False}
        trainer.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer.run()
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize(("points", "batch", "steps"), [(8, 2, 2), (12, 3, 4), (10, 2, 3), (9, 3, 2), (2, 2, 4)])
def test_steps_of_a_batch_are_one_of_the_large_batch(network, points: int, batch: int, steps: int, amp: bool) -> None:
    large = trained(network, points, batch * steps, 1)
    small = trained(network, points, batch, steps, [PartialAccumulation()], amp)
    torch.testing.assert_close(small, large)


def test_without_it_the_last_step_is_too_short(network) -> None:
    large = trained(network, 10, 6, 1)
    assert not torch.allclose(trained(network, 10, 2, 3), large, rtol=1e-3)


def test_nothing_changes_without_accumulation(network) -> None:
    assert torch.equal(trained(network, 7, 3, 1, [PartialAccumulation()]), trained(network, 7, 3, 1))
