from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from ignite.engine import Events

from bonemets.errors import InputError
from bonemets.handlers import EpochSeed, TrainingState
from bonemets.handlers.epoch_seed import epoch_seed
from bonemets.handlers.training_state import save_whole


def run(trainer, network, path: Path, epochs: int, resume: bool = False, seed: int = 0, **kwargs):
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    state = TrainingState(path, {"network": network, "optimizer": optimizer}, resume=resume, **kwargs)
    engine = trainer(network, epochs, [state, EpochSeed(seed)], optimizer=optimizer)
    engine.run()
    return engine


def weights(network) -> list[torch.Tensor]:
    return list(network.state_dict().values())


def test_two_and_two_epochs_are_four(trainer, network, tmp_path: Path) -> None:
    again = copy.deepcopy(network)
    run(trainer, network, tmp_path / "straight.pt", 4)
    run(trainer, again, tmp_path / "halves.pt", 2)
    third = copy.deepcopy(again)
    torch.manual_seed(99)
    with torch.no_grad():
        third[0].weight.zero_()
    engine = run(trainer, third, tmp_path / "halves.pt", 4, resume=True)
    assert engine.state.epoch == 4
    assert engine.state.iteration == 12
    assert all(torch.equal(a, b) for a, b in zip(weights(network), weights(third), strict=True))


def test_another_seed_is_another_run(trainer, network, tmp_path: Path) -> None:
    same, other = copy.deepcopy(network), copy.deepcopy(network)
    for net, seed in ((network, 0), (same, 0), (other, 1)):
        run(trainer, net, tmp_path / "c.pt", 1, seed=seed)
    assert all(torch.equal(a, b) for a, b in zip(weights(network), weights(same), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(network), weights(other), strict=True))


def test_epoch_seeds_differ() -> None:
    seeds = {epoch_seed(seed, epoch, rank) for seed in range(3) for epoch in range(50) for rank in range(4)}
    assert len(seeds) == 600
    assert epoch_seed(0, 1) == epoch_seed(0, 1, 0)


def test_a_finished_run_stays_finished(trainer, network, tmp_path: Path) -> None:
    run(trainer, network, tmp_path / "c.pt", 2)
    before = copy.deepcopy(weights(network))
    run(trainer, network, tmp_path / "c.pt", 2, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(network), strict=True))


def test_interval_and_last_epoch(trainer, network, tmp_path: Path) -> None:
    saved = []

    class Watch:
        def attach(self, engine) -> None:
            engine.add_event_handler(Events.EPOCH_STARTED, self)

        def __call__(self, engine) -> None:
            path = tmp_path / "c.pt"
            saved.append(torch.load(path, weights_only=True)["epoch"] if path.is_file() else 0)

    state = TrainingState(tmp_path / "c.pt", {"network": network}, interval=2)
    trainer(network, 5, [state, Watch()]).run()
    assert saved == [0, 0, 2, 2, 4]
    assert torch.load(tmp_path / "c.pt", weights_only=True)["epoch"] == 5
    with pytest.raises(ValueError, match="interval"):
        TrainingState(tmp_path / "c.pt", {}, interval=0)


def test_resuming_without_a_checkpoint_starts_anew(trainer, network, tmp_path: Path) -> None:
    assert run(trainer, network, tmp_path / "c.pt", 1, resume=True).state.epoch == 1


def test_wrong_checkpoints(trainer, network, tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("not a checkpoint")
    save_whole({"network": {}, "optimizer": {}, "epoch": 1}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt"):
        with pytest.raises(InputError, match=f"{name}: cannot resume") as error:
            run(trainer, network, tmp_path / name, 2, resume=True)
        assert "\n" not in str(error.value)


def test_gradient_scaler_is_kept(trainer, network, tmp_path: Path) -> None:
    class Scaler:
        def __init__(self) -> None:
            self.scale = 1024.0

        def state_dict(self) -> dict:
            return {"scale": self.scale}

        def load_state_dict(self, state: dict) -> None:
            self.scale = state["scale"]

    state = TrainingState(tmp_path / "c.pt", {"network": network})
    engine = trainer(network, 1, [])
    engine.scaler, engine.state.epoch = Scaler(), 1
    engine.scaler.scale = 64.0
    state.epoch_completed(engine)
    engine.scaler = Scaler()
    state.load(engine)
    assert engine.scaler.scale == 64.0


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    save_whole({"epoch": 1}, tmp_path / "c.pt")
    with pytest.raises(Exception, match=r"pickle|lambda|local"):
        save_whole({"epoch": lambda: 2}, tmp_path / "c.pt")
    assert torch.load(tmp_path / "c.pt", weights_only=True) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]


def test_folders_are_free_again_after_the_training(trainer, network, tmp_path: Path) -> None:
    seen = []
    state = TrainingState(tmp_path / "eval" / "c.pt", {"network": network}, folders=[tmp_path / "models"])
    engine = trainer(network, 1, [state])
    engine.add_event_handler(Events.EPOCH_STARTED, lambda engine: seen.extend(tmp_path.rglob(".*.lock")))
    engine.run()
    assert len(seen) == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["c.pt"]
