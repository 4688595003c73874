"""Every number that an evaluation reports, each defined once; docs/reference/metrics.md says them in words.

A measure is a formula over a cohort's sums (`Totals`). Its estimate takes each patient once, its 95 % interval takes
the resampled patients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics import pixel
from bonemets.metrics.calibration import SUSPICION, brier_score, expected_calibration_error
from bonemets.metrics.comparison.intervals import percentile_interval
from bonemets.metrics.evaluation import lesion_formulas as lesion
from bonemets.metrics.evaluation.agreement import Agreement, agreement, area_under_curve
from bonemets.metrics.evaluation.cohort import NAN, Cohort, Totals
from bonemets.metrics.froc import RATES
from bonemets.metrics.pixel import ratio

Formula = Callable[[Totals], NDArray[np.float64]]


@dataclass(frozen=True)
class Measure:
    """A number that is reported.

    Args:
        key: its name in ``summary.json``.
        group: "pixel", "outline", "lesion", "patient" or "calibration".
        label: what a reader sees.
        formula: (B,) values of weighted totals.
        counted: the column whose sum says over how many the number is.
        unit: of the number; "" for a share.
        probability: whether it needs probabilities.
    """

    key: str
    group: str
    label: str
    formula: Formula
    counted: str
    unit: str = ""
    probability: bool = False


def _pooled(function: Callable[..., NDArray], names: tuple[str, ...], ending: str, empty: bool) -> Formula:
    keywords = {"empty": NAN} if empty else {}
    return lambda t: function(*(t[f"{name}{ending}"] for name in names), **keywords)


def _mean(key: str, ending: str) -> Formula:
    return lambda t: ratio(t[f"{key}_sum{ending}"], t[f"{key}_number{ending}"])


WHERE = (("", "all images", "images"), ("_bearing", "lesion-bearing images", "images_bearing"))
CRITERION_LABELS = (("any", "any overlap"), ("iou10", "IoU ≥ 0.1"), ("iou50", "IoU ≥ 0.5"))


def _pixel_measures() -> list[Measure]:
    measures = []
    four: tuple[str, ...] = ("tp", "fp", "fn", "tn")
    overlaps = (
        ("dice", "Lesion Dice", pixel.dice, four[:3]),
        ("macro_dice", "Macro Dice (background and lesion)", pixel.macro_dice, four),
        ("iou", "Lesion IoU", pixel.iou, four[:3]),
        ("mean_iou", "mIoU (background and lesion)", pixel.mean_iou, four),
    )
    for key, label, overlap, names in overlaps:
        for ending, images, counted in WHERE:
            mean, pooled = _mean(key, ending), _pooled(overlap, names, ending, empty=True)
            measures += [
                Measure(f"{key}_per_image{ending}", "pixel", f"{label}, mean per image, {images}", mean, counted),
                Measure(f"{key}_pooled{ending}", "pixel", f"{label}, pooled pixels, {images}", pooled, counted),
            ]
    rates = (
        ("precision", "Precision (CPA)", pixel.precision, ("tp", "fp")),
        ("recall", "Recall", pixel.recall, ("tp", "fn")),
        ("mean_pixel_accuracy", "mPA (mean recall of background and lesion)", pixel.mean_pixel_accuracy, four),
        ("mean_precision", "mPrecision (background and lesion)", pixel.mean_precision, four),
    )
    for key, label, rate, of in rates:
        for ending, images, counted in WHERE:
            pooled = _pooled(rate, of, ending, empty=False)
            measures.append(
                Measure(f"{key}_pooled{ending}", "pixel", f"{label}, pooled pixels, {images}", pooled, counted)
            )
    for key, label in (("precision", "Precision, mean per image that marks any"), ("recall", "Recall, mean per image")):
        where = f"{label}, lesion-bearing images" if key == "recall" else label
        measures.append(Measure(f"{key}_per_image", "pixel", where, _mean(key, ""), f"{key}_number"))
    return measures


def _outline_measures() -> list[Measure]:
    both = "images with both outlines"
    number, mean = "hausdorff_95_number", _mean("hausdorff_95", "")
    return [
        Measure("hausdorff_95_mean", "outline", f"Hausdorff 95, mean, {both}", mean, number, "mm"),
        Measure("hausdorff_95_median", "outline", f"Hausdorff 95, median, {both}", _median_hausdorff, number, "mm"),
        Measure(
            "surface_dice", "outline", "Surface Dice, mean, images with any outline", _mean("surface_dice", ""),
            "surface_dice_number",
        ),
    ]  # fmt: skip


def _median_hausdorff(totals: Totals) -> NDArray[np.float64]:
    return totals.median("hausdorff_95")


def _lesion_measures() -> list[Measure]:
    measures = []
    for c, at in CRITERION_LABELS:
        for key, label, formula, counted in (
            ("sensitivity", "Sensitivity", partial(lesion.sensitivity, c), f"lesions_{c}"),
            ("lesion_precision", "Precision", partial(lesion.precision, c), f"findings_{c}"),
            ("f1", "F1", partial(lesion.f1_score, c), f"lesions_{c}"),
            (
                "false_positives_per_scan",
                "False positives per scan",
                partial(lesion.false_positives, c, "scans"),
                "scans",
            ),
            (
                "false_positives_per_image",
                "False positives per image",
                partial(lesion.false_positives, c, "images"),
                "images",
            ),
        ):
            measures.append(Measure(f"{key}_{c}", "lesion", f"{label}, {at}", formula, counted))
    pairs = "Segmentation quality (mean IoU of the pairs)"
    measures += [
        Measure("panoptic_quality", "lesion", "Panoptic quality, IoU ≥ 0.5", lesion.panoptic_quality, "lesions_iou50"),
        Measure("segmentation_quality", "lesion", pairs, lesion.segmentation_quality, "detected_iou50"),
        Measure("recognition_quality", "lesion", "Recognition quality", lesion.recognition_quality, "lesions_iou50"),
    ]
    for index, rate in enumerate(RATES):
        label = f"FROC: sensitivity at {rate:g} false positives per scan"
        at_rate = partial(lesion.froc_at, index)
        measures.append(
            Measure(f"froc_sensitivity_at_{rate:g}", "lesion", label, at_rate, "lesions_any", probability=True)
        )
    label = "FROC score (mean of these seven)"
    return [*measures, Measure("froc_score", "lesion", label, lesion.froc_score, "lesions_any", probability=True)]


def count_agreement(totals: Totals) -> Agreement:
    """Findings against true lesions per scan."""
    columns = totals.cohort.columns
    return agreement(columns["findings_any"], columns["lesions_any"], totals.weights)


def burden_agreement(totals: Totals) -> Agreement:
    """Marked area against true lesion area per scan, cm²."""
    return agreement(totals.cohort.area_predicted / 100, totals.cohort.area_true / 100, totals.weights)


def _auc(totals: Totals) -> NDArray[np.float64]:
    cohort = totals.cohort
    known = cohort.certain
    return area_under_curve(cohort.score[known], cohort.positive[known], totals.weights[:, known])


def _agreement(agree: Callable[[Totals], Agreement], part: str, t: Totals) -> NDArray[np.float64]:
    return getattr(agree(t), part)


def _share(part: str, whole: str, t: Totals) -> NDArray[np.float64]:
    return ratio(t[part], t[whole])


def _patient_measures() -> list[Measure]:
    sensitivity, specificity = partial(_share, "sick_right", "sick"), partial(_share, "healthy_right", "healthy")
    measures = [
        Measure("patient_auc", "patient", "Any lesion: area under the ROC curve", _auc, "certain"),
        Measure("patient_sensitivity", "patient", "Any lesion: sensitivity", sensitivity, "sick"),
        Measure("patient_specificity", "patient", "Any lesion: specificity", specificity, "healthy"),
    ]
    parts = (
        ("bias", "bias"), ("lower", "lower limit of agreement"), ("upper", "upper limit of agreement"),
        ("absolute_error", "mean absolute error"), ("concordance", "concordance (CCC)"),
    )  # fmt: skip
    for key, label, agree, unit in (
        ("count", "Lesion count per scan", count_agreement, "lesions"),
        ("burden", "Lesion area per scan", burden_agreement, "cm²"),
    ):
        for part, words in parts:
            formula = partial(_agreement, agree, part)
            of = "" if part == "concordance" else unit
            measures.append(Measure(f"{key}_{part}", "patient", f"{label}: {words}", formula, "scans", of))
    return measures


def _ece(key: str, t: Totals) -> NDArray[np.float64]:
    return expected_calibration_error(t[f"pixels_{key}"], t[f"probability_{key}"], t[f"lesion_{key}"])


def _brier(key: str, t: Totals) -> NDArray[np.float64]:
    return brier_score(t[f"squared_error_{key}"], t[f"pixels_{key}"])


def _calibration_measures() -> list[Measure]:
    return [
        Measure(f"{name}_{key}", "calibration", f"{label}, {where}", partial(formula, key), "images", probability=True)
        for key, where in (("all", "all pixels"), ("suspicious", f"pixels with probability ≥ {SUSPICION:g}"))
        for name, label, formula in (("ece", "Expected calibration error", _ece), ("brier", "Brier score", _brier))
    ]


MEASURES: list[Measure] = [
    *_pixel_measures(), *_outline_measures(), *_lesion_measures(), *_patient_measures(), *_calibration_measures(),
]  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A measured number.

    Args:
        measure: what it is.
        value: the number; NaN where it is not defined.
        low: lower end of its 95 % interval; NaN without resamples or where most of them do not define it.
        high: upper end.
        number: over how many images, lesions or scans.
    """

    measure: Measure
    value: float
    low: float
    high: float
    number: int


def estimate(cohort: Cohort, weights: NDArray[np.float64] | None = None) -> list[Estimate]:
    """All measures of a cohort.

    Args:
        cohort: the cohort.
        weights: (B, P) from `resampling_weights`, for the intervals; None: no intervals.
    """
    once, resampled = Totals(cohort), None if weights is None else Totals(cohort, weights)
    estimates = []
    for measure in MEASURES:
        if measure.probability and not cohort.has_probability:
            continue
        value = float(measure.formula(once)[0])
        low, high = NAN, NAN
        if resampled is not None and np.isfinite(value):
            low, high = percentile_interval(measure.formula(resampled))
        estimates.append(Estimate(measure, value, low, high, int(once[measure.counted][0])))
    return estimates
