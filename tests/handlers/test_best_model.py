from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, State

from bonemets.bundle.folders import file_sha256
from bonemets.bundle.provenance import RunningConfig
from bonemets.errors import InputError
from bonemets.handlers import BestModel

CONFIG = RunningConfig(
    merged={"epochs": 3, "dataset_dir": "/data/someone"},
    settings={"epochs": 3, "dataset_dir": "/data/someone"},
    network_def={"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1},
    version="0.1.0",
)


def validated(epoch: int, value: float) -> Engine:
    engine = Engine(lambda engine, batch: None)
    engine.state = State(epoch=epoch, metrics={"dice": value})
    return engine


@pytest.fixture
def best(network, tmp_path: Path) -> BestModel:
    return BestModel(tmp_path / "models" / "model.pt", network, "dice", CONFIG)


def test_keeps_the_best(best: BestModel) -> None:
    kept = []
    for epoch, value in enumerate((math.nan, 0.2, 0.5, 0.5, math.nan, 0.4, 0.6), start=1):
        with torch.no_grad():
            best.network[0].weight.fill_(epoch)
        best(validated(epoch, value))
        state = torch.load(best.path, weights_only=True)
        record = json.loads(best.path.with_suffix(".json").read_text())
        assert state["0.weight"][0, 0] == record["epoch"]
        assert record["sha256"] == file_sha256(best.path)
        kept.append((record["epoch"], record["metric"]["value"]))
    assert kept == [(1, None), (2, 0.2), (3, 0.5), (3, 0.5), (3, 0.5), (3, 0.5), (7, 0.6)]


def test_the_record_is_portable(best: BestModel) -> None:
    best(validated(1, 0.3))
    text = best.path.with_suffix(".json").read_text()
    record = json.loads(text)
    assert record["settings"] == {"epochs": 3}
    assert record["network_def"] == CONFIG.network_def
    assert record["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert "/data/someone" not in text
    assert record["datalist"] is None


def test_goes_on_from_its_state(best: BestModel, network, tmp_path: Path) -> None:
    best(validated(4, 0.5))
    other = BestModel(best.path, network, "dice", CONFIG)
    other.load_state_dict(best.state_dict())
    other(validated(5, 0.4))
    assert json.loads(best.path.with_suffix(".json").read_text())["epoch"] == 4
    other(validated(6, 0.7))
    assert json.loads(best.path.with_suffix(".json").read_text())["epoch"] == 6


def test_without_validation_the_newest(network, tmp_path: Path) -> None:
    newest = BestModel(tmp_path / "model.pt", network, None, CONFIG)
    for epoch in (1, 2):
        newest(validated(epoch, 0.0))
        assert json.loads((tmp_path / "model.json").read_text())["epoch"] == epoch


def test_weights_that_are_not_finite_never_replace_good_ones(network, tmp_path: Path) -> None:
    newest = BestModel(tmp_path / "model.pt", network, None, CONFIG)
    newest(validated(1, 0.0))
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with torch.no_grad():
        network[2].bias.fill_(math.nan)
    with pytest.raises(InputError, match=r"epoch 2: 2\.bias has values that are not finite"):
        newest(validated(2, 0.0))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
