"""Randomness that depends on the epoch alone, so that a resumed run is the same run."""

from __future__ import annotations

import numpy as np
from ignite.engine import Engine, Events
from monai.data import set_rnd
from monai.utils import set_determinism


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """A seed for one epoch of one process, unrelated to those of the other epochs and processes."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


class EpochSeed:
    """Seed everything at the start of each epoch, as a function of (seed, epoch, rank).

    An epoch then starts from the same random state whether the run came to it without a break or from a checkpoint,
    and no random state has to be saved: PyTorch, NumPy, Python, the shuffling of the data loader, its workers and the
    random transforms all follow. Attach it before anything that draws random numbers.

    Args:
        seed: seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed the epoch that starts."""
        seed = epoch_seed(self.seed, engine.state.epoch, getattr(engine.state, "rank", 0))
        set_determinism(seed=seed)
        # Workers are seeded by the loader from PyTorch's generator; without workers the transforms live here.
        set_rnd(engine.data_loader.dataset, seed)  # type: ignore[attr-defined]
