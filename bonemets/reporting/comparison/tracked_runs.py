"""Runs as an MLflow store holds them: configuration, curves, pictures, and the tables of patients."""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bonemets.bundle.store_address import store_address
from bonemets.data.tables import csv_rows
from bonemets.errors import InputError

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import Run

Rows = dict[str, dict[str, float]]

RUN_ID = re.compile(r"[0-9a-f]{32}")
# How MLflow names a picture: key, step, time and a random part, with one of two separators.
PICTURE = re.compile(r"images/(scan_\d+)[%+]step[%+](\d+)[%+].*\.png")


@dataclass(frozen=True)
class PatientTable:
    """What a run measured, one row per patient.

    Args:
        section: "validation" or "test".
        fold: the fold, which only validation has.
        split: SHA-256 of the data list.
        rows: patient (a pseudonym, unless simulated) → column → value; NaN where the cell is empty.
        prefix: what the run's metrics over these patients begin with.
    """

    section: str
    fold: str | None
    split: str
    rows: Rows
    prefix: str

    def __str__(self) -> str:
        return self.section if self.fold is None else f"{self.section} of fold {self.fold}"


@dataclass(frozen=True)
class TrackedRun:
    """A run.

    Args:
        run_id: MLflow's identifier.
        name: its name.
        experiment: name of its experiment.
        dataset: name of its data list.
        status: FINISHED, FAILED, KILLED or RUNNING.
        started: milliseconds since 1970.
        seconds: how long it took; None while it runs.
        parameters: as they were logged.
        tags: those without MLflow's own.
        metrics: the last value of each.
        curves: metric → (step, value) for those that were logged more than once.
        tables: "validation" and "test" → the table of these patients, where there is one.
        pictures: scan → step → path of the PNG among the run's artifacts.
    """

    run_id: str
    name: str
    experiment: str
    dataset: str
    status: str
    started: int
    seconds: float | None
    parameters: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    curves: dict[str, list[tuple[int, float]]] = field(repr=False)
    tables: dict[str, PatientTable] = field(repr=False)
    pictures: dict[str, dict[int, str]] = field(repr=False)

    @property
    def pictured(self) -> tuple[str | None, str, str | None]:
        """Which scans its pictures are of: split, section and fold."""
        section = "validation" if self.tags.get("stage") == "train" else self.tags.get("section", "")
        return self.tags.get("datalist_sha256"), section, self.tags.get("fold") if section == "validation" else None


