"""One MLflow run per training or evaluation."""

from __future__ import annotations

import logging
import math
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import torch
import yaml
from ignite.engine import Events
from mlflow.entities import Metric, Param, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from monai.engines import Evaluator, Trainer, Workflow

from bonemets.bundle.folders import file_sha256
from bonemets.bundle.provenance import RunningConfig, environment, requirements
from bonemets.data.lists.datalist import datalist_hash, is_simulated
from bonemets.data.tables import csv_bytes
from bonemets.handlers.best_model import BestModel
from bonemets.handlers.mlflow.case_table import Identifiers
from bonemets.handlers.mlflow.model import log_best_model
from bonemets.handlers.mlflow.run_description import bundle_name, configuration_tags, dataset_input, used_section
from bonemets.handlers.mlflow.scan_overlays import ScanOverlays
from bonemets.handlers.mlflow.store import FINISHED, MLflowStore
from bonemets.handlers.patient_metrics import PatientMetrics

logger = logging.getLogger(__name__)


class MLflowTracking:
    """Track a run: configuration, data list, environment, metrics of every epoch, pictures, model, and how it ended.

    MONAI's ``MLFlowHandler`` logs metrics and parameters; it logs no pictures, picks up any unfinished run of the
    experiment as its own, and leaves a run RUNNING when the engine raises. One object of this class is attached to
    the trainer and to its evaluator, so all they log is one run; the engine that starts first owns it. The run ends
    FINISHED, FAILED after an exception, or KILLED after Ctrl-C or SIGTERM. A resumed training goes on in its run where
    the store still has it.

    With ``--tracking mlflow`` MONAI adds its own handlers: they find this run by its name and log into it.

    Args:
        tracking_uri: MLflow store: ``sqlite:///…`` or the address of a server.
        experiment_name: experiment that the run belongs to, made if it does not exist.
        run_name: name of the run.
        config: the running configuration: logged as parameters, and whole as ``config.yaml``.
        datalist: data list, logged as a file and by its SHA-256 as a tag.
        optimizer: optimizer whose learning rate is logged every epoch.
        overlays: pictures, logged after every evaluation.
        patients: lesion-level metrics, logged after every evaluation, and the table of patients: of an evaluation as
            ``evaluation/patients.csv``, of a training's best validation as ``validation/patients.csv``.
        artifacts: files logged at the end, as far as they exist.
        parent_run: name of a run that this one nests under, made if it does not exist; for folds and ablations.
        best_model: its weights are logged as an MLflow model when a training completes.
        weights: weights file of an evaluation, named by its SHA-256 as a tag.
        tables: CSV files, one row a case, logged at the end as tables, as far as they exist.
        identifiers: "hashed" replaces names of patients and files in tables and data list by pseudonyms, unless the
            patients are simulated (`bonemets.handlers.mlflow.case_table.Identifiers`); "plain" keeps them.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment_name: str,
        run_name: str,
        config: RunningConfig,
        datalist: str | Path | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        overlays: ScanOverlays | None = None,
        artifacts: Sequence[str | Path] = (),
        parent_run: str | None = None,
        best_model: BestModel | None = None,
        weights: str | Path | None = None,
        tables: Sequence[str | Path] = (),
        identifiers: str = "hashed",
        patients: PatientMetrics | None = None,
    ) -> None:
        self.store = MLflowStore(tracking_uri, experiment_name)
        self.run_name = run_name
        self.config = config
        self.datalist = Path(datalist) if datalist is not None and Path(datalist).is_file() else None
        self.optimizer = optimizer
        self.overlays = overlays
        self.artifacts = [Path(path) for path in artifacts]
        self.parent_run = parent_run
        self.best_model = best_model
        self.weights = None if weights is None else Path(weights)
        self.tables = [Path(path) for path in tables]
        self.identifiers = Identifiers(self.datalist, identifiers)
        self.patients = patients
        self.bundle = bundle_name(config)
        self.run_id: str | None = None
        self._parent_id: str | None = None
        self._owner: Workflow | None = None
        self._truth_logged = False
        self._previous_signal: Any = None

    @property
    def client(self) -> mlflow.MlflowClient:
        """The connection to the store."""
        return self.store.client

    def attach(self, engine: Workflow) -> None:
        """Attach to a trainer, to its evaluator, or to an evaluator that runs by itself."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.log_epoch)
        engine.add_event_handler(Events.COMPLETED, self.complete)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.fail)
        if self.overlays is not None and isinstance(engine, Evaluator):
            self.overlays.attach(engine)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.log_pictures)
        if self.patients is not None and isinstance(engine, Evaluator):
            self.patients.attach(engine)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.log_patients)

    def start(self, engine: Workflow) -> None:
        """Begin the run, or go on in the one that a resumed training began; once, for the engine that starts first."""
        if self._owner is not None:
            return
        self._owner = engine
        if threading.current_thread() is threading.main_thread():
            # Python dies of SIGTERM without a word; as an exception it reaches `fail`.
            self._previous_signal = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        if self.run_id is not None and self._reopen(self.run_id):
            self._truth_logged = True
            return
        if self.parent_run is not None:
            self._parent_id = self.store.parent_run(self.parent_run)
        experiment = self.store.experiment_id()
        self.run_id = self.client.create_run(experiment, run_name=self.run_name, tags=self.tags()).info.run_id
        self.log_configuration()

    def tags(self) -> dict[str, str]:
        """What the run table can be searched by: what ran, on which part of which data, with which code."""
        tags = configuration_tags(self.config)
        tags["stage"] = "train" if isinstance(self._owner, Trainer) else "evaluate"
        if self.bundle is not None:
            tags["bundle"] = self.bundle
        if self.datalist is not None:
            tags["datalist_sha256"] = datalist_hash(self.datalist)
            tags["simulated"] = str(is_simulated(self.datalist, self.identifiers.document)).lower()
        if self.weights is not None and self.weights.is_file():
            tags["weights_sha256"] = file_sha256(self.weights)
        if self._parent_id is not None:
            tags[MLFLOW_PARENT_RUN_ID] = self._parent_id
        return tags

    def log_configuration(self) -> None:
        """Log parameters, configuration, environment and data list."""
        parameters = [Param(name, value) for name, value in self.config.parameters().items()]
        self.client.log_batch(self._run, params=parameters)
        self.client.log_text(self._run, yaml.safe_dump(self.config.merged, sort_keys=False), "config.yaml")
        self.client.log_dict(self._run, environment(), "environment.json")
        self.client.log_text(self._run, requirements(), "requirements.txt")
        if self.datalist is not None:
            self.client.log_dict(self._run, self.identifiers.datalist(), "datalist.json")
            used = dataset_input(self.datalist, self.identifiers.document, used_section(self.config))
            self.client.log_inputs(self._run, [used])

    def log_epoch(self, engine: Workflow) -> None:
        """Log the engine's metrics, and the learning rate if it is the trainer."""
        metrics = {name: value for name, value in engine.state.metrics.items() if isinstance(value, (int, float))}
        if self.optimizer is not None and isinstance(engine, Trainer):
            metrics["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        self._log_metrics(metrics, engine.state.epoch)

    def log_pictures(self, engine: Workflow) -> None:
        """Log the pictures of the evaluation that ended.

        MLflow's page opens them at step 0. That is the truth alone for a training, whose epochs begin at 1, and the
        only step of an evaluation.
        """
        if self.overlays is None:
            return
        if self._owner is engine:
            steps = {0: self.overlays.pictures()}
        else:
            steps = {engine.state.epoch: self.overlays.pictures()}
            if not self._truth_logged:
                steps[0] = self.overlays.pictures(truth_alone=True)
                self._truth_logged = True
        for step, pictures in steps.items():
            for name, picture in pictures.items():
                self.client.log_image(self._run, picture, key=name, step=step)

    def log_patients(self, engine: Workflow) -> None:
        """Log what was measured of lesions; the table and ``best_…`` of a training are of the weights that it keeps."""
        if self.patients is None:
            return
        measured, rows = self.patients.metrics(), self.patients.rows()
        if self._owner is engine:
            self._log_metrics(measured, engine.state.epoch)
            self._log_patients(rows, "evaluation")
            return
        measured = {f"val_{name}": value for name, value in measured.items()}
        self._log_metrics(measured, engine.state.epoch)
        if self.best_model is not None and self.best_model.epoch == engine.state.epoch:
            known = {name: value for name, value in engine.state.metrics.items() if isinstance(value, float)}
            best = {f"best_{name}": value for name, value in (known | measured).items()}
            self._log_metrics({"best_epoch": engine.state.epoch, **best}, engine.state.epoch)
            self._log_patients(rows, "validation")

    def complete(self, engine: Workflow) -> None:
        """Log what came out of the run, and close it, when its owner completes."""
        if engine is not self._owner:
            return
        for path in self.artifacts:
            if path.is_file():
                self.client.log_artifact(self._run, str(path))
        for path in self.tables:
            if path.is_file():
                self.log_table(path)
        if self.best_model is not None and self.best_model.path.is_file():
            self.log_model(self.best_model)
        self._close(RunStatus.FINISHED)

    def log_table(self, path: Path) -> None:
        """Log a CSV file as a table: as CSV, which the page of artifacts shows, and as JSON, which MLflow reads."""
        self.client.log_text(self._run, self.identifiers.csv_text(path), path.name)
        self.client.log_table(self._run, self.identifiers.table(path), path.with_suffix(".json").name)

    def log_model(self, best_model: BestModel) -> None:
        """Log the best weights as an MLflow model, unless this run has them already."""
        sha256 = file_sha256(best_model.path)
        if self.client.get_run(self._run).data.tags.get("weights_sha256") == sha256:
            return
        self.client.set_tag(self._run, "weights_sha256", sha256)
        try:
            log_best_model(best_model, self.store, self._run)
        except (RuntimeError, ValueError, TypeError, AssertionError, MlflowException) as error:
            # The training is done and its weights are saved: a network that PyTorch cannot export is no failure of it.
            reason = str(error).partition("\n")[0]
            logger.warning("the weights are not in MLflow's model format: %s: %s", type(error).__name__, reason)

    def fail(self, engine: Workflow, error: BaseException) -> None:
        """Close the run after an exception, and pass the exception on; a run that had not begun is logged as failed."""
        if self._owner is None and self.run_id is None:
            self.start(engine)
        if engine is self._owner and self.run_id is not None:
            # The kind alone: a message may name a file, and so a patient.
            self.client.set_tag(self.run_id, "error", type(error).__name__)
            interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
            self._close(RunStatus.KILLED if interrupted else RunStatus.FAILED)
        raise error

    def state_dict(self) -> dict[str, str | None]:
        """What a resumed training must know to go on in this run."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: Mapping[str, str | None]) -> None:
        """Restore what `state_dict` returned."""
        self.run_id = state["run_id"]

    def _log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        now = mlflow.utils.time.get_current_time_millis()
        # A ratio of nothing to nothing has no value: it is left out rather than drawn as zero.
        entities = [
            Metric(name, float(value), now, step) for name, value in metrics.items() if not math.isnan(float(value))
        ]
        self.client.log_batch(self._run, metrics=entities)

    def _log_patients(self, rows: Sequence[Mapping[str, Any]], folder: str) -> None:
        if self.datalist is None:
            return  # nothing to make pseudonyms with
        hidden = [{**row, "patient": self.identifiers.pseudonym(row["patient"])} for row in rows]
        self.client.log_text(self._run, csv_bytes(hidden).decode(), f"{folder}/patients.csv")

    @property
    def _run(self) -> str:
        if self.run_id is None:
            raise RuntimeError("the run has not started")
        return self.run_id

    def _reopen(self, run_id: str) -> bool:
        try:
            self.client.update_run(run_id, status=RunStatus.to_string(RunStatus.RUNNING))
        except MlflowException:
            logger.info("the store has no run %s, a new one begins", run_id)
            return False
        return True

    def _close(self, status: int) -> None:
        self.client.set_terminated(self._run, RunStatus.to_string(status))
        parent = self._parent_id or self.client.get_run(self._run).data.tags.get(MLFLOW_PARENT_RUN_ID)
        if parent is not None:
            # It lasts until the last of its runs ends.
            self.client.set_terminated(parent, FINISHED)
        self._owner = None
        if self._previous_signal is not None:
            signal.signal(signal.SIGTERM, self._previous_signal)
            self._previous_signal = None
