"""docs/reference/convergence.md: had the shipped weights converged? And a how-to's table of thresholds.

Both are written by ``make_tables.py`` from ``results/thresholds/``, which ``measure_thresholds.py`` measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bonemets.errors import InputError
from results_tables import DASH
from results_tables import table as markdown

RISE = 0.02
"""A gain that counts."""
LOOK = 3600
"""Batches that a training must go on for before finding no gain says anything."""
SHOWN = (0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
FALSE, FOUND = "false_positives_per_scan_iou10", "sensitivity_iou10"
NOTICE = "<!-- Written by scripts/make_tables.py from results/thresholds/; change the records, not this file. -->"
INTRODUCTION = f"""\
Each training after the first goes on from the weights that the table names, with the learning rate started anew.
Weights **had converged** if in no line that goes on from them, at once or by way of others, Dice or the mean of lesion
recall is higher by {RISE:g} or more, and one of the trainings that go on at once had {LOOK} batches at least (eight
crops or pictures each). The rule was set before the trainings; their specifications in `results/sweeps/` say it, and
what was made exact later. Three things came later and hold for all here. The number of batches: 1200 had raised
nothing of dual pooling's, and 3600 did; CT's trainings, of 6320, had been measured by then. The mean: until
`dual_pooling_280.yaml` each recall was asked alone. And what trainings led to by way of others: the 3600 batches after
dual pooling's 160 epochs raised nothing, the 3600 after those did. So of weights that had converged a yet longer
training may find more.

