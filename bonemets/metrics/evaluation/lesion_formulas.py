"""Formulas of the lesion-level measures over a cohort's sums: (B,) values, one per resampling of the patients.

``c`` is the criterion by which lesions and findings are matched: "any", "iou10" or "iou50".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics.evaluation.cohort import NAN, Totals
from bonemets.metrics.froc import sensitivity_at
from bonemets.metrics.pixel import ratio


def sensitivity(c: str, t: Totals) -> NDArray[np.float64]:
    """Detected lesions / lesions."""
    return ratio(t[f"detected_{c}"], t[f"lesions_{c}"])


def precision(c: str, t: Totals) -> NDArray[np.float64]:
    """Findings that are no false positives / findings."""
    return ratio(t[f"findings_{c}"] - t[f"false_positives_{c}"], t[f"findings_{c}"])


def f1_score(c: str, t: Totals) -> NDArray[np.float64]:
    """Harmonic mean of sensitivity and precision; NaN where there is neither lesion nor finding."""
    found, right = np.nan_to_num(sensitivity(c, t)), np.nan_to_num(precision(c, t))
    nothing = (t[f"lesions_{c}"] == 0) & (t[f"findings_{c}"] == 0)
    return np.where(nothing, NAN, ratio(2 * found * right, found + right, empty=0.0))


def false_positives(c: str, per: str, t: Totals) -> NDArray[np.float64]:
    """False positives / scans or images; ``per`` names the column of their number."""
    return ratio(t[f"false_positives_{c}"], t[per])


def _pairs_and_half_mistakes(t: Totals) -> NDArray[np.float64]:
    missed = t["lesions_iou50"] - t["detected_iou50"]
    return t["detected_iou50"] + (t["false_positives_iou50"] + missed) / 2


def panoptic_quality(t: Totals) -> NDArray[np.float64]:
    """Sum of the pairs' IoU / (pairs + half of the false positives + half of the missed), at IoU ≥ 0.5."""
    return ratio(t["pair_iou_sum"], _pairs_and_half_mistakes(t))


def segmentation_quality(t: Totals) -> NDArray[np.float64]:
    """Sum of the pairs' IoU / pairs."""
    return ratio(t["pair_iou_sum"], t["detected_iou50"])


def recognition_quality(t: Totals) -> NDArray[np.float64]:
    """Pairs / (pairs + half of the false positives + half of the missed)."""
    return ratio(t["detected_iou50"], _pairs_and_half_mistakes(t))


def froc_at(index: int, t: Totals) -> NDArray[np.float64]:
    """Sensitivity at one of the `RATES`, by its index."""
    return froc_sensitivities(t)[:, index]


def froc_score(t: Totals) -> NDArray[np.float64]:
    """Mean sensitivity at the `RATES`."""
    return froc_sensitivities(t).mean(axis=1)


def froc_sensitivities(totals: Totals) -> NDArray[np.float64]:
    """(B, R) sensitivity at each of the `RATES`; NaN where there are no lesions."""
    sensitivity, false_positives = froc_curve(totals)
    values = sensitivity_at(np.nan_to_num(sensitivity), false_positives)
    return np.where(totals["lesions_any"][:, None] > 0, values, NAN)


def froc_curve(totals: Totals) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(B, T) sensitivity and false positives per scan at each threshold."""
    return (
        ratio(totals["froc_detected"], totals["lesions_any"][:, None]),
        ratio(totals["froc_false"], totals["scans"][:, None]),
    )
