"""One line per epoch, with the time that is left."""

from __future__ import annotations

import logging
import math
import time

from ignite.engine import Events
from monai.engines import Evaluator, Workflow

logger = logging.getLogger(__name__)


class EpochLog:
    """Log one line per epoch: metrics of training and validation, seconds, and the time that is left.

    Attached to the evaluator it remembers what validation found; attached to the trainer, after validation, it
    writes the line.
    """

    def __init__(self) -> None:
        self._validation: dict[str, float] = {}
        self._first_epoch = 0
        self._started = 0.0

    def attach(self, engine: Workflow) -> None:
        """Attach to a trainer or to its evaluator."""
        if isinstance(engine, Evaluator):
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.validated)
        else:
            engine.add_event_handler(Events.STARTED, self.started)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def validated(self, engine: Workflow) -> None:
        """Remember the metrics of a validation."""
        self._validation = dict(engine.state.metrics)

    def started(self, engine: Workflow) -> None:
        """Begin to measure time; a resumed run begins at a later epoch."""
        self._first_epoch = engine.state.epoch
        self._started = time.monotonic()

    def epoch_completed(self, engine: Workflow) -> None:
        """Write the line."""
        metrics = {**engine.state.metrics, **self._validation}
        self._validation = {}
        text = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items() if not math.isnan(value))
        epoch, epochs = engine.state.epoch, engine.state.max_epochs
        seconds = (time.monotonic() - self._started) / max(epoch - self._first_epoch, 1)
        left = seconds * (epochs - epoch)
        time_left = f"{left // 60:.0f} min {left % 60:02.0f} s"
        logger.info("epoch %d/%d  %s  (%.1f s an epoch, %s left)", epoch, epochs, text, seconds, time_left)
