"""The tables, figure and page of a sweep, and the summary of it that results/ keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

import bonemets
from bonemets.data.files import write_bytes
from bonemets.data.tables import csv_bytes
from bonemets.metrics.comparison.comparison import PairedTest
from bonemets.metrics.comparison.sweeps import (
    PATIENT_COLUMNS,
    PatientTable,
    Spread,
    compare_models,
    mean_over_trials,
    patient_mean,
    spread,
)
from bonemets.reporting.display import data_uri
from bonemets.reporting.evaluation.figures import BLUE, VERMILLION, new_figure
from bonemets.reporting.figures import figure_png
from bonemets.reporting.pages import render_page
from bonemets.sweep.measurements import Measurement, measurements, trial_folder

if TYPE_CHECKING:
    from bonemets.sweep.spec import Sweep

MODEL_COLUMNS = ("model", "metric", "measurements", "mean", "sd")
# Metric, heading, and what it is: the columns of the page.
COLUMNS = (
    ("dice_per_image_bearing", "Dice", "mean per lesion-bearing image"),
    ("dice_pooled", "Dice, pooled", "all pixels together"),
    ("sensitivity_iou10", "Sensitivity", "lesions, IoU ≥ 0.1"),
    ("false_positives_per_scan_iou10", "False positives", "per scan, IoU ≥ 0.1"),
    ("froc_sensitivity_at_1", "FROC", "sensitivity at 1 false positive per scan"),
    ("patient_auc", "AUC", "any lesion, per patient"),
)
COMPARED_NAMES = {
    "dice_per_image_bearing": "Dice",
    "sensitivity_iou10": "sensitivity",
    "false_positives_iou10": "false positives of a patient",
}


@dataclass(frozen=True)
class SweepTables:
    """What a sweep's tables say, models in the specification's order.

    Args:
        by_model: model → its measurements.
        patients: model → each patient's mean over the measurements.
        spreads: model → metric → mean and spread over the measurements.
        comparisons: model → tests against the first model.
    """

    by_model: dict[str, list[Measurement]]
    patients: dict[str, PatientTable]
    spreads: dict[str, dict[str, Spread]]
    comparisons: dict[str, list[PairedTest]]


def sweep_tables(output: Path, sweep: Sweep, results: Sequence[Mapping[str, Any]]) -> SweepTables:
    """Put the finished trials of a sweep into tables.

    Args:
        output: the sweep's folder, with the trials' evaluations.
        sweep: what was run.
        results: ``result.json`` of each finished trial.
    """
    found = measurements(output, results, sweep.folds)
    by_model = {model: found[model] for model in sweep.models if model in found}
    patients = {model: mean_over_trials([one.patients for one in many]) for model, many in by_model.items()}
    spreads = {
        model: {metric: spread([one.value(metric) for one in many]) for metric in many[0].estimates}
        for model, many in by_model.items()
    }
    return SweepTables(by_model, patients, spreads, compare_models(patients) if len(patients) > 1 else {})


def write_sweep(
    output: Path, sweep: Sweep, results: Sequence[Mapping[str, Any]], failures: Mapping[str, str]
) -> dict[str, Any]:
    """Write trials.csv, models.csv, comparisons.csv, sweep.json and index.html, each whole or not at all.

    Args:
        output: the sweep's folder, with the trials' evaluations.
        sweep: what was run.
        results: ``result.json`` of each finished trial.
        failures: trial → message of those that failed.

    Returns:
        What ``sweep.json`` holds.
    """
    tables = sweep_tables(output, sweep, results)
    names = [trial_folder(result) for result in results]
    document = {
        "format": 1,
        "name": sweep.name,
        "description": sweep.description,
        "specification": sweep.source,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "bonemets": bonemets.__version__,
        "trials": {"planned": len(sweep.trials), "finished": len(results), "failed": dict(failures)},
        "models": {
            model: {
                "measurements": len(many),
                "trainings": sum(len(one.results) for one in many),
                "training_seconds": sum(r["training_seconds"] for one in many for r in one.results),
                "metrics": {
                    metric: {"mean": _number(s.mean), "sd": _number(s.sd), "measurements": s.trials}
                    for metric, s in tables.spreads[model].items()
                },
                "patients": {
                    column: {
                        key: _number(value) for key, value in vars(patient_mean(tables.patients[model], column)).items()
                    }
                    for column in PATIENT_COLUMNS
                },
            }
            for model, many in tables.by_model.items()
        },
        "comparisons": {model: [_test_row(test) for test in tests] for model, tests in tables.comparisons.items()},
    }
    write_bytes(output / "trials.csv", csv_bytes([_trial_row(result) for result in results]))
    model_rows = [
        {"model": model, "metric": metric, "measurements": s.trials, "mean": s.mean, "sd": s.sd}
        for model, found in tables.spreads.items()
        for metric, s in found.items()
    ]
    write_bytes(output / "models.csv", csv_bytes(model_rows, MODEL_COLUMNS))
    if tables.comparisons:
        write_bytes(output / "comparisons.csv", csv_bytes(comparison_rows(tables)))
    write_bytes(output / "sweep.json", (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
    page = render_page(
        "sweep.html.j2",
        document=document,
        columns=COLUMNS,
        rows=[
            (model, len(many), [cell(tables.spreads[model].get(key)) for key, _, _ in COLUMNS])
            for model, many in tables.by_model.items()
        ],
        comparisons=[
            (model, COMPARED_NAMES[test.metric], test)
            for model, tests in tables.comparisons.items()
            for test in tests
            if test.patients
        ],
        reference=next(iter(tables.by_model), None),
        figure=data_uri(figure_png(sweep_figure(tables))) if tables.by_model else None,
        pooled=sweep.is_pooled,
        results=results,
        names=names,
        simulated=bool(tables.by_model)
        and all(one.data["simulated"] for many in tables.by_model.values() for one in many),
    )
    write_bytes(output / "index.html", page.encode("utf-8"))
    return document


def comparison_rows(tables: SweepTables) -> list[dict[str, Any]]:
    """One row per test of ``comparisons.csv``."""
    return [{"model": model, **_test_row(test)} for model, tests in tables.comparisons.items() for test in tests]


def sweep_figure(tables: SweepTables) -> Figure:
    """A dot per measurement, and per model the mean over patients with its 95 % interval, for Dice and sensitivity."""
    by_model = tables.by_model
    figure, panels = new_figure(9.6, 1.3 + 0.42 * len(by_model), panels=2)
    titles = (("dice_per_image_bearing", "lesion Dice"), ("sensitivity_iou10", "lesion sensitivity, IoU ≥ 0.1"))
    for axes, (metric, title) in zip(panels, titles, strict=True):
        for row, (model, found) in enumerate(by_model.items()):
            values = [value for one in found if (value := one.value(metric)) is not None]
            axes.plot(values, [row] * len(values), "o", color=BLUE, alpha=0.55, markersize=5, markeredgewidth=0)
            mean = patient_mean(tables.patients[model], metric)
            if mean.patients:
                axes.plot([mean.low, mean.high], [row + 0.22] * 2, color=VERMILLION, linewidth=2)
                axes.plot([mean.mean], [row + 0.22], "D", color=VERMILLION, markersize=4.5)
        axes.set(xlabel=title, ylim=(len(by_model) - 0.4, -0.6))
        axes.set_yticks(range(len(by_model)), list(by_model) if axes is panels[0] else [""] * len(by_model))
    panels[0].plot([], [], "o", color=BLUE, alpha=0.55, label="one measurement, all images")
    panels[0].plot([], [], "D-", color=VERMILLION, label="mean over patients, 95 % interval")
    figure.legend(frameon=False, fontsize=8, loc="outside lower center", ncols=2)
    return figure


def _trial_row(result: Mapping[str, Any]) -> dict[str, Any]:
    trial = result["trial"]
    row = {"trial": trial_folder(result), **{key: trial[key] for key in ("model", "bundle", "fold", "seed", "section")}}
    metrics = {key: float("nan") if value is None else value for key, value in result["metrics"].items()}
    return {**row, "training_seconds": result["training_seconds"], **metrics}


def _test_row(test: PairedTest) -> dict[str, Any]:
    return {key: _number(value) if isinstance(value, float) else value for key, value in vars(test).items()}


def cell(found: Spread | None) -> str:
    """Mean ± standard deviation; a dash where the metric is undefined."""
    if found is None or not math.isfinite(found.mean):
        return "–"
    return f"{found.mean:.3f}" + (f" ± {found.sd:.3f}" if math.isfinite(found.sd) else "")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
