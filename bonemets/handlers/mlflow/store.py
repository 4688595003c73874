"""The MLflow store that runs are logged to: its experiment, and runs that others nest under."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.entities import Experiment, LifecycleStage, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from bonemets.bundle.store_address import SQLITE, store_address
from bonemets.errors import InputError

FINISHED = RunStatus.to_string(RunStatus.FINISHED)


class MLflowStore:
    """One experiment of an MLflow store, connected to on first use.

    Args:
        uri: ``sqlite:///…``, whose folder is made if needed, or the address of a server.
        experiment_name: the experiment, made if it does not exist.
    """

    def __init__(self, uri: str, experiment_name: str) -> None:
        self.uri = store_address(uri)
        self._given = uri
        self.experiment_name = experiment_name
        self._client: mlflow.MlflowClient | None = None
        # In the folder of temporary files, like MLflow's own: a store on a server has no folder.
        what = "\0".join((str(Path.home()), str(self.database or uri), experiment_name))
        self._lock = FileLock(
            Path(tempfile.gettempdir()) / f"bonemets_{hashlib.sha256(what.encode()).hexdigest()[:16]}.lock"
        )

    @property
    def database(self) -> Path | None:
        """The database file; None for a server."""
        return Path(self._given.removeprefix(SQLITE)).absolute() if self._given.startswith(SQLITE) else None

    @property
    def client(self) -> mlflow.MlflowClient:
        """The connection."""
        if self._client is None:
            if self.database is not None:
                self.database.parent.mkdir(parents=True, exist_ok=True)
            # Connecting makes the tables of a new database, which fails if two processes do it at once.
            with self._lock:
                made = _missing_folders(Path(self.uri.removeprefix(SQLITE)).absolute().parent) if self.database else []
                self._client = mlflow.MlflowClient(self.uri)
                # MLflow also makes the folder that an encoded address would name.
                for folder in made:
                    if folder.is_dir() and not any(folder.iterdir()):
                        folder.rmdir()
        return self._client

    def experiment_id(self) -> str:
        """The experiment's identifier; the experiment is made if needed.

        Raises:
            InputError: it was deleted.
        """
        found = self.client.get_experiment_by_name(self.experiment_name)
        if found is not None:
            return self._active(found)
        # Pictures cannot go into a database: they go beside it, as MONAI's handler has it.
        place = None if self.database is None else _location(self.database.parent / "mlruns")
        try:
            return self.client.create_experiment(self.experiment_name, artifact_location=place)
        except MlflowException:
            # Another process may have made it in between.
            found = self.client.get_experiment_by_name(self.experiment_name)
            if found is None:
                raise
            return self._active(found)

    def _active(self, experiment: Experiment) -> str:
        """The identifier of an experiment that runs can be added to.

        Raises:
            InputError: it was deleted, in MLflow's page for instance, and MLflow keeps its name for it.
        """
        if experiment.lifecycle_stage == LifecycleStage.DELETED:
            raise InputError(
                f"the MLflow experiment {self.experiment_name!r} in {self.database or 'the store'} was deleted; bring "
                f"it back with 'mlflow experiments restore --experiment-id {experiment.experiment_id}', or choose "
                "another experiment name or output folder"
            )
        return experiment.experiment_id

    def parent_run(self, name: str) -> str:
        """The run of this name that others nest under; it is made, and closed at once, if there is none.

        MLflow lets several runs have one name, so finding and making it is one step for all processes on this machine
        that start side by side, such as the folds of a cross-validation.

        Returns:
            Its identifier.

        Raises:
            ValueError: if the name has a quotation mark in it.
        """
        if '"' in name:
            raise ValueError(f"parent_run must have no quotation marks in it, got {name}")
        experiment = self.experiment_id()
        with self._lock:
            runs = self.client.search_runs(
                [experiment], f'attributes.run_name = "{name}"', order_by=["attributes.start_time ASC"]
            )
            for run in runs:
                # A child of the same name is no parent.
                if MLFLOW_PARENT_RUN_ID not in run.data.tags:
                    return run.info.run_id
            made = self.client.create_run(experiment, run_name=name, tags={"stage": "parent"}).info.run_id
            self.client.set_terminated(made, FINISHED)
            return made

    def run_or_new(self, run_id: str, name: str, parent: str) -> str:
        """A run of this store: the given one, or where the store does not have it, a new one under a parent.

        A training may have been logged into another store than the one that its evaluation is logged into.

        Args:
            run_id: the run that is looked for.
            name: name of a new run, which is closed at once.
            parent: name of the run that a new one nests under.

        Returns:
            Its identifier.
        """
        try:
            return self.client.get_run(run_id).info.run_id
        except MlflowException:
            tags = {"stage": "evaluate", MLFLOW_PARENT_RUN_ID: self.parent_run(parent)}
            made = self.client.create_run(self.experiment_id(), run_name=name, tags=tags).info.run_id
            self.client.set_terminated(made, FINISHED)
            return made


def _missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it that do not exist, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _location(folder: Path) -> str:
    """A folder as MLflow takes it: a plain path, of which MLflow decodes what looks percent-encoded."""
    return re.sub("%(?=[0-9A-Fa-f]{2})", "%25", str(folder.resolve()))
