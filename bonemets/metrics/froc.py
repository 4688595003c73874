"""Free-response ROC: how many lesions are found at how many false findings per scan, over all thresholds.

Bunch et al., "A free-response approach to the measurement and characterization of radiographic-observer performance",
SPIE 1977. The rates 1/8 to 8 and their mean are those of LUNA16 (Setio et al., Medical Image Analysis 42, 2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics.lesions import IGNORE, LESION, lesion_components, overlap_labels

# Evenly spaced in the logit (0.0025 to 0.9975, 0.5 in the middle), where a network's outputs spread evenly.
THRESHOLDS = 1 / (1 + np.exp(-np.linspace(-6, 6, 25)))
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class FrocCounts:
    """What is found in one image at each threshold.

    Args:
        lesions: true lesions.
        detected: (T,) true lesions found.
        false_positives: (T,) findings that match no lesion.
    """

    lesions: int
    detected: NDArray[np.int64]
    false_positives: NDArray[np.int64]


def froc_counts(
    probability: NDArray, truth: NDArray, *, thresholds: NDArray = THRESHOLDS, iou_threshold: float = 0.1
) -> FrocCounts:
    """Match the components of the thresholded probability to the lesions, for every threshold.

    At a low threshold everything merges into one component that touches every lesion. At the any-overlap criterion
    that would count as a perfect reading, so lesions and findings are paired at an intersection over union.

    Args:
        probability: (H, W), 0 to 1; a pixel is marked where it reaches the threshold.
        truth: (H, W) label: 0 background, 1 lesion, 2 ignore.
        thresholds: (T,), above 0.
        iou_threshold: intersection over union that a match must reach.

    Raises:
        ValueError: the shapes differ.
    """
    probability, truth = np.asarray(probability), np.asarray(truth)
    if probability.shape != truth.shape:
        raise ValueError(f"probability has shape {probability.shape} and truth {truth.shape}; they must agree")
    box = _bounding_box((probability >= np.min(thresholds)) | (truth == LESION))
    probability, truth = probability[box], truth[box]
    lesions, number = lesion_components(truth == LESION)
    # All that follows happens on these pixels, a few percent of a scan.
    places = np.flatnonzero((probability >= np.min(thresholds)) | (lesions > 0))
    lesion, valid = lesions.ravel()[places], truth.ravel()[places] != IGNORE
    counts = []
    for threshold in thresholds:
        findings, count = lesion_components(probability >= threshold)
        overlap = overlap_labels(lesion, np.arange(1, number + 1), findings.ravel()[places], count, valid)
        match = overlap.match(iou_threshold).counts
        counts.append((match.detected, match.false_positives))
    detected, false_positives = np.array(counts).T
    return FrocCounts(number, detected, false_positives)


def sensitivity_at(
    sensitivity: NDArray, false_positives_per_scan: NDArray, rates: tuple[float, ...] = RATES
) -> NDArray[np.float64]:
    """The best sensitivity that a curve reaches with at most so many false findings per scan.

    Args:
        sensitivity: (..., T) at each threshold.
        false_positives_per_scan: (..., T) at each threshold.
        rates: false findings per scan that are allowed.

    Returns:
        (..., R); 0 where even the highest threshold makes more (marking nothing makes none and finds none), NaN where
        there are no lesions.
    """
    allowed = np.asarray(false_positives_per_scan)[..., None, :] <= np.asarray(rates)[:, None]
    best = np.where(allowed, np.asarray(sensitivity)[..., None, :], 0.0)
    return best.max(axis=-1)


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
