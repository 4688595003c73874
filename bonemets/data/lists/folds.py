"""Splitting patients, never images, into folds and a test part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def assign_folds(
    patients: Iterable[str], folds: int, seed: int, stratify: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Give each patient a fold, balanced within each stratum and deterministic.

    Patients are taken in sorted order; each goes to the fold with the fewest patients of its stratum, then with the
    fewest patients at all, ties broken by the seed. So the order of the input does not matter, and patients that sort
    after all others can be added later without moving anyone.

    Args:
        patients: patient identifiers; repeated ones count once.
        folds: number of folds.
        seed: breaks ties.
        stratify: a value per patient, for instance whether it has a lesion; strata are spread evenly.

    Returns:
        The fold of each patient, from 0.

    Raises:
        ValueError: if `folds` is below 1 or exceeds the number of patients, or a patient has no stratum.
    """
    names = _checked(patients, stratify)
    if not 1 <= folds <= max(len(names), 1):
        raise ValueError(f"folds must be between 1 and the number of patients ({len(names)}), got {folds}")
    random = np.random.default_rng([seed, 0])
    per_stratum: dict[Any, np.ndarray] = defaultdict(lambda: np.zeros(folds))
    total = np.zeros(folds)
    assigned = {}
    for name in names:
        counts = per_stratum[stratify[name] if stratify else None]
        fold = int(np.lexsort((random.random(folds), total, counts))[0])
        counts[fold] += 1
        total[fold] += 1
        assigned[name] = fold
    return assigned


def split_test(patients: Iterable[str], share: float, stratify: Mapping[str, Any] | None = None) -> set[str]:
    """Choose the test patients: of each stratum the stated share, evenly spread over the sorted patients.

    The choice does not depend on later patients, so a cohort that is extended keeps its test patients.

    Args:
        patients: patient identifiers.
        share: share of the patients, from 0 to 1; each stratum's number is rounded.
        stratify: a value per patient, as for `assign_folds`.

    Raises:
        ValueError: if `share` is outside 0 to 1, or a patient has no stratum.
    """
    names = _checked(patients, stratify)
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}")
    seen: dict[Any, int] = defaultdict(int)
    chosen = set()
    for name in names:
        stratum = stratify[name] if stratify else None
        before, seen[stratum] = seen[stratum], seen[stratum] + 1
        if int(seen[stratum] * share + 0.5) > int(before * share + 0.5):
            chosen.add(name)
    return chosen


def draw_parts(
    strata: Mapping[str, Any], seed: int, folds: int, test_share: float
) -> tuple[set[str], dict[str, int], int]:
    """Testing patients, fold of each other one, and the number of folds, which is at most that of the others.

    Args:
        strata: patient → the group that is spread evenly over the parts.
        seed: seed of the folds.
        folds: number of folds wanted.
        test_share: share of the patients that is kept for testing.
    """
    testing = split_test(strata, test_share, strata)
    training = [name for name in strata if name not in testing]
    folds = max(1, min(folds, len(training)))
    return testing, assign_folds(training, folds, seed, strata), folds


def _checked(patients: Iterable[str], stratify: Mapping[str, Any] | None) -> list[str]:
    names = sorted(set(patients))
    missing = [name for name in names if stratify is not None and name not in stratify]
    if missing:
        raise ValueError(f"stratify must have a value for every patient; {len(missing)} have none")
    return names
