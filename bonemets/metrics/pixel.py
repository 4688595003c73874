"""Pixel agreement: Dice, intersection over union, precision, recall and their means over the classes.

All are ratios of the four counts. The functions take numbers or arrays alike, so that the same line serves one image,
the pooled pixels of a cohort, and a thousand bootstrap resamples of it. Where a ratio has nothing to count (0 / 0),
overlaps are 1 (nothing to find, and nothing was found) unless `empty` says otherwise, and rates are NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics.lesions import IGNORE, LESION


@dataclass(frozen=True)
class PixelCounts:
    """The confusion matrix of one image, without the ignored pixels.

    Args:
        tp: lesion pixels that are marked.
        fp: background pixels that are marked.
        fn: lesion pixels that are not marked.
        tn: background pixels that are not marked.
    """

    tp: int
    fp: int
    fn: int
    tn: int


def count_pixels(prediction: NDArray, truth: NDArray) -> PixelCounts:
    """Count the pixels of one image; those with label 2 do not count.

    Args:
        prediction: mask of any shape, what is not zero is lesion.
        truth: label of the same shape: 0 background, 1 lesion, 2 ignore.

    Raises:
        ValueError: the shapes differ.
    """
    prediction, truth = np.asarray(prediction) != 0, np.asarray(truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction has shape {prediction.shape} and truth {truth.shape}; they must agree")
    lesion, ignored = truth == LESION, truth == IGNORE
    tp = int(np.count_nonzero(prediction & lesion))
    fp = int(np.count_nonzero(prediction & ~ignored)) - tp
    fn = int(np.count_nonzero(lesion)) - tp
    return PixelCounts(tp, fp, fn, int(truth.size - np.count_nonzero(ignored)) - tp - fp - fn)


def ratio(numerator: Any, denominator: Any, empty: float = float("nan")) -> Any:
    """`numerator` / `denominator`; `empty` where the denominator is zero."""
    numerator, denominator = np.asarray(numerator, dtype=float), np.asarray(denominator, dtype=float)
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), empty)[()]


def dice(tp: Any, fp: Any, fn: Any, empty: float = 1.0) -> Any:
    """Dice similarity coefficient of the lesion class, 2 TP / (2 TP + FP + FN)."""
    double = 2 * np.asarray(tp, dtype=float)
    return ratio(double, double + fp + fn, empty)


def iou(tp: Any, fp: Any, fn: Any, empty: float = 1.0) -> Any:
    """Intersection over union (Jaccard index) of the lesion class, TP / (TP + FP + FN)."""
    return ratio(tp, np.asarray(tp, dtype=float) + fp + fn, empty)


def precision(tp: Any, fp: Any) -> Any:
    """TP / (TP + FP): the share of the marked pixels that are lesion. One of the papers calls it CPA."""
    return ratio(tp, np.asarray(tp, dtype=float) + fp)


def recall(tp: Any, fn: Any) -> Any:
    """TP / (TP + FN): the share of the lesion pixels that are marked; pixel accuracy of the lesion class."""
    return ratio(tp, np.asarray(tp, dtype=float) + fn)


def macro_dice(tp: Any, fp: Any, fn: Any, tn: Any, empty: float = 1.0) -> Any:
    """Mean of the Dice of background and lesion. Background is nearly 1, so this lies far above the lesion's Dice."""
    return (dice(tp, fp, fn, empty) + dice(tn, fn, fp)) / 2


def mean_iou(tp: Any, fp: Any, fn: Any, tn: Any, empty: float = 1.0) -> Any:
    """mIoU: mean of the intersection over union of background and lesion."""
    return (iou(tp, fp, fn, empty) + iou(tn, fn, fp)) / 2


def mean_pixel_accuracy(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    """mPA: mean of the recall of background and lesion."""
    return (recall(tp, fn) + recall(tn, fp)) / 2


def mean_precision(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    """mPrecision: mean of the precision of background and lesion."""
    return (precision(tp, fp) + precision(tn, fn)) / 2


MEASURES: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "dice": (dice, ("tp", "fp", "fn")),
    "iou": (iou, ("tp", "fp", "fn")),
    "precision": (precision, ("tp", "fp")),
    "recall": (recall, ("tp", "fn")),
    "macro_dice": (macro_dice, ("tp", "fp", "fn", "tn")),
    "mean_iou": (mean_iou, ("tp", "fp", "fn", "tn")),
    "mean_pixel_accuracy": (mean_pixel_accuracy, ("tp", "fp", "fn", "tn")),
    "mean_precision": (mean_precision, ("tp", "fp", "fn", "tn")),
}
"""The measures by name, and the counts that each is a formula of."""


def measure(name: str, counts: PixelCounts) -> float:
    """A measure of `MEASURES` by its name; NaN where it is not defined."""
    function, of = MEASURES[name]
    return float(function(*(getattr(counts, count) for count in of)))
