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
from monai.engines import Evaluator, Trainer, Workflow

from bonemets.data.datalist import datalist_hash
from bonemets.engines.provenance import RunningConfig, git_commit, versions
from bonemets.handlers.scan_overlays import ScanOverlays

logger = logging.getLogger(__name__)


class MLflowTracking:
    """Track a run: configuration, data list, environment, metrics of every epoch, pictures, and how it ended.

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
        artifacts: files logged at the end, as far as they exist.
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
    ) -> None:
        self.tracking_uri = tracking_uri
        self.experiment_name = experiment_name
        self.run_name = run_name
        self.config = config
        self.datalist = Path(datalist) if datalist is not None and Path(datalist).is_file() else None
        self.optimizer = optimizer
        self.overlays = overlays
        self.artifacts = [Path(path) for path in artifacts]
        self.run_id: str | None = None
        self._owner: Workflow | None = None
        self._client: mlflow.MlflowClient | None = None
        self._previous_signal: Any = None

    @property
    def client(self) -> mlflow.MlflowClient:
        """The connection to the store, made on first use."""
        if self._client is None:
            if self.tracking_uri.startswith("sqlite:///"):
                self._database.parent.mkdir(parents=True, exist_ok=True)
            self._client = mlflow.MlflowClient(self.tracking_uri)
        return self._client

    @property
    def _database(self) -> Path:
        return Path(self.tracking_uri.removeprefix("sqlite:///"))

    def attach(self, engine: Workflow) -> None:
        """Attach to a trainer, to its evaluator, or to an evaluator that runs by itself."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.log_epoch)
        engine.add_event_handler(Events.COMPLETED, self.complete)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self.fail)
        if self.overlays is not None and isinstance(engine, Evaluator):
            self.overlays.attach(engine)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.log_pictures)

    def start(self, engine: Workflow) -> None:
        """Begin the run, or go on in the one that a resumed training began; once, for the engine that starts first."""
        if self._owner is not None:
            return
        self._owner = engine
        if threading.current_thread() is threading.main_thread():
            # Python dies of SIGTERM without a word; as an exception it reaches `fail`.
            self._previous_signal = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        if self.run_id is not None and self._reopen(self.run_id):
            return
        experiment = self.client.get_experiment_by_name(self.experiment_name)
        if experiment is None:
            # Pictures cannot go into a database: they go beside it, as MONAI's handler has it.
            local = self.tracking_uri.startswith("sqlite:///")
            place = (self._database.parent / "mlruns").resolve().as_uri() if local else None
            experiment_id = self.client.create_experiment(self.experiment_name, artifact_location=place)
        else:
            experiment_id = experiment.experiment_id
        self.run_id = self.client.create_run(experiment_id, run_name=self.run_name, tags=self._tags()).info.run_id
        parameters = [Param(name, value) for name, value in self.config.parameters().items()]
        self.client.log_batch(self.run_id, params=parameters)
        self.client.log_text(self.run_id, yaml.safe_dump(self.config.merged, sort_keys=False), "config.yaml")
        self.client.log_dict(self.run_id, versions(), "environment.json")
        if self.datalist is not None:
            self.client.log_artifact(self.run_id, str(self.datalist))

    def log_epoch(self, engine: Workflow) -> None:
        """Log the engine's metrics, and the learning rate if it is the trainer."""
        metrics = {name: value for name, value in engine.state.metrics.items() if isinstance(value, (int, float))}
        if self.optimizer is not None and isinstance(engine, Trainer):
            metrics["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        now = mlflow.utils.time.get_current_time_millis()
        entities = [
            # A ratio of nothing to nothing has no value: it is left out rather than drawn as zero.
            Metric(name, float(value), now, engine.state.epoch)
            for name, value in metrics.items()
            if not math.isnan(value)
        ]
        self.client.log_batch(self._run, metrics=entities)

    def log_pictures(self, engine: Workflow) -> None:
        """Log the pictures of the evaluation that ended."""
        if self.overlays is not None:
            for name, picture in self.overlays.pictures().items():
                self.client.log_image(self._run, picture, key=name, step=engine.state.epoch)

    def complete(self, engine: Workflow) -> None:
        """Log the files that came out of the run, and close it, when its owner completes."""
        if engine is not self._owner:
            return
        for path in self.artifacts:
            if path.is_file():
                self.client.log_artifact(self._run, str(path))
        self._close(RunStatus.FINISHED)

    def fail(self, engine: Workflow, error: BaseException) -> None:
        """Close the run after an exception, and pass the exception on."""
        if engine is self._owner and self.run_id is not None:
            interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
            self._close(RunStatus.KILLED if interrupted else RunStatus.FAILED)
        raise error

    def state_dict(self) -> dict[str, str | None]:
        """What a resumed training must know to go on in this run."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: Mapping[str, str | None]) -> None:
        """Restore what `state_dict` returned."""
        self.run_id = state["run_id"]

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

    def _tags(self) -> dict[str, str]:
        tags = {"config_sha256": self.config.sha256}
        if self.datalist is not None:
            tags["datalist_sha256"] = datalist_hash(self.datalist)
        if commit := git_commit():
            tags["mlflow.source.git.commit"] = commit
        return tags

    def _close(self, status: int) -> None:
        self.client.set_terminated(self._run, RunStatus.to_string(status))
        self._owner = None
        if self._previous_signal is not None:
            signal.signal(signal.SIGTERM, self._previous_signal)
            self._previous_signal = None
