"""What is known of weights, in a few words: for the command line, the report and the model cards. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bonemets.bundle.folders import file_sha256, read_provenance
from bonemets.errors import InputError

SIMULATED_ONLY = "trained on simulated patients only"
# What a clone should not have to carry, and what GitHub and mail servers take without a question.
MAXIMUM_BYTES = 25_000_000


def trained_on_simulated(provenance: Mapping[str, Any]) -> bool:
    """Whether weights have seen simulated patients only, as the record of their training says.

    Args:
        provenance: what `bonemets.bundle.folders.read_provenance` returns.
    """
    datalist = provenance.get("datalist") or {}
    # Records that older versions wrote have the list's name alone; the simulator's begin so.
    by_name = str(datalist.get("name") or "").lower().startswith("simulated")
    return bool(datalist.get("simulated", by_name))


def describe_weights(weights: Path) -> str:
    """A line such as "sha256 a1b2c3d4e5f6, trained on simulated patients only (bone_scan_200), epoch 58 of 60".

    Raises:
        InputError: the file beside the weights cannot be read.
    """
    return ", ".join([f"sha256 {file_sha256(weights)[:12]}", *describe_training(read_provenance(weights))])


def describe_training(provenance: Mapping[str, Any]) -> list[str]:
    """What weights were trained on and for how long, in pieces; "training not recorded" where nothing is known."""
    if not provenance:
        return ["training not recorded"]
    datalist = provenance.get("datalist") or {}
    name = datalist.get("cohort") or datalist.get("name")
    pieces = []
    if trained_on_simulated(provenance):
        pieces.append(f"{SIMULATED_ONLY}{f' ({name})' if name else ''}")
    elif name:
        pieces.append(f"trained on {name}")
    epochs = provenance.get("settings", {}).get("epochs")
    if provenance.get("epoch"):
        pieces.append(f"epoch {provenance['epoch']}{f' of {epochs}' if epochs else ''}")
        if before := earlier_epochs(provenance):
            pieces[-1] += f" after {before} epochs of earlier trainings"
    return pieces


def earlier_epochs(provenance: Mapping[str, Any]) -> int:
    """Epochs of the trainings whose weights this one started from, in turn; 0 if it started from random weights."""
    start = provenance.get("started_from") or {}
    return int((start.get("training") or {}).get("epochs", 0)) + (earlier_epochs(start) if start else 0)


def shipped_record(bundle: Path) -> dict[str, Any] | None:
    """The record of the weights that a bundle ships; None if it ships none, or others were trained into its place.

    Raises:
        InputError: the record cannot be read, or the weights are not those that it describes.
    """
    weights = Path(bundle) / "models" / "model.pt"
    record = read_provenance(weights)
    if not weights.is_file() or "training" not in record:
        return None
    check_sha256(weights)
    return record


def check_sha256(weights: Path) -> None:
    """Refuse weights that are not those that the .json file beside them describes.

    One flipped bit in a weight can make a network find nothing, without any error. Records that have no SHA-256, as
    older versions wrote them, are not compared.

    Args:
        weights: ``model.pt``, with or without ``model.json`` beside it.

    Raises:
        InputError: the record cannot be read, or has another SHA-256 than the file.
    """
    recorded = read_provenance(weights).get("sha256")
    if recorded is not None and recorded != (found := file_sha256(weights)):
        raise InputError(
            f"{weights}: is not the file that {weights.with_suffix('.json').name} beside it describes (its SHA-256 is "
            f"{found[:12]}…, not {str(recorded)[:12]}…): it is damaged or was replaced; restore both files"
        )
