"""The small summary of a sweep that is kept beside the ledger: models, tests and the figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bonemets.data.files import write_bytes
from bonemets.data.tables import csv_bytes, read_csv
from bonemets.errors import InputError
from bonemets.metrics.comparison.sweeps import patient_mean
from bonemets.reporting.figures import figure_png
from bonemets.sweep.page import SweepTables, comparison_rows, sweep_figure

if TYPE_CHECKING:
    from bonemets.sweep.spec import Sweep

# Metric and heading, in the order of the columns.
SHOWN = (
    ("dice_per_image_bearing", "Dice, mean per lesion-bearing image"),
    ("dice_pooled", "Dice, pooled"),
    ("iou_per_image_bearing", "IoU, mean per lesion-bearing image"),
    ("sensitivity_iou10", "lesion sensitivity"),
    ("false_positives_per_scan_iou10", "false positives per scan"),
    ("froc_sensitivity_at_1", "sensitivity at 1 false positive per scan"),
    ("patient_auc", "any-lesion AUC"),
)
# Of these, the mean over patients has an interval.
INTERVALS = ("dice_per_image_bearing", "sensitivity_iou10")
ABOUT, MODELS, COMPARISONS, FIGURE = "sweep.yaml", "models.csv", "comparisons.csv", "figure.png"


@dataclass(frozen=True)
class SweepSummary:
    """A summary as it was read.

    Args:
        about: name, description, data, what was planned and what is finished.
        models: one row per model.
        comparisons: one row per test.
    """

    about: dict[str, Any]
    models: list[dict[str, str]]
    comparisons: list[dict[str, str]]


def write_summary(folder: Path, sweep: Sweep, tables: SweepTables, records: Mapping[str, str], finished: int) -> None:
    """Write the summary's four files, each whole or not at all.

    Args:
        folder: where.
        sweep: the specification.
        tables: what was measured.
        records: model → id of its record in the ledger.
        finished: how many of the trials are.
    """
    first = next(iter(tables.by_model.values()))[0]
    about = {
        "name": sweep.name,
        "description": sweep.description,
        "data": first.data["name"],
        "simulated": first.data["simulated"],
        "section": first.data["section"],
        "pooled": sweep.is_pooled,
        "split_sha256": first.data["datalist_sha256"],
        "patients": first.sizes["patients"],
        "images": first.sizes["images"],
        "trials": {"planned": len(sweep.trials), "finished": finished},
    }
    write_bytes(folder / ABOUT, yaml.safe_dump(about, sort_keys=False, allow_unicode=True, width=120).encode())
    rows = []
    for model, many in tables.by_model.items():
        seconds = sum(result["training_seconds"] for one in many for result in one.results)
        row: dict[str, Any] = {
            "model": model,
            "record": records[model],
            "measurements": len(many),
            "hours": round(seconds / 3600, 3),
        }
        for key, _ in SHOWN:
            found = tables.spreads[model].get(key)
            row |= {key: found.mean, f"{key} sd": found.sd} if found else {key: "", f"{key} sd": ""}
        for key in INTERVALS:
            mean = patient_mean(tables.patients[model], key)
            row |= {f"{key} patients": mean.mean, f"{key} low": mean.low, f"{key} high": mean.high}
        rows.append(row)
    write_bytes(folder / MODELS, csv_bytes(rows))
    if tables.comparisons:
        write_bytes(folder / COMPARISONS, csv_bytes(comparison_rows(tables)))
    else:
        (folder / COMPARISONS).unlink(missing_ok=True)
    write_bytes(folder / FIGURE, figure_png(sweep_figure(tables)))


def read_summaries(folder: Path) -> dict[str, SweepSummary]:
    """Name of the folder → summary of every sweep below ``results/sweeps``, in the order of their names.

    Raises:
        InputError: a summary cannot be read.
    """
    found = {}
    for path in sorted(folder.glob(f"*/{ABOUT}")):
        try:
            about = yaml.safe_load(path.read_text("utf-8"))
            models = read_csv(path.with_name(MODELS))
            tests = path.with_name(COMPARISONS)
            found[path.parent.name] = SweepSummary(about, models, read_csv(tests) if tests.is_file() else [])
        except (OSError, yaml.YAMLError, InputError) as error:
            raise InputError(f"{path.parent}: cannot be read; run scripts/results/record_sweep.py again") from error
    return found
