"""Stop when validation has not improved for a while."""

from __future__ import annotations

import logging

from ignite.engine import Engine, Events

from bonemets.handlers.best_model import BestModel

logger = logging.getLogger(__name__)


class EarlyStop:
    """Stop the trainer when the best validation lies too many epochs back.

    MONAI's ``EarlyStopHandler`` is attached to the evaluator and needs the trainer, which needs the evaluator: a
    circle that a configuration cannot express, and it forgets its count when a run is resumed. This one is attached to
    the trainer and asks `BestModel`, whose state is in the checkpoint.

    Args:
        best_model: knows the epoch of the best validation.
        patience: epochs without a better validation after which training stops.
    """

    def __init__(self, best_model: BestModel, patience: int) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {patience}")
        self.best_model = best_model
        self.patience = patience

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after validation."""
        engine.add_event_handler(Events.STARTED | Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Stop if it is time; at the start too, so that a run that stopped early stays stopped when resumed."""
        if engine.state.epoch - self.best_model.epoch >= self.patience:
            logger.info("no better validation since epoch %d: stopping", self.best_model.epoch)
            engine.terminate()
