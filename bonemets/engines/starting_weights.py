"""A training that begins with trained weights."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import torch

from bonemets.errors import InputError

logger = logging.getLogger(__name__)


def start_from(network: torch.nn.Module, weights: str | Path) -> None:
    """Load trained weights into a network before its training.

    Args:
        network: the network, of the kind and size that the weights are of.
        weights: file of a state dict, as trainings and bundles leave it.

    Raises:
        InputError: if there is no such file, it holds no weights, or they are of another network.
    """
    weights = Path(weights)
    if not weights.is_file():
        raise InputError(f"{weights}: no such file; set start_weights to weights of this bundle")
    try:
        # weights_only: a pickle from somewhere else must not run code here.
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, EOFError, LookupError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{weights} is not a weights file: it cannot be read as plain tensors") from error
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(
            f"{weights} does not fit {type(network).__name__}: keep the .json file that training wrote beside it, "
            "and give fine_tune.yaml last"
        ) from error
    logger.info(f"training goes on from {weights.name}")
