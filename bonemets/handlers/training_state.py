"""Checkpoints from which a run continues exactly."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch.nn.parallel import DistributedDataParallel

from bonemets.bundle.loading import not_finite
from bonemets.data.files import hold_folder, let_go
from bonemets.errors import InputError

logger = logging.getLogger(__name__)


def unwrapped(module: Any) -> Any:
    """The network inside ``DistributedDataParallel``, so that its weights fit with and without it."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def save_whole(content: Any, path: Path | str) -> None:
    """``torch.save`` under a temporary name beside the file, then rename: never half-written, even if killed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        torch.save(content, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class TrainingState:
    """Save what a run needs to continue after every epoch, and continue from it when asked.

    The checkpoint has the state dicts of everything in `objects`, the gradient scaler of mixed precision and the
    number of epochs done; random state is not in it (`EpochSeed`). A run interrupted within an epoch repeats it.
    Weights that are not finite are never saved, and never gone on from.

    Args:
        path: the checkpoint file, replaced after every `interval` epochs and after the last.
        objects: name to object with ``state_dict`` and ``load_state_dict``: network, optimizer, scheduler, ….
        resume: whether to continue from the file. Without such a file the run starts at the beginning, so that the
            same command can be given again and again.
        interval: epochs between checkpoints.
        save: whether to write; False in all processes of a distributed run but one.
        folders: folders beside the checkpoint's that the training writes into, such as that of the best weights. No
            other process can train into any of them meanwhile.
    """

    def __init__(
        self,
        path: str | Path,
        objects: Mapping[str, Any],
        resume: bool = False,
        interval: int = 1,
        save: bool = True,
        folders: Sequence[str | Path] = (),
    ) -> None:
        if interval < 1:
            raise ValueError(f"interval must be at least 1 epoch, got {interval}")
        self.path = Path(path)
        self.objects = dict(objects)
        self.resume = resume
        self.interval = interval
        self.save = save
        self.folders = [self.path.parent, *map(Path, folders)]

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, before the handlers whose state is restored."""
        engine.add_event_handler(Events.STARTED, self.start)

    def start(self, engine: Engine) -> None:
        """Restore the state if asked, and have it saved from now on.

        Saving is registered here and not in `attach` to come after every other handler of the epoch's end, such as
        validation and the scheduler, whose outcome belongs in the checkpoint.

        Raises:
            InputError: if another process trains into the same folders, or the checkpoint cannot be used.
        """
        if self.save:
            for folder in self.folders:
                hold_folder(folder)
        if self.resume and self.path.is_file():
            self.load(engine)
        elif self.resume:
            logger.info("no checkpoint to resume from, starting at epoch 1")
        if self.save and not engine.has_event_handler(self.epoch_completed):
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)
            engine.add_event_handler(Events.COMPLETED, self.completed)

    def completed(self, engine: Engine) -> None:
        """Let others train into the folders."""
        for folder in self.folders:
            let_go(folder)

    def load(self, engine: Engine) -> None:
        """Load the checkpoint into the objects and the engine.

        Raises:
            InputError: if it cannot be read, belongs to something else, or has weights that are not finite.
        """
        try:
            checkpoint = torch.load(self.path, map_location="cpu", weights_only=True)
            for name, item in self.objects.items():
                unwrapped(item).load_state_dict(checkpoint[name])
            epoch = int(checkpoint["epoch"])
        except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
            # PyTorch lists every tensor that does not fit.
            first = str(error).strip().partition("\n")[0].rstrip(":")
            raise InputError(
                f"{self.path}: cannot resume from it ({first}); give resume=false or another output_dir"
            ) from error
        if (part := self._not_finite()) is not None:
            raise InputError(
                f"{self.path}: {part} has values that are not finite numbers; give resume=false to begin again"
            )
        scaler = getattr(engine, "scaler", None)
        if scaler is not None and checkpoint["scaler"]:
            scaler.load_state_dict(checkpoint["scaler"])
        engine.state.epoch = epoch
        engine.state.iteration = epoch * (engine.state.epoch_length or 0)
        logger.info("resumed after epoch %d", epoch)

    def epoch_completed(self, engine: Engine) -> None:
        """Save the checkpoint if it is time.

        Raises:
            InputError: if there are weights that are not finite; the last checkpoint stays.
        """
        if engine.state.epoch % self.interval and engine.state.epoch != engine.state.max_epochs:
            return
        if (name := self._not_finite()) is not None:
            raise InputError(
                f"epoch {engine.state.epoch}: {name} has values that are not finite numbers; {self.path} is not "
                "written; lower the learning rate, then go on with resume=true"
            )
        scaler = getattr(engine, "scaler", None)
        checkpoint = {name: unwrapped(item).state_dict() for name, item in self.objects.items()}
        checkpoint["scaler"] = None if scaler is None else scaler.state_dict()
        checkpoint["epoch"] = engine.state.epoch
        save_whole(checkpoint, self.path)

    def _not_finite(self) -> str | None:
        """The first of the networks' weights with a NaN or an infinity in it."""
        for name, item in self.objects.items():
            if isinstance(item, torch.nn.Module) and (found := not_finite(unwrapped(item).state_dict())) is not None:
                return f"{name}.{found}"
        return None
