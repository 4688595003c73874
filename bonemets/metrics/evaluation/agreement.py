"""Agreement per patient: area under the ROC curve, Bland-Altman limits, concordance.

All take weights, how often each patient was drawn in each resample, so that a bootstrap is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics.pixel import ratio


def area_under_curve(scores: NDArray, positive: NDArray, weights: NDArray | None = None) -> NDArray[np.float64]:
    """Area under the ROC curve: the chance that a patient with lesions scores higher than one without (ties: half).

    Hanley and McNeil, Radiology 143, 1982.

    Args:
        scores: (P,).
        positive: (P,) bool.
        weights: (B, P), how often each patient counts; once by default.

    Returns:
        (B,); NaN where either group is empty.
    """
    scores, positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    weights = np.ones((1, len(scores))) if weights is None else weights
    difference = scores[positive][:, None] - scores[~positive][None, :]
    wins = (difference > 0) + 0.5 * (difference == 0)
    with_lesions, without = weights[:, positive], weights[:, ~positive]
    return ratio(((with_lesions @ wins) * without).sum(axis=1), with_lesions.sum(axis=1) * without.sum(axis=1))


@dataclass(frozen=True)
class Agreement:
    """How measured values agree with true ones; each (B,).

    Args:
        bias: mean of measured minus true.
        lower: lower limit of agreement, bias - 1.96 SD.
        upper: upper limit of agreement, bias + 1.96 SD.
        concordance: Lin's concordance correlation coefficient, -1 to 1.
        absolute_error: mean of the absolute difference.
    """

    bias: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    concordance: NDArray[np.float64]
    absolute_error: NDArray[np.float64]


def agreement(measured: NDArray, true: NDArray, weights: NDArray | None = None) -> Agreement:
    """Bias, limits of agreement and concordance of paired values.

    Bland and Altman, Lancet 327, 1986; Lin, Biometrics 45, 1989 (with 1/n variances, as there).

    Args:
        measured: (P,).
        true: (P,).
        weights: (B, P), how often each patient counts; once by default.
    """
    measured, true = np.asarray(measured, dtype=float), np.asarray(true, dtype=float)
    weights = np.ones((1, len(true))) if weights is None else weights
    number = weights.sum(axis=1)

    def mean(values: NDArray) -> NDArray:
        return ratio(weights @ values, number)

    # Centered first: the variance of a weighted sum from raw moments would cancel.
    x, y = measured - measured.mean(), true - true.mean()
    difference = measured - true
    offset = difference - difference.mean()
    bias = mean(difference)
    spread = mean(offset**2) - mean(offset) ** 2
    deviation = np.sqrt(np.maximum(ratio(spread * number, number - 1), 0))
    covariance = mean(x * y) - mean(x) * mean(y)
    scatter = mean(x**2) - mean(x) ** 2 + mean(y**2) - mean(y) ** 2
    return Agreement(
        bias=bias,
        lower=bias - 1.96 * deviation,
        upper=bias + 1.96 * deviation,
        concordance=ratio(2 * covariance, scatter + bias**2),
        absolute_error=mean(np.abs(difference)),
    )
