"""A piece of make_tables.py: a how-to's table of decision thresholds, from ``results/thresholds/``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bonemets.errors import InputError

SHOWN = (0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
FALSE, FOUND = "false_positives_per_scan_iou10", "sensitivity_iou10"


def read_thresholds(folder: Path) -> dict[str, dict[str, Any]]:
    """Bundle → its record, of every file in a folder.

    Raises:
        InputError: a record lacks what the tables need.
    """
    records = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted(folder.glob("*.yaml"))}
    for name, record in records.items():
        if missing := {"data", "part", "patients", "images", "weights"} - set(record):
            raise InputError(f"{folder / name}.yaml: lacks {', '.join(sorted(missing))}; run measure_thresholds.py")
    return records


def thresholds_table(record: Mapping[str, Any], shipped: str) -> list[str]:
    """Sensitivity and false positives of the shipped weights at some thresholds. Bold: the highest F1.

    Raises:
        InputError: the record is of other weights.
    """
    found_weights = [item for item in record["weights"].items() if item[1]["sha256"] == shipped]
    if not found_weights:
        raise InputError(f"the shipped weights {shipped[:12]} are not in results/thresholds; run measure_thresholds.py")
    name, measured = found_weights[0]
    best = max(one["f1_iou10"] for one in measured["at"])
    lines = [
        f"| threshold ({name}) | sensitivity | false positives per scan | F1 of lesions | Dice of pixels |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in measured["at"]:
        if one["threshold"] in SHOWN:
            found, false, agree, overlap = (one[key] for key in (FOUND, FALSE, "f1_iou10", "dice_pooled"))
            threshold = f"{one['threshold']:g}" if agree < best else f"**{one['threshold']:g}**"
            lines.append(f"| {threshold} | {found:.0%} | {false:.1f} | {agree:.2f} | {overlap:.2f} |")
    return lines
