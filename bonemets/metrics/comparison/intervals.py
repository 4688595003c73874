"""Bootstrap over patients: how far a number would move with other patients of the same kind.

Patients are drawn with replacement and bring all their images, since two views of one patient are not two independent
samples. Intervals are percentiles of the resampled values (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, chapter 13).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resampling_weights(patients: int, resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """How often each patient is drawn in each resample.

    Args:
        patients: number of patients P.
        resamples: number of resamples B.
        seed: the same seed draws the same patients.

    Returns:
        (B, P), whole numbers; each row sums to P.
    """
    if patients < 1:
        raise ValueError(f"patients={patients} must be at least 1")
    rng = np.random.default_rng(seed)
    return rng.multinomial(patients, np.full(patients, 1 / patients), size=resamples).astype(np.float64)


def percentile_interval(values: NDArray, level: float = 0.95) -> tuple[float, float]:
    """The interval that holds the middle share of resampled values.

    Args:
        values: (B,); NaN (a resample in which the number is not defined) is left out.
        level: the share, 0 to 1.

    Returns:
        Lower and upper end; NaN where fewer than half of the resamples gave a value.
    """
    defined = values[np.isfinite(values)]
    if 2 * len(defined) < len(values) or not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
