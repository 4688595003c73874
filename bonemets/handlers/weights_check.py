"""Refuse weights that were damaged, and what they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Evaluator
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys

from bonemets.bundle.loading import not_finite
from bonemets.bundle.weights import check_sha256
from bonemets.errors import InputError
from bonemets.handlers.training_state import unwrapped


class WeightsCheck:
    """Compare weights with the record beside them before they are loaded, and check that they compute numbers.

    Declared before MONAI's ``CheckpointLoader``, which reads whatever PyTorch can: with one bit flipped in each of 200
    bytes of ``model.pt`` a network found nothing, and no error told so.

    Args:
        path: the weights file; one that is missing is left to the loader.
        network: the network that they are loaded into.
    """

    def __init__(self, path: str | Path, network: torch.nn.Module) -> None:
        self.path = Path(path)
        self.network = network

    def attach(self, engine: Evaluator) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.STARTED, self.started)
        engine.add_event_handler(Events.EPOCH_STARTED, self.loaded)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self.computed)

    def started(self, engine: Evaluator) -> None:
        """Compare the file's SHA-256.

        Raises:
            InputError: if it is not the one in the .json file beside it.
        """
        if self.path.is_file():
            check_sha256(self.path)

    def loaded(self, engine: Evaluator) -> None:
        """Check the network's weights.

        Raises:
            InputError: if they are not finite.
        """
        if (name := not_finite(unwrapped(self.network).state_dict())) is not None:
            raise InputError(f"{self.path}: {name} has values that are not finite numbers; use other weights")

    def computed(self, engine: Evaluator) -> None:
        """Check the network's outputs, which can overflow where all weights are finite.

        Raises:
            InputError: if they are not finite.
        """
        outputs: Any = engine.state.output[CommonKeys.PRED]
        for output in [outputs] if isinstance(outputs, torch.Tensor) else outputs:
            if not torch.isfinite(output).all():
                raise InputError(f"{self.path}: the network computes values that are not finite; use other weights")
