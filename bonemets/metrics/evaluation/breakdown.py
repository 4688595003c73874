"""Lesion detection by size, by region of the skeleton, and inside and outside of clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics.comparison.intervals import percentile_interval
from bonemets.metrics.evaluation.cohort import NAN, Cohort
from bonemets.metrics.image import CRITERIA, ImageResult
from bonemets.metrics.lesions import LesionMatch
from bonemets.metrics.pixel import ratio

SIZE_EDGES_MM2 = (100.0, 200.0, 500.0)
"""1, 2 and 5 cm²: visible lesions of a whole-body scan have about 1 to 6 cm² in one view."""

Groups = Callable[[ImageResult], tuple[list[str], dict[str, LesionMatch]]]


@dataclass(frozen=True)
class BreakdownRow:
    """One group of lesions.

    Args:
        group: its name.
        lesions: lesions in it.
        sensitivity: criterion → sensitivity with the ends of its 95 % interval.
        false_positives_per_scan: false findings in this group per scan; NaN where findings have no such group.
    """

    group: str
    lesions: int
    sensitivity: dict[str, tuple[float, float, float]]
    false_positives_per_scan: float = NAN


def size_names(has_spacing: bool) -> list[str]:
    """Names of the size classes, smallest first; in pixels where no spacing is known."""
    if has_spacing:
        return ["< 1 cm²", "1–2 cm²", "2–5 cm²", "≥ 5 cm²"]
    return ["< 100 px", "100–200 px", "200–500 px", "≥ 500 px"]


def by_size(cohort: Cohort, weights: NDArray | None = None) -> list[BreakdownRow]:
    """Detection of the connected components by their area."""
    names = size_names(any(result.spacing != (1.0, 1.0) for result in cohort.results))

    def groups(result: ImageResult) -> tuple[list[str], dict[str, LesionMatch]]:
        return [names[i] for i in np.searchsorted(SIZE_EDGES_MM2, result.lesion_areas, side="right")], result.matches

    return _breakdown(cohort, names, groups, weights)


def by_region(cohort: Cohort, weights: NDArray | None = None) -> list[BreakdownRow]:
    """Detection of the numbered lesions by region of the skeleton, with the false findings that lie there."""
    false = Counter(region for result in cohort.results for region in result.false_regions)
    names = Counter(fact.region for result in cohort.results for fact in result.instance_facts)
    ordered = [name for name, _ in (names + false).most_common() if name]

    def groups(result: ImageResult) -> tuple[list[str], dict[str, LesionMatch]]:
        return [fact.region for fact in result.instance_facts], result.instances

    rows = _breakdown(cohort, ordered, groups, weights)
    scans = len(cohort.patients)
    return [BreakdownRow(row.group, row.lesions, row.sensitivity, false[row.group] / scans) for row in rows]


def by_cluster(cohort: Cohort, weights: NDArray | None = None) -> list[BreakdownRow]:
    """Detection of the numbered lesions inside and outside of clusters."""
    words = {True: "in a cluster", False: "alone", None: ""}

    def groups(result: ImageResult) -> tuple[list[str], dict[str, LesionMatch]]:
        return [words[fact.clustered] for fact in result.instance_facts], result.instances

    return [row for row in _breakdown(cohort, [words[False], words[True]], groups, weights) if row.lesions]


def _breakdown(cohort: Cohort, names: Iterable[str], groups: Groups, weights: NDArray | None) -> list[BreakdownRow]:
    grouped = [groups(result) for result in cohort.results]
    rows = []
    for name in names:
        members = [np.array([group == name for group in of], dtype=bool) for of, _ in grouped]
        lesions = cohort.per_patient(np.array([int(member.sum()) for member in members]))
        sensitivity = {}
        for criterion in CRITERIA:
            hits = [
                m[criterion].detected[member].sum() if len(member) else 0
                for member, (_, m) in zip(members, grouped, strict=True)
            ]
            detected = cohort.per_patient(np.array(hits))
            low, high = NAN, NAN
            if weights is not None and lesions.any():
                low, high = percentile_interval(ratio(weights @ detected, weights @ lesions))
            sensitivity[criterion] = (float(ratio(detected.sum(), lesions.sum())), low, high)
        rows.append(BreakdownRow(name, int(lesions.sum()), sensitivity))
    return rows
