from __future__ import annotations

import os
import signal
from pathlib import Path

import mlflow
import pytest
from ignite.engine import Events
from monai.handlers import ValidationHandler

from bonemets.engines.provenance import RunningConfig
from bonemets.handlers import MLflowTracking

CONFIG = RunningConfig(merged={"epochs": 2, "note": "x" * 2000}, settings={"epochs": 2, "note": "x" * 2000})


class Act:
    """Do something at the start of an epoch."""

    def __init__(self, epoch: int, action) -> None:
        self.epoch, self.action = epoch, action

    def attach(self, engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine) -> None:
        if engine.state.epoch == self.epoch:
            self.action()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/deep/mlruns.db"


def track(store: str, name: str, **kwargs) -> MLflowTracking:
    return MLflowTracking(store, "experiment", name, CONFIG, **kwargs)


def find(store: str, name: str) -> list:
    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name("experiment")
    return [run for run in client.search_runs([experiment.experiment_id]) if run.info.run_name == name]


def raise_it(error: BaseException) -> None:
    raise error


def test_trainer_and_evaluator_are_one_run(trainer, evaluator, network, store: str, tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("report")
    tracking = track(store, "one", artifacts=[tmp_path / "report.txt", tmp_path / "missing.txt"])
    validation = ValidationHandler(1, evaluator(network, [tracking]))
    engine = trainer(network, 3, [tracking, validation])
    tracking.optimizer = engine.optimizer
    engine.run()
    (run,) = find(store, "one")
    assert run.info.status == "FINISHED"
    assert len(run.data.params["note"]) < 500
    assert run.data.tags["config_sha256"] == CONFIG.sha256
    client = mlflow.MlflowClient(store)
    for metric in ("error", "learning_rate"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, metric)] == [1, 2, 3]
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"config.yaml", "environment.json", "report.txt"}


def test_an_evaluator_alone_is_a_run(evaluator, network, store: str) -> None:
    evaluator(network, [track(store, "alone")]).run()
    (run,) = find(store, "alone")
    assert run.info.status == "FINISHED"
    assert "error" in run.data.metrics


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("wrong"), "FAILED"), (KeyboardInterrupt(), "KILLED")], ids=["error", "Ctrl-C"]
)
def test_a_broken_run_is_closed(trainer, network, store: str, error: BaseException, status: str) -> None:
    engine = trainer(network, 3, [track(store, status), Act(2, lambda: raise_it(error))])
    with pytest.raises(type(error)):
        engine.run()
    assert [run.info.status for run in find(store, status)] == [status]


def test_an_error_in_validation_closes_the_run(trainer, evaluator, network, store: str) -> None:
    tracking = track(store, "validation")
    broken = evaluator(network, [tracking, Act(2, lambda: raise_it(ValueError("wrong")))])
    with pytest.raises(ValueError, match="wrong"):
        trainer(network, 3, [tracking, ValidationHandler(1, broken)]).run()
    assert [run.info.status for run in find(store, "validation")] == ["FAILED"]


def test_sigterm_closes_the_run_and_the_handler_is_put_back(trainer, network, store: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as exit_:
        trainer(network, 3, [track(store, "term"), Act(2, lambda: os.kill(os.getpid(), signal.SIGTERM))]).run()
    assert exit_.value.code == 143
    assert [run.info.status for run in find(store, "term")] == ["KILLED"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_resumed_training_goes_on_in_its_run(trainer, network, store: str) -> None:
    first = track(store, "resumed")
    with pytest.raises(ValueError, match="stop"):
        trainer(network, 3, [first, Act(2, lambda: raise_it(ValueError("stop")))]).run()
    second = track(store, "another name")
    second.load_state_dict(first.state_dict())
    trainer(network, 3, [second]).run()
    assert [run.info.status for run in find(store, "resumed")] == ["FINISHED"]
    assert find(store, "another name") == []


def test_a_run_that_the_store_does_not_have_begins_anew(trainer, network, store: str) -> None:
    tracking = track(store, "anew")
    tracking.load_state_dict({"run_id": "0" * 32})
    trainer(network, 1, [tracking]).run()
    assert [run.info.status for run in find(store, "anew")] == ["FINISHED"]
