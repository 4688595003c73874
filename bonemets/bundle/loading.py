"""Weights into a network: for its use, and for a training that goes on from them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bonemets.bundle.folders import file_sha256
from bonemets.bundle.weights import check_sha256
from bonemets.errors import InputError

logger = logging.getLogger(__name__)


def load_weights(network: torch.nn.Module, weights: Path, advice: str, device: torch.device | str = "cpu") -> None:
    """Load a file of weights into a network without running code of the file.

    Args:
        network: the network.
        weights: file of a state dict, or of one under ``model``.
        advice: the network's name and what to do, said if the weights are of another one.
        device: where the file's tensors are put first.

    Raises:
        InputError: if it is not the file that the record beside it describes, holds no weights or such that are not
            finite, or they are of another network.
    """
    check_sha256(Path(weights))
    try:
        # weights_only: a pickle from somewhere else must not run code here.
        state = torch.load(weights, map_location=device, weights_only=True)
    except (OSError, EOFError, LookupError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{weights} is not a weights file: it cannot be read as plain tensors") from error
    state = state.get("model", state) if isinstance(state, dict) else state
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(f"{weights} does not fit {advice}") from error
    if (name := not_finite(network.state_dict())) is not None:
        raise InputError(f"{weights}: {name} has values that are not finite numbers; use other weights")


def not_finite(state: Mapping[str, Any]) -> str | None:
    """The name of the first tensor of a state dict with a NaN or an infinity in it; None if there is none."""
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and not torch.isfinite(value).all():
            return name
    return None


def weights_sha256(weights: str | Path) -> str:
    """The SHA-256 of weights that a training is to go on from, hexadecimal.

    Args:
        weights: the file.

    Raises:
        InputError: if there is no such file.
    """
    if not Path(weights).is_file():
        raise InputError(f"{weights}: no such file; set start_weights to weights of this bundle")
    return file_sha256(Path(weights))


def start_from(network: torch.nn.Module, weights: str | Path, sha256: str | None = None) -> None:
    """Load trained weights into a network before its training.

    Args:
        network: the network, of the kind and size that the weights are of.
        weights: file of a state dict, as trainings and bundles leave it.
        sha256: the file's, where no other weights will do; None allows any.

    Raises:
        InputError: if there is no such file, it is another one, it holds no weights, or they are of another network.
    """
    weights = Path(weights)
    if sha256 not in (None, found := weights_sha256(weights)):
        raise InputError(
            f"{weights}: its SHA-256 is {found}, not {sha256} (start_weights_sha256); set start_weights to those"
        )
    load_weights(
        network,
        weights,
        f"{type(network).__name__}: keep the .json file that training wrote beside it, and give fine_tune.yaml last",
    )
    logger.info(f"training goes on from {weights.name}")
