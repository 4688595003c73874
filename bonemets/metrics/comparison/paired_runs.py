"""Two runs on the same patients: which is better, by how much, and for whom."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bonemets.metrics.comparison.comparison import PairedTest, compare_paired

Rows = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Compared:
    """A metric that runs are compared on.

    Args:
        column: in ``patients.csv``.
        cohort: the metric over all patients together, as docs/reference/metrics.md names it.
        name: for a reader.
        higher_is_better: whether more is better.
    """

    column: str
    cohort: str
    name: str
    higher_is_better: bool = True


# Each adds to Holm's correction.
COMPARED = (
    Compared("froc_sensitivity_at_1", "froc_sensitivity_at_1", "Lesion recall at one false positive per scan"),
    Compared("dice_per_image_bearing", "dice_per_image_bearing", "Lesion Dice, mean per lesion-bearing image"),
    Compared("sensitivity_iou10", "sensitivity_iou10", "Lesion sensitivity at the threshold, IoU ≥ 0.1"),
    Compared(
        "false_positives_iou10", "false_positives_per_scan_iou10", "False positives per scan at the threshold", False
    ),
)


@dataclass(frozen=True)
class PairedMetric:
    """A metric of two runs.

    Args:
        compared: which metric.
        test: second minus first, over patients.
        better: patients for whom the second run is better.
        worse: for whom it is worse.
        equal: for whom nothing changes.
    """

    compared: Compared
    test: PairedTest
    better: int
    worse: int
    equal: int


def compare_rows(first: Rows, second: Rows, *, resamples: int = 1000, seed: int = 0) -> list[PairedMetric]:
    """Compare two runs on the patients that both have, each patient with itself.

    Args:
        first: patient → column → value.
        second: the same of the other run.
        resamples: bootstrap resamples for the intervals.
        seed: seed of the resampling.

    Returns:
        One entry per metric of `COMPARED` that both runs have, corrected together after Holm.
    """
    patients = [patient for patient in first if patient in second]
    columns = [metric for metric in COMPARED if _has(first, metric.column) and _has(second, metric.column)]
    a, b = ({m.column: [rows[p][m.column] for p in patients] for m in columns} for rows in (first, second))
    tests = compare_paired(a, b, resamples=resamples, seed=seed)
    found = []
    for metric, test in zip(columns, tests, strict=True):
        sign = 1 if metric.higher_is_better else -1
        gains = [sign * (y - x) for x, y in zip(a[metric.column], b[metric.column], strict=True)]
        gains = [gain for gain in gains if math.isfinite(gain)]
        better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
        found.append(PairedMetric(metric, test, better, worse, len(gains) - better - worse))
    return found


def _has(rows: Rows, column: str) -> bool:
    return all(column in row for row in rows.values())
