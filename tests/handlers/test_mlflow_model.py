from __future__ import annotations

import json
import os
from pathlib import Path

import mlflow
import pytest
import torch
from ignite.engine import Engine, State

from bonemets.bundle.folders import file_sha256
from bonemets.bundle.provenance import RunningConfig
from bonemets.handlers import BestModel, MLflowTracking

CONFIG = RunningConfig(merged={"epochs": 2}, settings={"epochs": 2})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def best(folder: Path) -> BestModel:
    """Weights of epoch 3; the network has moved on since."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5)]
    network = torch.nn.Sequential(
        *layers, torch.nn.MaxPool2d(2), torch.nn.Upsample(scale_factor=2), torch.nn.Conv2d(4, 1, 1)
    )
    network.to(memory_format=torch.channels_last)
    network(torch.rand(8, 3, 16, 16))
    best = BestModel(folder / "model.pt", network, "dice", CONFIG)
    engine = Engine(lambda engine, batch: None)
    engine.state = State(epoch=3, metrics={"dice": 0.5})
    best(engine)
    with torch.no_grad():
        network[0].weight.zero_()
    return best


@pytest.fixture(scope="module")
def run(folder: Path, best: BestModel):
    tracking = MLflowTracking(f"sqlite:///{folder}/mlruns.db", "experiment", "training", CONFIG, best_model=best)
    before = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    finish(tracking)
    assert (mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")) == before
    return tracking.client.get_run(tracking.run_id)


def finish(tracking: MLflowTracking) -> None:
    engine = Engine(lambda engine, batch: None)
    tracking.attach(engine)
    engine.run([0], max_epochs=1)


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlruns.db")
    yield
    mlflow.set_tracking_uri(None)


def logged_models(run) -> list:
    client = mlflow.MlflowClient(mlflow.get_tracking_uri())
    return client.search_logged_models([run.info.experiment_id])


def test_it_is_the_network_with_the_best_weights(run, best: BestModel, store) -> None:
    (model,) = logged_models(run)
    assert (model.name, model.status, model.source_run_id) == ("model", "READY", run.info.run_id)
    loaded = mlflow.pytorch.load_model(f"models:/{model.model_id}")
    for name, parameter in loaded.named_parameters():
        assert parameter.device.type == "cpu", name
    network = best.network
    network.load_state_dict(torch.load(best.path, weights_only=True))
    network.eval()
    for shape in ((1, 3, 1024, 256), (2, 3, 130, 256), (5, 3, 64, 98)):
        image = torch.rand(shape)
        assert torch.allclose(loaded(image), network(image), atol=1e-6), shape
    assert run.data.tags["weights_sha256"] == file_sha256(best.path)


def test_signature_example_and_no_pickle(run, store, monkeypatch: pytest.MonkeyPatch) -> None:
    (model,) = logged_models(run)
    info = mlflow.models.get_model_info(f"models:/{model.model_id}")
    assert [spec.shape for spec in (*info.signature.inputs, *info.signature.outputs)] == [
        (-1, 3, -1, -1),
        (-1, 1, -1, -1),
    ]
    place = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
    example = json.loads((place / "serving_input_example.json").read_text())["inputs"]
    found = mlflow.pyfunc.load_model(str(place)).predict(torch.tensor(example).float().numpy())
    assert found.shape == (2, 1, 192, 192)
    # Loading must not need the permission to run pickled code.
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    assert mlflow.pytorch.load_model(str(place)) is not None
    assert {path.suffix for path in (place / "data").rglob("*") if path.is_file()} == {".pt2"}


def test_a_resumed_run_that_was_done_logs_no_second_model(run, best: BestModel, folder: Path, store) -> None:
    again = MLflowTracking(f"sqlite:///{folder}/mlruns.db", "experiment", "again", CONFIG, best_model=best)
    again.load_state_dict({"run_id": run.info.run_id})
    finish(again)
    assert len(logged_models(run)) == 1


@pytest.mark.parametrize("network", [torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Conv2d(1, 1, 999))])
def test_a_network_that_cannot_be_exported_does_not_fail_the_training(
    network, folder: Path, tmp_path: Path, caplog
) -> None:
    best = BestModel(tmp_path / "model.pt", network, None, CONFIG)
    engine = Engine(lambda engine, batch: None)
    engine.state = State(epoch=1, metrics={})
    best(engine)
    tracking = MLflowTracking(f"sqlite:///{folder}/mlruns.db", "not exported", "training", CONFIG, best_model=best)
    finish(tracking)
    assert tracking.client.get_run(tracking.run_id).info.status == "FINISHED"
    assert "not in MLflow's model format" in caplog.text
