"""Where an MLflow store puts its artifacts, and what a deleted experiment is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bonemets.errors import InputError
from bonemets.handlers.mlflow.store import MLflowStore


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without experiments; making one takes seconds, copying it does not."""
    folder = tmp_path_factory.mktemp("store")
    assert MLflowStore(f"sqlite:///{folder}/mlruns.db", "any").client
    return folder / "mlruns.db"


def store_in(folder: Path, empty: Path) -> MLflowStore:
    folder.mkdir(parents=True)
    shutil.copy(empty, folder / "mlruns.db")
    return MLflowStore(f"sqlite:///{folder}/mlruns.db", "bone")


@pytest.mark.parametrize(
    "name",
    ["with blank", "trä in", "100%", "a%20b", "a?b", "a#b", "it's", "[x]", "f:e"],
)
def test_artifacts_lie_beside_the_database(name: str, tmp_path: Path, empty: Path) -> None:
    store = store_in(tmp_path / name / "run 1", empty)
    run = store.client.create_run(store.experiment_id()).info.run_id
    store.client.log_text(run, "told", "notes/told.txt")
    (file,) = tmp_path.rglob("told.txt")
    assert file.is_relative_to(tmp_path / name / "run 1" / "mlruns")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [artifact.path for artifact in store.client.list_artifacts(run)] == ["notes"]
    copied = store.client.download_artifacts(run, "notes/told.txt", str(tmp_path / name))
    assert Path(copied).read_text() == "told"


def test_a_deleted_experiment_is_told_in_a_line(tmp_path: Path, empty: Path) -> None:
    store = store_in(tmp_path / "out", empty)
    number = store.experiment_id()
    store.client.delete_experiment(number)
    with pytest.raises(InputError, match=f"'bone'.*was deleted.*--experiment-id {number}"):
        store.parent_run("any")
    store.client.restore_experiment(number)
    assert store.experiment_id() == number
