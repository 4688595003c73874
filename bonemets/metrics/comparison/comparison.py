"""Is one model better than another? Paired tests over the same patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bonemets.data.tables import read_csv
from bonemets.errors import InputError
from bonemets.metrics.comparison.intervals import percentile_interval, resampling_weights
from bonemets.metrics.pixel import ratio


@dataclass(frozen=True)
class PairedTest:
    """Two models compared on one metric.

    Args:
        metric: its name.
        patients: patients for whom both models have a value.
        difference: mean over patients of second minus first.
        low: lower end of the difference's 95 % interval (bootstrap over patients).
        high: upper end.
        p: Wilcoxon's signed-rank test, two-sided; 1 where no patient differs.
        p_holm: `p` corrected for the number of metrics tested together.
    """

    metric: str
    patients: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """P values corrected for testing several at once (Holm, Scandinavian Journal of Statistics 6, 1979).

    NaN stays NaN and does not count as a test.
    """
    p = np.asarray(p_values, dtype=float)
    order = [i for i in np.argsort(p) if np.isfinite(p[i])]
    corrected = np.full(len(p), np.nan)
    steps = p[order] * (len(order) - np.arange(len(order)))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def compare_paired(
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[PairedTest]:
    """Compare two models metric by metric, each patient with itself.

    Args:
        first: metric → one value per patient; NaN where it has none.
        second: the same metrics of the other model, patients in the same order.
        resamples: bootstrap resamples for the interval of the difference.
        seed: seed of the resampling.

    Raises:
        ValueError: the metrics or the numbers of patients differ.
    """
    if list(first) != list(second):
        raise ValueError(f"the models have different metrics: {', '.join(first)} and {', '.join(second)}")
    partial: list[tuple[str, int, float, tuple[float, float], float]] = []
    for metric, values in first.items():
        a, b = np.asarray(values, dtype=float), np.asarray(second[metric], dtype=float)
        if a.shape != b.shape:
            raise ValueError(f"{metric}: {len(a)} patients in one model and {len(b)} in the other")
        difference = (b - a)[np.isfinite(a) & np.isfinite(b)]
        if not len(difference):
            partial.append((metric, 0, float("nan"), (float("nan"), float("nan")), float("nan")))
            continue
        weights = resampling_weights(len(difference), resamples, seed)
        interval = percentile_interval(ratio(weights @ difference, weights.sum(axis=1)))
        p = float(stats.wilcoxon(difference).pvalue) if np.any(difference) else 1.0
        partial.append((metric, len(difference), float(difference.mean()), interval, p))
    corrected = holm([p for *_, p in partial])
    return [
        PairedTest(metric, patients, mean, *interval, p, float(adjusted))
        for (metric, patients, mean, interval, p), adjusted in zip(partial, corrected, strict=True)
    ]


def compare_patients(
    first: Path, second: Path, columns: Sequence[str], resamples: int = 1000, seed: int = 0
) -> list[PairedTest]:
    """Compare two models by their ``patients.csv``; each patient with itself.

    Args:
        first: ``patients.csv`` of the first model.
        second: that of the second model, on the same patients.
        columns: which columns to test; Holm's correction counts them.
        resamples: bootstrap resamples for the interval of the difference.
        seed: seed of the resampling.

    Raises:
        InputError: a file cannot be read, or the patients differ.
    """
    tables: list[dict[str, dict[str, float]]] = []
    for path in (first, second):
        try:
            rows = {row["patient"]: row for row in read_csv(path)}
            tables.append({p: {c: float(row[c] or "nan") for c in columns} for p, row in rows.items()})
        except (ValueError, KeyError) as error:
            raise InputError(f"{path} is not a patients.csv of bonemets evaluate with {', '.join(columns)}") from error
    if set(tables[0]) != set(tables[1]):
        raise InputError(f"{first} and {second} are of different patients; evaluate both on the same section and fold")
    patients = sorted(tables[0])
    values = [{c: [table[p][c] for p in patients] for c in columns} for table in tables]
    return compare_paired(values[0], values[1], resamples=resamples, seed=seed)
