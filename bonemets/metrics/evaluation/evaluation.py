"""Evaluate a folder of predictions: measure every image, then the cohort, and put it into tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics.comparison.intervals import resampling_weights
from bonemets.metrics.evaluation.breakdown import BreakdownRow, by_cluster, by_region, by_size
from bonemets.metrics.evaluation.cohort import Cohort
from bonemets.metrics.evaluation.matching import Case
from bonemets.metrics.evaluation.measures import Estimate, estimate
from bonemets.metrics.evaluation.predictions import read_label, read_prediction
from bonemets.metrics.evaluation.simulated import read_simulated
from bonemets.metrics.froc import operating_point
from bonemets.metrics.image import CRITERIA, ImageResult, bears_lesion, measure_image
from bonemets.metrics.pixel import dice, ratio

Row = dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        cohort: the images and patients.
        weights: (B, P) the bootstrap's resamples; None without intervals.
        estimates: every measure with its interval.
        breakdowns: "size", "region", "cluster" → rows; what is not known of the lesions is left out.
        settings: threshold, tolerance, resamples and seed.
    """

    cohort: Cohort
    weights: NDArray[np.float64] | None
    estimates: list[Estimate]
    breakdowns: dict[str, list[BreakdownRow]]
    settings: dict[str, Any]

    def __getitem__(self, key: str) -> Estimate:
        return next(found for found in self.estimates if found.measure.key == key)


