"""The page of an evaluation: what was measured on what, the key numbers, figures, and every number in tables."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import bonemets
from bonemets.data.files import write_bytes
from bonemets.data.tables import csv_bytes
from bonemets.metrics.evaluation import evaluation as tables
from bonemets.metrics.evaluation.evaluation import Evaluation
from bonemets.metrics.evaluation.measures import CRITERION_LABELS
from bonemets.reporting.display import data_uri
from bonemets.reporting.evaluation import figures
from bonemets.reporting.figures import figure_png
from bonemets.reporting.pages import render_page

GROUPS = {
    "pixel": "Pixels",
    "outline": "Outlines",
    "lesion": "Lesions",
    "patient": "Patients",
    "calibration": "Calibration",
}
KEY_NUMBERS = (
    ("dice_per_image_bearing", "Lesion Dice", "mean per lesion-bearing image"),
    ("dice_pooled", "Lesion Dice", "all pixels pooled"),
    ("sensitivity_iou10", "Lesion sensitivity", "IoU ≥ 0.1"),
    ("false_positives_per_scan_iou10", "False positives", "per scan, IoU ≥ 0.1"),
    ("froc_sensitivity_at_1", "FROC sensitivity", "at 1 false positive per scan"),
    ("panoptic_quality", "Panoptic quality", "IoU ≥ 0.5"),
    ("patient_auc", "Any-lesion AUC", "per patient"),
)
WORST = 10


def write_evaluation(output: Path, evaluation: Evaluation, document: Mapping[str, Any]) -> None:
    """Write the tables and the page of an evaluation, each whole or not at all.

    Args:
        output: the folder.
        evaluation: the evaluation.
        document: its `bonemets.metrics.evaluation.evaluation.summary`.
    """
    write_bytes(output / "images.csv", csv_bytes(tables.image_rows(evaluation)))
    write_bytes(output / "lesions.csv", csv_bytes(tables.lesion_rows(evaluation), tables.LESION_COLUMNS))
    write_bytes(output / "patients.csv", csv_bytes(tables.patient_rows(evaluation)))
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(output / "summary.json", text.encode("utf-8"))
    write_bytes(output / "index.html", render_evaluation(evaluation, document).encode("utf-8"))


def render_evaluation(evaluation: Evaluation, document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        evaluation: the evaluation.
        document: its `bonemets.metrics.evaluation.evaluation.summary`.
    """
    cohort = evaluation.cohort
    metrics = document["metrics"]
    empty = ~cohort.bearing
    marked_nothing = cohort.images["dice"][empty] == 1
    return render_page(
        "evaluation.html.j2",
        document=document,
        version=bonemets.__version__,
        key_numbers=[
            {"name": name, "of": of, "value": significant(metrics[key]["value"]), "interval": interval(metrics[key])}
            for key, name, of in KEY_NUMBERS
            if key in metrics
        ],
        pictures=_pictures(evaluation),
        empty={"images": int(empty.sum()), "clean": int(marked_nothing.sum())},
        criteria=CRITERION_LABELS,
        groups=[
            {
                "title": title,
                "rows": [
                    {**metric, "key": key, "value": significant(metric["value"]), "interval": interval(metric)}
                    for key, metric in metrics.items()
                    if metric["group"] == group
                ],
            }
            for group, title in GROUPS.items()
            if any(metric["group"] == group for metric in metrics.values())
        ],
        breakdowns=[
            {
                "title": title,
                "rows": [_breakdown_row(row) for row in document["breakdowns"][name]],
                "false": name == "region",
            }
            for name, title in (("size", "Lesion size"), ("region", "Region"), ("cluster", "Clusters"))
            if name in document["breakdowns"]
        ],
        worst=_worst(evaluation),
    )


def significant(value: float | None) -> str:
    """A number with three digits that mean something, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 3 if abs(value) >= 0.01 else 6)}f}"


def interval(metric: Mapping[str, Any]) -> str:
    """The 95 % interval of a number, empty where there is none."""
    if metric["low"] is None:
        return ""
    return f"{significant(metric['low'])} to {significant(metric['high'])}"


def _breakdown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    shares = [row[f"sensitivity_{criterion}"] for criterion, _ in CRITERION_LABELS]
    return {
        "group": row["group"].replace("_", " "),
        "lesions": row["lesions"],
        "shares": [{"value": significant(share["value"]), "interval": interval(share)} for share in shares],
        "false_positives": significant(row["false_positives_per_scan"]),
    }


def _pictures(evaluation: Evaluation) -> dict[str, str]:
    """The figures as addresses that the page holds itself; what cannot be drawn is left out."""
    made: dict[str, Figure] = {}
    if evaluation.cohort.bearing.any():
        made["dice"] = figures.dice_figure(evaluation)
        made["froc"] = figures.froc_figure(evaluation)
        made["size"] = figures.size_figure(evaluation)
    if len(evaluation.cohort.patients) > 1:
        made["agreement"] = figures.agreement_figure(evaluation)
    if evaluation.cohort.has_probability:
        made["calibration"] = figures.calibration_figure(evaluation)
    return {name: data_uri(figure_png(figure)) for name, figure in made.items()}


def _worst(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The lesion-bearing images with the lowest Dice."""
    cohort = evaluation.cohort
    bearing = np.flatnonzero(cohort.bearing)
    order = bearing[np.argsort(cohort.images["dice"][bearing], kind="stable")][:WORST]
    rows = []
    for index in order:
        result = cohort.results[index]
        counts = result.matches["iou10"].counts
        rows.append(
            {
                "image": result.name,
                "dice": significant(float(cohort.images["dice"][index])),
                "lesions": counts.lesions,
                "detected": counts.detected,
                "false_positives": counts.false_positives,
                "area": significant(result.area_true / 100),
                "marked": significant(result.area_predicted / 100),
            }
        )
    return rows
