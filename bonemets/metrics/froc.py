"""Free-response ROC: how many lesions are found at how many false findings per scan, over all levels of confidence.

Bunch et al., "A free-response approach to the measurement and characterization of radiographic-observer performance",
SPIE 1977. The rates 1/8 to 8 and their mean are those of LUNA16 (Setio et al., Medical Image Analysis 42, 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.metrics.lesions import IGNORE, LESION, lesion_components, overlap_labels

# Evenly spaced in the logit: 0.0025, …, 0.5, …, 0.9999999. Networks are sure of what they mark, so most findings differ
# above 0.99 only; 1 - 1e-7 is the last step below 1 in single precision.
THRESHOLDS = 1 / (1 + np.exp(-np.linspace(-6, 16, 45)))
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class FrocCounts:
    """What is found in one image by the findings of each confidence.

    Args:
        lesions: true lesions.
        detected: (T,) true lesions found.
        false_positives: (T,) findings that match no lesion.
    """

    lesions: int
    detected: NDArray[np.int64]
    false_positives: NDArray[np.int64]


def froc_counts(
    probability: NDArray,
    truth: NDArray,
    *,
    thresholds: NDArray = THRESHOLDS,
    iou_threshold: float = 0.1,
    marking: float = 0.5,
) -> FrocCounts:
    """Match the findings that reach each confidence to the lesions.

    A finding keeps its outline, as on the page that a reader sees, and its confidence is its highest probability. To
    match components of the map thresholded again at every level would ask something else: that the map be right in
    shape at every level, which a network that is sure of the middle of a lesion fails.

    Args:
        probability: (H, W), 0 to 1.
        truth: (H, W) label: 0 background, 1 lesion, 2 ignore.
        thresholds: (T,) confidences, above 0, rising.
        iou_threshold: intersection over union that a match must reach.
        marking: probability from which pixels are marked as lesion; see `confident_findings`.

    Raises:
        ValueError: the shapes differ.
    """
    probability, truth = np.asarray(probability), np.asarray(truth)
    if probability.shape != truth.shape:
        raise ValueError(f"probability has shape {probability.shape} and truth {truth.shape}; they must agree")
    box = _bounding_box((probability >= np.min(thresholds)) | (truth == LESION))
    probability, truth = probability[box], truth[box]
    lesions, number = lesion_components(truth == LESION)
    findings, confidence = confident_findings(probability, [t for t in thresholds if t < marking], marking)
    overlap = overlap_labels(lesions, np.arange(1, number + 1), findings, len(confidence), truth != IGNORE)
    counts = []
    for threshold in thresholds:
        kept = confidence >= threshold
        at_level = replace(
            overlap,
            shared=overlap.shared[:, kept],
            iou=overlap.iou[:, kept],
            areas=overlap.areas[kept],
            areas_ignored=overlap.areas_ignored[kept],
        )
        match = at_level.match(iou_threshold).counts
        counts.append((match.detected, match.false_positives))
    detected, false_positives = np.array(counts).T
    return FrocCounts(number, detected, false_positives)


def confident_findings(
    probability: NDArray, lower: Sequence[float], marking: float
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Findings, and the highest probability in each.

    The components of what reaches ``marking`` come first. Then, at ever lower levels, the components that touch no
    finding so far: hot spots that the network is less sure of.

    Args:
        probability: (H, W), 0 to 1.
        lower: levels below ``marking`` at which further findings are looked for, in any order.
        marking: probability from which pixels are marked as lesion.

    Returns:
        Labels 1..n in an (H, W) array, and (n,) confidences.
    """
    findings, count = lesion_components(probability >= marking)
    for level in sorted(lower, reverse=True):
        components, number = lesion_components(probability >= level)
        new = np.setdiff1d(np.arange(1, number + 1), components[findings > 0])
        if len(new):
            names = np.zeros(number + 1, dtype=np.int32)
            names[new] = count + 1 + np.arange(len(new))
            findings = findings + names[components]
            count += len(new)
    confidence = ndimage.maximum(probability, findings, np.arange(1, count + 1)) if count else []
    return findings, np.asarray(confidence, dtype=np.float64)


def sensitivity_at(
    sensitivity: NDArray, false_positives_per_scan: NDArray, rates: tuple[float, ...] = RATES
) -> NDArray[np.float64]:
    """The best sensitivity that a curve reaches with at most so many false findings per scan.

    Args:
        sensitivity: (..., T) at each confidence.
        false_positives_per_scan: (..., T) at each confidence.
        rates: false findings per scan that are allowed.

    Returns:
        (..., R); 0 where even the highest confidence makes more (marking nothing makes none and finds none), NaN where
        there are no lesions.
    """
    allowed = np.asarray(false_positives_per_scan)[..., None, :] <= np.asarray(rates)[:, None]
    best = np.where(allowed, np.asarray(sensitivity)[..., None, :], 0.0)
    return best.max(axis=-1)


def operating_point(sensitivity: NDArray, false_positives_per_scan: NDArray, rate: float = 1.0) -> int | None:
    """Which confidence reaches what `sensitivity_at` says; the highest one if several do.

    Args:
        sensitivity: (T,) at each confidence, rising.
        false_positives_per_scan: (T,) at each confidence.
        rate: false findings per scan that are allowed.

    Returns:
        Its index; None where even the highest confidence makes more.
    """
    allowed = np.flatnonzero(np.asarray(false_positives_per_scan) <= rate)
    if not len(allowed):
        return None
    reached = np.asarray(sensitivity)[allowed]
    return int(allowed[reached == reached.max()][-1])


def _bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 1), slice(0, 1)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
