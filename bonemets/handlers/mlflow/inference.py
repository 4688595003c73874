"""One MLflow run per inference, without a name of a patient or a file."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.engines import Workflow

from bonemets.bundle.provenance import RunningConfig
from bonemets.handlers.mlflow.run_description import bundle_name
from bonemets.handlers.mlflow.scan_overlays import ScanOverlays
from bonemets.handlers.mlflow.tracking import MLflowTracking

# Settings of an inference that may name a patient: where its scans and masks are, and which files.
PLACES = ("bundle_root", "ckpt_path", "datalist", "dataset_dir", "output_dir", "pattern", "tracking_uri")


class InferenceTracking(MLflowTracking):
    """Track an inference: configuration, weights, number of scans, seconds a scan, and pictures of the first ones.

    Paths are left out of the configuration, and pictures are numbered: nothing here says who the patients are. The
    pictures themselves are of the patients, though; without `overlays` there are none.

    Args:
        tracking_uri: MLflow store: ``sqlite:///…`` or the address of a server.
        experiment_name: experiment that the run belongs to, made if it does not exist.
        run_name: name of the run.
        config: the running configuration.
        weights: the weights file, named by its SHA-256 as a tag.
        overlays: pictures of the first scans with the outlines that were found.
        parent_run: name of a run that this one nests under, made if it does not exist.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment_name: str,
        run_name: str,
        config: RunningConfig,
        weights: str | Path | None = None,
        overlays: ScanOverlays | None = None,
        parent_run: str | None = None,
    ) -> None:
        portable = dataclasses.replace(
            config, merged=_without_places(config.merged), settings=_without_places(config.settings)
        )
        super().__init__(
            tracking_uri,
            experiment_name,
            run_name,
            portable,
            overlays=overlays,
            weights=weights,
            parent_run=parent_run,
        )
        self.bundle = bundle_name(config)
        self._scans = 0
        self._started = 0.0

    def attach(self, engine: Workflow) -> None:
        """Attach to the evaluator that infers."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.measure)
        super().attach(engine)

    def epoch_started(self, engine: Workflow) -> None:
        """Begin to count and to measure time."""
        self._scans, self._started = 0, time.perf_counter()

    def iteration_completed(self, engine: Workflow) -> None:
        """Count the scans of a batch."""
        self._scans += len(engine.state.output)

    def measure(self, engine: Workflow) -> None:
        """Hand number and duration to the metrics; reading the scans and writing the masks is part of it."""
        seconds = time.perf_counter() - self._started
        engine.state.metrics |= {"scans": self._scans, "seconds_per_scan": seconds / max(self._scans, 1)}

    def tags(self) -> dict[str, str]:
        """What the run table can be searched by."""
        return {**super().tags(), "stage": "inference", "section": "none"}


def _without_places(overrides: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in overrides.items() if name not in PLACES}
