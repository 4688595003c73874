from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from ignite.engine import Events
from monai.handlers import ValidationHandler

from bonemets.bundle.provenance import RunningConfig
from bonemets.data import datalist_hash
from bonemets.errors import InputError
from bonemets.handlers import MLflowTracking, TrainingState
from bonemets.handlers.mlflow.store import MLflowStore

CONFIG = RunningConfig(merged={"epochs": 2, "note": "x" * 2000}, settings={"epochs": 2, "fold": 1, "note": "x" * 2000})


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
    assert (run.data.tags["stage"], run.data.tags["section"], run.data.tags["fold"]) == ("train", "train", "1")
    client = mlflow.MlflowClient(store)
    for metric in ("error", "learning_rate"):
        assert [point.step for point in client.get_metric_history(run.info.run_id, metric)] == [1, 2, 3]
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"config.yaml", "environment.json", "report.txt", "requirements.txt"}


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


def test_an_error_before_the_run_began_is_a_failed_run(trainer, network, store: str, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_text("not a checkpoint")
    state = TrainingState(tmp_path / "checkpoint.pt", {"network": network}, resume=True)
    with pytest.raises(InputError, match="cannot resume"):
        trainer(network, 3, [state, track(store, "early")]).run()
    (run,) = find(store, "early")
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "InputError")
    assert str(tmp_path) not in str(run.data.tags)


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
    tracking = track(store, "again")
    tracking.load_state_dict({"run_id": "0" * 32})
    trainer(network, 1, [tracking]).run()
    assert [run.info.status for run in find(store, "again")] == ["FINISHED"]


def test_runs_nest_under_a_parent_that_is_not_left_open(trainer, evaluator, network, store: str) -> None:
    trainer(network, 1, [track(store, "fold 0", parent_run="cross-validation")]).run()
    (parent,) = find(store, "cross-validation")
    first_end = parent.info.end_time
    broken = track(store, "fold 1", parent_run="cross-validation")
    with pytest.raises(ValueError, match="stop"):
        trainer(network, 3, [broken, Act(1, lambda: raise_it(ValueError("stop")))]).run()
    evaluator(network, [track(store, "cross-validation", parent_run="cross-validation")]).run()
    parent, child = sorted(find(store, "cross-validation"), key=lambda run: run.info.start_time)
    assert (parent.info.status, parent.data.tags["stage"]) == ("FINISHED", "parent")
    assert parent.info.end_time > first_end
    children = [*find(store, "fold 0"), *find(store, "fold 1"), child]
    assert [run.info.status for run in children] == ["FINISHED", "FAILED", "FINISHED"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert "mlflow.parentRunId" not in parent.data.tags
    with pytest.raises(ValueError, match="quotation"):
        MLflowStore(store, "experiment").parent_run('a "name"')


@pytest.mark.slow
def test_processes_side_by_side_make_one_parent(store: str) -> None:
    """Also on a store and an experiment that do not exist yet."""
    fresh = store.replace("deep", "fresh")
    code = (
        f"from bonemets.handlers.mlflow.store import MLflowStore as S; print(S({fresh!r}, 'new').parent_run('folds'))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    found = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, found
    assert len({out for out, _ in found}) == 1
    client = mlflow.MlflowClient(fresh)
    experiment = client.get_experiment_by_name("new")
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_cases_are_a_table_without_names(evaluator, network, store: str, tmp_path: Path) -> None:
    item = {"image": "Doe_Jane/a.dcm", "label": "Doe_Jane/b.nii.gz", "patient": "Doe_Jane", "view": "anterior"}
    document = {"name": "clinic", "training": [{**item, "fold": 2, "accession": "4711"}], "testing": [item]}
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps(document))
    (tmp_path / "per_image.csv").write_text(
        "image,patient,tp,dice\nDoe_Jane/a.dcm,Doe_Jane,7,0.5\nDoe_Jane/c.dcm,Doe_Jane,0,\n"
    )
    client = mlflow.MlflowClient(store)

    def logged(name: str, **kwargs) -> tuple[str, str, dict]:
        tracking = track(store, name, datalist=datalist, tables=[tmp_path / "per_image.csv"], **kwargs)
        evaluator(network, [tracking]).run()
        (run,) = find(store, name)
        files = ("datalist.json", "per_image.csv", "per_image.json")
        texts = [Path(client.download_artifacts(run.info.run_id, file)).read_text() for file in files]
        assert run.data.tags["datalist_sha256"] == datalist_hash(datalist)
        return texts[0], texts[1], json.loads(texts[2])

    items, table, as_json = logged("hashed")
    assert not any(word in items + table + str(as_json) for word in ("Doe", "Jane", "a.dcm", "4711"))
    assert json.loads(items)["training"][0]["fold"] == 2
    first, second = csv.DictReader(io.StringIO(table))
    assert first["patient"] == second["patient"] == json.loads(items)["testing"][0]["patient"]
    assert first["image"] != second["image"]
    assert (first["tp"], first["dice"], second["dice"]) == ("7", "0.5", "")
    assert as_json["columns"] == ["image", "patient", "tp", "dice"]

    items, table, _ = logged("plain", identifiers="plain")
    assert json.loads(items) == document
    assert "Doe_Jane" in table
    (tmp_path / "cohort.json").write_text("{}")
    assert "Doe_Jane" in logged("simulated")[1]
    document["name"] = "another clinic"
    datalist.write_text(json.dumps({**document, "simulated": False}))
    assert first["patient"] not in logged("other list")[1]
    with pytest.raises(ValueError, match="hashed"):
        track(store, "wrong", identifiers="secret")