def evaluate_cases(
    cases: Sequence[Case],
    *,
    threshold: float = 0.5,
    tolerance: float = 5.0,
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Evaluate predictions against their labels.

    Args:
        cases: items and predictions, from `find_predictions`.
        threshold: a pixel is marked where its probability reaches it; masks are the same at any threshold.
        tolerance: of the surface Dice, mm.
        resamples: bootstrap resamples for the intervals; 0: no intervals.
        seed: seed of the bootstrap.
        progress: called with how many images are done and how many there are.

    Raises:
        InputError: a file cannot be read or does not fit its label.
    """
    is_probability = any(_has_fractions(case) for case in cases)
    results = []
    for done, case in enumerate(cases, start=1):
        results.append(_measure(case, threshold, tolerance, is_probability))
        progress(done, len(cases))
    cohort = Cohort(results)
    weights = resampling_weights(len(cohort.patients), resamples, seed) if resamples else None
    breakdowns = {"size": by_size(cohort, weights)}
    if any(result.instance_facts for result in results):
        breakdowns |= {"region": by_region(cohort, weights), "cluster": by_cluster(cohort, weights)}
    settings = {"threshold": threshold, "tolerance_mm": tolerance, "resamples": resamples, "seed": seed}
    kept = {name: rows for name, rows in breakdowns.items() if rows}
    return Evaluation(cohort, weights, estimate(cohort, weights), kept, settings)


def _has_fractions(case: Case) -> bool:
    """Whether a prediction has values between 0 and 1, which a mask has not."""
    values = read_prediction(case, read_label(case.label)[2])
    return bool(np.any((values > 0) & (values < 1)))


def _measure(case: Case, threshold: float, tolerance: float, is_probability: bool) -> ImageResult:
    label, spacing, grid = read_label(case.label)
    return measure_image(
        read_prediction(case, grid),
        label,
        spacing=spacing,
        threshold=threshold,
        tolerance=tolerance,
        is_probability=is_probability,
        simulated=read_simulated(case.label, label.shape),
        name=case.name,
        patient=case.patient,
        view=case.view,
    )


def image_rows(evaluation: Evaluation) -> list[Row]:
    """One row per image, for ``images.csv``; what is not defined is NaN."""
    cohort, rows = evaluation.cohort, []
    for index, result in enumerate(cohort.results):
        row = {
            "image": result.name,
            "patient": result.patient,
            "view": result.view,
            "lesion_bearing": int(bears_lesion(result)),
            **asdict(result.pixels),
            "ignored_pixels": result.ignored_pixels,
            **{key: float(values[index]) for key, values in cohort.images.items()},
            "area_true_cm2": result.area_true / 100,
            "area_predicted_cm2": result.area_predicted / 100,
            "max_probability": result.score,
        }
        for criterion in CRITERIA:
            counts = result.matches[criterion].counts
            row |= {f"detected_{criterion}": counts.detected, f"false_positives_{criterion}": counts.false_positives}
        counts = result.matches["any"].counts
        rows.append({**row, "lesions": counts.lesions, "findings": counts.findings, "findings_ignored": counts.ignored})
    return rows


def patient_rows(evaluation: Evaluation) -> list[Row]:
    """One row per patient, for ``patients.csv``; Dice and sensitivity are over the patient's images together."""
    cohort, rows = evaluation.cohort, []
    columns = cohort.columns
    at_one = _at_one_false_positive(cohort) if cohort.has_probability else {}
    for index, patient in enumerate(cohort.patients):
        total = {key: float(values[index]) for key, values in columns.items() if values.ndim == 1}
        row = {
            "patient": patient,
            "images": int(total["images"]),
            "metastases": int(cohort.positive[index]) if cohort.certain[index] else "",
            "score": float(cohort.score[index]),
            "lesions": int(total["lesions_any"]),
            "findings": int(total["findings_any"]),
            "area_true_cm2": float(cohort.area_true[index]) / 100,
            "area_predicted_cm2": float(cohort.area_predicted[index]) / 100,
            "dice_pooled": float(dice(total["tp"], total["fp"], total["fn"])),
            "dice_per_image_bearing": float(ratio(total["dice_sum_bearing"], total["dice_number_bearing"])),
        }
        for criterion in CRITERIA:
            row[f"sensitivity_{criterion}"] = float(
                ratio(total[f"detected_{criterion}"], total[f"lesions_{criterion}"])
            )
            row[f"false_positives_{criterion}"] = int(total[f"false_positives_{criterion}"])
        rows.append(row | {name: float(values[index]) for name, values in at_one.items()})
    return rows


def _at_one_false_positive(cohort: Cohort) -> dict[str, NDArray[np.float64]]:
    """Each patient's sensitivity and false findings where the cohort has at most one false finding a scan."""
    detected, false, lesions = (cohort.columns[name] for name in ("froc_detected", "froc_false", "lesions_any"))
    at = operating_point(detected.sum(axis=0), false.sum(axis=0) / len(false))
    # Where every threshold makes more, only marking nothing makes none.
    reached = (detected[:, at], false[:, at]) if at is not None else (np.zeros(len(false)), np.zeros(len(false)))
    return {"froc_sensitivity_at_1": ratio(reached[0], lesions), "froc_false_positives_at_1": reached[1]}


def lesion_rows(evaluation: Evaluation) -> list[Row]:
    """One row per lesion, numbered lesion and finding, for ``lesions.csv``."""
    return [row for result in evaluation.cohort.results for row in result.rows]


LESION_COLUMNS = (
    "image", "patient", "view", "kind", "number", "row", "column", "area_px", "area_mm2", "bone", "region", "clustered",
    "best_iou", "max_probability", "counted", *(f"matched_{criterion}" for criterion in CRITERIA),
)  # fmt: skip


def summary(evaluation: Evaluation, data: Mapping[str, Any]) -> dict[str, Any]:
    """What ``summary.json`` holds: the data, the settings, and every number with its interval; null where undefined.

    Args:
        evaluation: the evaluation.
        data: what was evaluated on: name, split hash, section, whether it is simulated.
    """
    cohort = evaluation.cohort
    return {
        "format": 1,
        "data": dict(data),
        "patients": len(cohort.patients),
        "images": len(cohort.results),
        "images_lesion_bearing": int(cohort.bearing.sum()),
        "lesions": int(cohort.columns["lesions_any"].sum()),
        "predictions": "probability" if cohort.has_probability else "mask",
        "settings": evaluation.settings,
        "interval": "95 %, percentile bootstrap over patients",
        "metrics": {
            found.measure.key: {
                "value": _number(found.value),
                "low": _number(found.low),
                "high": _number(found.high),
                "n": found.number,
                "unit": found.measure.unit,
                "label": found.measure.label,
                "group": found.measure.group,
            }
            for found in evaluation.estimates
        },
        "breakdowns": {
            name: [
                {
                    "group": row.group,
                    "lesions": row.lesions,
                    "false_positives_per_scan": _number(row.false_positives_per_scan),
                    **{
                        f"sensitivity_{criterion}": dict(
                            zip(("value", "low", "high"), map(_number, three), strict=True)
                        )
                        for criterion, three in row.sensitivity.items()
                    },
                }
                for row in rows
            ]
            for name, rows in evaluation.breakdowns.items()
        },
    }


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