All is measured on the fold that epochs (and the CT's threshold) were chosen on, so that testing patients decide
nothing; for the same reason the numbers are a little too good, and [measured sweeps](measured-sweeps.md) has those of
testing patients. *Batches*: of this training alone, all its epochs. *Dice*: of all pixels together, at a threshold of
0.5. *Recall*: lesions that are found (IoU of 0.1 or more; of CT once in each slice) at so many false positives a
patient, between neighboring thresholds by a straight line; where even the lowest threshold marks fewer, all that is
found there, and – where every one marks more. *Mean*: of these. One training each: that another seed would be as good
is not said."""


def read_thresholds(folder: Path) -> dict[str, dict[str, Any]]:
    """Bundle → its record, of every file in a folder.

    Raises:
        InputError: a record lacks what the tables need.
    """
    records = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted(folder.glob("*.yaml"))}
    for name, record in records.items():
        if missing := {"data", "part", "patients", "images", "compared_at", "weights"} - set(record):
            raise InputError(f"{folder / name}.yaml: lacks {', '.join(sorted(missing))}; run measure_thresholds.py")
    return records


def recall_at(measured: Mapping[str, Any], false_positives: float) -> float:
    """Lesions found at so many false positives a patient.

    Args:
        measured: weights of a record, with what was counted at each threshold in ``at``.
        false_positives: false positives a patient.

    Returns:
        Recall, 0 to 1, on a straight line between the neighboring thresholds. If no threshold marks so many, that of
        the one that marks most; NaN if all mark more.
    """
    rows = sorted(measured["at"], key=lambda one: (one[FALSE], one[FOUND]))
    false, found = ([float(one[key]) for one in rows] for key in (FALSE, FOUND))
    return float("nan") if false_positives < false[0] else float(np.interp(false_positives, false, found))


def compared(measured: Mapping[str, Any], points: Sequence[float]) -> list[float]:
    """What the rule compares: Dice at a threshold of 0.5, then recall at each number of false positives."""
    half = next(one["dice_pooled"] for one in measured["at"] if one["threshold"] == 0.5)
    return [float(half), *(recall_at(measured, point) for point in points)]


def had_converged(before: Mapping[str, Any], after: Mapping[str, Any], points: Sequence[float]) -> bool:
    """Whether neither Dice nor mean recall rises by `RISE` or more. Recall that either lacks is left out of both."""
    rises = np.subtract(compared(after, points), compared(before, points))
    recall = rises[1:][np.isfinite(rises[1:])]
    # Rounded as the record is, so that a rise of exactly 0.02 is one.
    return bool(np.all(np.round([rises[0], *([recall.mean()] if recall.size else [])], 4) < RISE))


def length(measured: Mapping[str, Any], start: Mapping[str, Any] | None) -> int:
    """Batches of a whole training.

    Args:
        measured: its weights, of the epoch that was kept.
        start: the weights that it started from, None if from random ones.
    """
    seen = measured["batches_seen"] - (start["batches_seen"] if start else 0)
    return round(seen * measured["epochs"] / measured["epoch"])


def going_on(start: Mapping[str, Any], weights: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """All weights that a training from these led to, at once or by way of others."""
    found = []
    for one in weights:
        if one["start_weights_sha256"] == start["sha256"]:
            found += [one, *going_on(one, weights)]
    return found


def verdict(before: Mapping[str, Any], weights: Sequence[Mapping[str, Any]], points: Sequence[float]) -> str:
    """Had weights converged, by all of a record that went on from them?"""
    later = going_on(before, weights)
    if not later:
        return "not known, no training has gone on from there."
    if not all(had_converged(before, after, points) for after in later):
        return "had **not** converged."
    longest = max(length(after, before) for after in later if after["start_weights_sha256"] == before["sha256"])
    if longest < LOOK:
        return f"not known, {longest} batches more raise nothing but are too short a look."
    return f"had converged: {longest} batches more raise nothing."


def convergence_page(records: Mapping[str, Mapping[str, Any]], shipped: Mapping[str, str]) -> str:
    """The page.

    Args:
        records: bundle → its record.
        shipped: bundle → SHA-256 of the weights that it ships.
    """
    lines = ["# Had the weights converged?", "", NOTICE, "", *INTRODUCTION.splitlines(), ""]
    if not records:
        lines += ["Nothing is measured yet.", ""]
    for bundle, record in records.items():
        lines += _bundle(bundle, record, shipped[bundle])
    return "\n".join(lines)


def _bundle(bundle: str, record: Mapping[str, Any], shipped: str) -> list[str]:
    points, weights = record["compared_at"], record["weights"]
    names = {one["sha256"]: name for name, one in weights.items()}
    rows, verdicts = [], []
    for name, one in weights.items():
        start = names.get(one["start_weights_sha256"])
        dice, *recall = compared(one, points)
        values = [dice, *recall, *([float(np.mean(recall))] if recall else [])]
        rows.append([
            f"**{name}, shipped**" if one["sha256"] == shipped else name,
            f"`{one['sha256'][:12]}`",
            start or DASH,
            f"{length(one, weights[start] if start else None)}",
            *(f"{value:.3f}" if np.isfinite(value) else DASH for value in values),
        ])  # fmt: skip
        verdicts.append(f"- {name}: {verdict(one, list(weights.values()), points)}")
    header = ["weights", "sha256", "go on from", "batches", "Dice", *(f"recall at {point:g}" for point in points)]
    header += ["mean"] if points else []
    return [
        f"## {bundle}", "",
        f"{record['data']}; {record['part']}: {record['patients']} patients, {record['images']} images. "
        f"All thresholds: [record](../../results/thresholds/{bundle}.yaml).", "",
        *markdown(header, rows), "",
        *verdicts, "",
        f"![Lesions found against false positives, and Dice against the threshold](images/thresholds_{bundle}.png)", "",
    ]  # fmt: skip


def thresholds_table(record: Mapping[str, Any], shipped: str) -> list[str]:
    """What the shipped weights find and mark wrongly at some thresholds. Bold: the highest F1.

    Raises:
        InputError: the record is of other weights.
    """
    found_weights = [item for item in record["weights"].items() if item[1]["sha256"] == shipped]
    if not found_weights:
        raise InputError(f"the shipped weights {shipped[:12]} are not in results/thresholds; run measure_thresholds.py")
    name, measured = found_weights[0]
    best = max(one["f1_iou10"] for one in measured["at"])
    lines = [
        f"| threshold ({name}) | lesions found | false marks a patient | F1 of lesions | Dice of pixels |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in measured["at"]:
        if one["threshold"] in SHOWN:
            found, false, agree, overlap = (one[key] for key in (FOUND, FALSE, "f1_iou10", "dice_pooled"))
            threshold = f"{one['threshold']:g}" if agree < best else f"**{one['threshold']:g}**"
            lines.append(f"| {threshold} | {found:.0%} | {false:.1f} | {agree:.2f} | {overlap:.2f} |")
    return lines
