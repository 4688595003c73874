"""The tables, figure and page of a sweep."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

import bonemets
from bonemets.data.files import write_bytes
from bonemets.metrics.comparison import PairedTest
from bonemets.metrics.evaluation import csv_bytes
from bonemets.metrics.sweeps import (
    PATIENT_COLUMNS,
    Spread,
    compare_models,
    mean_over_trials,
    patient_mean,
    read_patients,
    spread,
)
from bonemets.reporting.display import data_uri
from bonemets.reporting.evaluation_figures import BLUE, VERMILLION, new_figure
from bonemets.reporting.figures import figure_png
from bonemets.reporting.pages import render_page

if TYPE_CHECKING:
    from bonemets.engines.sweep_spec import Sweep

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
    by_model = {model: [r for r in results if r["trial"]["model"] == model] for model in sweep.models}
    by_model = {model: found for model, found in by_model.items() if found}
    names = {id(result): trial_folder(result) for result in results}
    tables = {
        model: mean_over_trials(
            [read_patients(output / "trials" / names[id(r)] / "evaluation" / "patients.csv") for r in found]
        )
        for model, found in by_model.items()
    }
    metrics = list(results[0]["metrics"])
    spreads = {
        model: {metric: spread([r["metrics"].get(metric) for r in found]) for metric in metrics}
        for model, found in by_model.items()
    }
    comparisons = compare_models(tables) if len(tables) > 1 else {}
    document = {
        "format": 1,
        "name": sweep.name,
        "description": sweep.description,
        "specification": sweep.source,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "bonemets": bonemets.__version__,
        "trials": {"planned": len(sweep.trials), "finished": len(results), "failed": dict(failures)},
        "models": {
            model: {
                "trials": len(by_model[model]),
                "training_seconds": sum(r["training_seconds"] for r in by_model[model]),
                "metrics": {
                    metric: {"mean": _number(s.mean), "sd": _number(s.sd), "trials": s.trials}
                    for metric, s in spreads[model].items()
                },
                "patients": {
                    column: {key: _number(value) for key, value in vars(patient_mean(tables[model], column)).items()}
                    for column in PATIENT_COLUMNS
                },
            }
            for model in by_model
        },
        "comparisons": {model: [_test_row(test) for test in tests] for model, tests in comparisons.items()},
    }
    write_bytes(output / "trials.csv", csv_bytes([_trial_row(result) for result in results]))
    model_rows = [
        {"model": model, "metric": metric, "trials": s.trials, "mean": s.mean, "sd": s.sd}
        for model, found in spreads.items()
        for metric, s in found.items()
    ]
    write_bytes(output / "models.csv", csv_bytes(model_rows))
    if comparisons:
        rows = [{"model": model, **_test_row(test)} for model, tests in comparisons.items() for test in tests]
        write_bytes(output / "comparisons.csv", csv_bytes(rows))
    write_bytes(output / "sweep.json", (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
    page = render_page(
        "sweep.html.j2",
        document=document,
        columns=COLUMNS,
        rows=[
            (model, len(by_model[model]), [_cell(spreads[model].get(key)) for key, _, _ in COLUMNS])
            for model in by_model
        ],
        comparisons=[
            (model, COMPARED_NAMES[test.metric], test)
            for model, tests in comparisons.items()
            for test in tests
            if test.patients
        ],
        reference=next(iter(by_model)),
        figure=data_uri(figure_png(sweep_figure(by_model, tables))),
        results=results,
        names=[names[id(result)] for result in results],
        simulated=all(_is_simulated(output, names[id(result)]) for result in results),
    )
    write_bytes(output / "index.html", page.encode("utf-8"))
    return document


def trial_folder(result: Mapping[str, Any]) -> str:
    """Name of the folder of a trial, from its result."""
    trial = result["trial"]
    return f"{trial['model']}-fold{trial['fold']}-seed{trial['seed']}"


def sweep_figure(by_model: Mapping[str, Sequence[Mapping[str, Any]]], tables: Mapping[str, Any]) -> Figure:
    """A dot per trial, and per model the mean over patients with its 95 % interval, for Dice and sensitivity."""
    figure, panels = new_figure(9.6, 1.3 + 0.42 * len(by_model), panels=2)
    titles = (("dice_per_image_bearing", "lesion Dice"), ("sensitivity_iou10", "lesion sensitivity, IoU ≥ 0.1"))
    for axes, (metric, title) in zip(panels, titles, strict=True):
        for row, (model, found) in enumerate(by_model.items()):
            values = [r["metrics"][metric] for r in found if r["metrics"].get(metric) is not None]
            axes.plot(values, [row] * len(values), "o", color=BLUE, alpha=0.55, markersize=5, markeredgewidth=0)
            mean = patient_mean(tables[model], metric)
            if mean.patients:
                axes.plot([mean.low, mean.high], [row + 0.22] * 2, color=VERMILLION, linewidth=2)
                axes.plot([mean.mean], [row + 0.22], "D", color=VERMILLION, markersize=4.5)
        axes.set(xlabel=title, ylim=(len(by_model) - 0.4, -0.6))
        axes.set_yticks(range(len(by_model)), list(by_model) if axes is panels[0] else [""] * len(by_model))
        axes.plot([], [], "o", color=BLUE, alpha=0.55, label="one trial, all images")
        axes.plot([], [], "D-", color=VERMILLION, label="mean over patients, 95 % interval")
    panels[1].legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=2)
    return figure


def _trial_row(result: Mapping[str, Any]) -> dict[str, Any]:
    trial = result["trial"]
    row = {"trial": trial_folder(result), **{key: trial[key] for key in ("model", "bundle", "fold", "seed", "section")}}
    metrics = {key: float("nan") if value is None else value for key, value in result["metrics"].items()}
    return {**row, "training_seconds": result["training_seconds"], **metrics}


def _test_row(test: PairedTest) -> dict[str, Any]:
    return {key: _number(value) if isinstance(value, float) else value for key, value in vars(test).items()}


def _cell(found: Spread | None) -> str:
    if found is None or not math.isfinite(found.mean):
        return "–"
    return f"{found.mean:.3f}" + (f" ± {found.sd:.3f}" if math.isfinite(found.sd) else "")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _is_simulated(output: Path, name: str) -> bool:
    summary = json.loads((output / "trials" / name / "evaluation" / "summary.json").read_text("utf-8"))
    return bool(summary["data"]["simulated"])
