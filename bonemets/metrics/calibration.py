"""Do probabilities mean what they say? Expected calibration error, Brier score, and the bins of a reliability diagram.

Guo et al., "On calibration of modern neural networks", ICML 2017; Brier, Monthly Weather Review 78, 1950.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics.lesions import IGNORE, LESION
from bonemets.metrics.pixel import ratio

BINS = 15
# Nine tenths of a bone scan is background that nothing would mark. Below this the network says "surely nothing".
SUSPICION = 0.01


@dataclass(frozen=True)
class CalibrationCounts:
    """Sums over the pixels of one image; they add up over images.

    Args:
        pixels: (bins,) pixels with a probability in the bin.
        probability: (bins,) their summed probability.
        lesion: (bins,) how many of them are lesion.
        squared_error: summed squared difference of probability and truth.
    """

    pixels: NDArray[np.float64]
    probability: NDArray[np.float64]
    lesion: NDArray[np.float64]
    squared_error: float


def calibration_counts(
    probability: NDArray, truth: NDArray, *, above: float = 0.0, bins: int = BINS
) -> CalibrationCounts:
    """Sort the pixels of an image into bins of equal width; those with label 2 do not count.

    Args:
        probability: any shape, 0 to 1.
        truth: label of the same shape: 0 background, 1 lesion, 2 ignore.
        above: leave out pixels whose probability is lower.
        bins: number of bins; each holds its lower border, the last one also 1.

    Raises:
        ValueError: the shapes differ.
    """
    probability, truth = np.asarray(probability), np.asarray(truth)
    if probability.shape != truth.shape:
        raise ValueError(f"probability has shape {probability.shape} and truth {truth.shape}; they must agree")
    counted = (truth != IGNORE) & (probability >= above)
    chance = probability[counted].astype(np.float64)
    lesion = (truth[counted] == LESION).astype(np.float64)
    places = np.minimum((chance * bins).astype(np.intp), bins - 1)
    return CalibrationCounts(
        pixels=np.bincount(places, minlength=bins).astype(np.float64),
        probability=np.bincount(places, weights=chance, minlength=bins).astype(np.float64),
        lesion=np.bincount(places, weights=lesion, minlength=bins).astype(np.float64),
        squared_error=float(((chance - lesion) ** 2).sum()),
    )


def expected_calibration_error(pixels: NDArray, probability: NDArray, lesion: NDArray) -> Any:
    """Mean over the pixels of the gap between the mean probability of their bin and its share of lesion.

    Args:
        pixels: (..., bins), as in `CalibrationCounts`, or sums of it over images.
        probability: (..., bins), likewise.
        lesion: (..., bins), likewise.
    """
    return ratio(np.abs(np.asarray(probability) - lesion).sum(axis=-1), np.asarray(pixels).sum(axis=-1))


def brier_score(squared_error: Any, pixels: NDArray) -> Any:
    """Mean squared difference of probability and truth.

    Args:
        squared_error: (...), as in `CalibrationCounts`, or sums of it over images.
        pixels: (..., bins), likewise.
    """
    return ratio(squared_error, np.asarray(pixels).sum(axis=-1))