class RunStore:
    """An MLflow store to read from.

    Args:
        uri: ``sqlite:///…``, the path of such a database, or the address of a server.

    Raises:
        InputError: there is no such store.
    """

    def __init__(self, uri: str) -> None:
        import mlflow
        from mlflow.exceptions import MlflowException

        if "://" not in uri:
            uri = f"sqlite:///{uri}"
        database = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
        if database is not None and not database.is_file():
            # MLflow would make it.
            raise InputError(
                f"{database} does not exist; give an MLflow store (mlruns.db) or a server with --tracking-uri"
            )
        # A server that is not there would be asked for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        self.uri = uri
        self.client: mlflow.MlflowClient
        try:
            self.client = mlflow.MlflowClient(store_address(uri))
            self.experiments = {found.experiment_id: found.name for found in self.client.search_experiments()}
        except (MlflowException, OSError, ValueError) as error:
            raise InputError(f"{uri}: cannot be read as an MLflow store ({_first_line(error)})") from error

    def read(self, name_or_id: str, experiment: str | None = None) -> TrackedRun:
        """A run by its name or identifier.

        Args:
            name_or_id: either.
            experiment: where to look for the name; everywhere by default.

        Raises:
            InputError: there is none, several have the name, or its artifacts cannot be read.
        """
        from mlflow.exceptions import MlflowException

        run = self._find(name_or_id, experiment)
        try:
            return self._read(run)
        except (MlflowException, OSError, ValueError, KeyError) as error:
            raise InputError(f"{name_or_id}: its files in {self.uri} cannot be read ({_first_line(error)})") from error

    def picture(self, run: TrackedRun, scan: str, step: int) -> bytes:
        """A picture of a run as PNG."""
        return self._file(run.run_id, run.pictures[scan][step])

    def _find(self, name_or_id: str, experiment: str | None) -> Run:
        from mlflow.exceptions import MlflowException

        if RUN_ID.fullmatch(name_or_id):
            try:
                return self.client.get_run(name_or_id)
            except MlflowException as error:
                raise InputError(f"{self.uri} has no run {name_or_id}") from error
        places = [key for key, name in self.experiments.items() if experiment in (None, name)]
        if not places:
            raise InputError(
                f"{self.uri} has no experiment {experiment}; it has {', '.join(self.experiments.values())}"
            )
        quoted = name_or_id.replace('"', '\\"')
        found = list(self.client.search_runs(places, f'attributes.run_name = "{quoted}"'))
        # A parent has the name of its sweep, which is no training.
        found = [run for run in found if run.data.tags.get("stage") != "parent"] or found
        if len(found) == 1:
            return found[0]
        if not found:
            names = {run.info.run_name for run in self.client.search_runs(places)}
            near = difflib.get_close_matches(name_or_id, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "give a name or an identifier from MLflow's table of runs"
            raise InputError(f"{self.uri} has no run {name_or_id}; {hint}")
        which = ", ".join(f"{run.info.run_id} in {self.experiments[run.info.experiment_id]}" for run in found[:4])
        raise InputError(f"{len(found)} runs are called {name_or_id} ({which}); give an identifier or --experiment")

    def _read(self, run: Run) -> TrackedRun:
        info, data = run.info, run.data
        curves = {}
        for name in data.metrics:
            history = sorted((point.step, point.value) for point in self.client.get_metric_history(info.run_id, name))
            if len(history) > 1:
                curves[name] = history
        return TrackedRun(
            run_id=info.run_id,
            name=info.run_name,
            experiment=self.experiments.get(info.experiment_id, info.experiment_id),
            dataset=next((found.dataset.name for found in (run.inputs.dataset_inputs if run.inputs else ())), ""),
            status=info.status,
            started=info.start_time,
            seconds=None if info.end_time is None else (info.end_time - info.start_time) / 1000,
            parameters=dict(data.params),
            tags={name: value for name, value in data.tags.items() if not name.startswith("mlflow.")},
            metrics=dict(data.metrics),
            curves=curves,
            tables=self._tables(run),
            pictures=self._pictures(info.run_id),
        )

    def _tables(self, run: Run) -> dict[str, PatientTable]:
        """Tables of an evaluation, of a training's best validation, and of a sweep's trial, which has both."""
        tags, tables = run.data.tags, {}
        for place in ("validation", "evaluation"):
            there = {artifact.path for artifact in self.client.list_artifacts(run.info.run_id, place)}
            if f"{place}/patients.csv" not in there:
                continue
            rows = _rows(self._file(run.info.run_id, f"{place}/patients.csv").decode())
            split, section, fold = tags.get("datalist_sha256", ""), tags.get("section", ""), tags.get("fold")
            prefix = "best_val_" if place == "validation" else ""
            if f"{place}/summary.json" in there:
                data = json.loads(self._file(run.info.run_id, f"{place}/summary.json"))["data"]
                split, section, fold = data["datalist_sha256"], data["section"], data["fold"]
                prefix = f"{section}."
            elif place == "validation":
                section = "validation"
            known_fold = str(fold) if section == "validation" else None
            tables[section] = PatientTable(section, known_fold, split, rows, prefix)
        return tables

    def _pictures(self, run_id: str) -> dict[str, dict[int, str]]:
        pictures: dict[str, dict[int, str]] = {}
        for artifact in self.client.list_artifacts(run_id, "images"):
            if (name := PICTURE.fullmatch(artifact.path)) is not None:
                pictures.setdefault(name[1], {})[int(name[2])] = artifact.path
        return pictures

    def _file(self, run_id: str, path: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(run_id, path, folder)).read_bytes()


def _rows(text: str) -> Rows:
    """A table of patients; cells that are no numbers, such as a name, are left out."""
    rows: Rows = {}
    for row in csv_rows(text):
        values: dict[str, Any] = {column: cell or "nan" for column, cell in row.items() if column != "patient"}
        rows[row["patient"]] = {column: float(cell) for column, cell in values.items()}
    return rows


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
