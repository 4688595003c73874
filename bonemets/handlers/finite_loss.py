"""End a training at the first loss that is no number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from monai.engines import Trainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys

from bonemets.errors import InputError


class FiniteLoss:
    """Raise at the first loss that is NaN or infinite, before the weights are stepped with it.

    Ignite's ``TerminateOnNan`` ends a run as if it were done: weights and checkpoint of the epoch would be saved, and
    the tracked run would be FINISHED. An exception leaves those of the last epoch and makes the run FAILED.

    Only the loss is looked at. Gradients that overflow in mixed precision are not a NaN of the training: its gradient
    scaler skips such a step, and lowers its scale.
    """

    def attach(self, engine: Trainer) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self)

    def __call__(self, engine: Trainer) -> None:
        """Look at the loss.

        Raises:
            InputError: if it is not finite; names epoch, batch and the images' files, without folders.
        """
        loss: torch.Tensor = engine.state.output[CommonKeys.LOSS]
        if torch.isfinite(loss).all():
            return
        length = engine.state.epoch_length or engine.state.iteration
        batch = (engine.state.iteration - 1) % length + 1
        names = ", ".join(_image_names(engine.state.batch)) or "without names"
        raise InputError(
            f"the loss is {loss.mean().item()} in epoch {engine.state.epoch}, batch {batch} of {length} (images: "
            f"{names}); look at these images and labels, or lower the learning rate, then go on with resume=true"
        )


def _image_names(batch: Any) -> list[str]:
    """The names of the files of a batch's images, each once; none where the images do not know."""
    images = batch.get(CommonKeys.IMAGE) if isinstance(batch, dict) else None
    files = getattr(images, "meta", {}).get("filename_or_obj", [])
    return [Path(str(file)).name for file in dict.fromkeys([files] if isinstance(files, str) else files)]
