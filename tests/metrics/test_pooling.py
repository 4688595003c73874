"""Folds that are measured as one cohort: the same numbers as measuring all images together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonemets.errors import InputError
from bonemets.metrics.comparison.intervals import resampling_weights
from bonemets.metrics.comparison.pooling import PooledCohort, cohort_bytes
from bonemets.metrics.evaluation.cohort import Cohort
from bonemets.metrics.evaluation.measures import estimate
from bonemets.metrics.image import ImageResult, measure_image


def image(patient: int, view: int) -> ImageResult:
    rng = np.random.default_rng(10 * patient + view)
    truth = np.zeros((24, 20), np.uint8)
    if patient % 3:
        truth[4:9, 3:8] = 1
        truth[18:, 15:] = 2
    probability = np.clip(0.5 * (truth == 1) + rng.uniform(0, 0.6, truth.shape), 0, 1)
    return measure_image(probability, truth, spacing=(2.0, 2.0), patient=f"p{patient}", view=str(view))


def save(folder: Path, results: list[ImageResult]) -> Path:
    folder.mkdir()
    (folder / "cohort.npz").write_bytes(cohort_bytes(Cohort(results)))
    return folder / "cohort.npz"


def test_pooled_folds_are_the_whole_cohort(tmp_path: Path) -> None:
    # Folds of two and four patients: a mean of the folds' numbers would be another one.
    folds = [[image(p, v) for p in patients for v in range(2)] for patients in ((0, 1), (2, 3, 4, 5))]
    pooled = PooledCohort([save(tmp_path / str(number), fold) for number, fold in enumerate(folds)])
    whole = Cohort(folds[0] + folds[1])
    assert pooled.patients == whole.patients == [f"p{number}" for number in range(6)]
    weights = resampling_weights(6, 50)
    for one, other in zip(estimate(pooled, weights), estimate(whole, weights), strict=True):
        assert one.measure.key == other.measure.key and one.number == other.number
        np.testing.assert_allclose([one.value, one.low, one.high], [other.value, other.low, other.high])


def test_a_patient_in_two_folds_is_refused(tmp_path: Path) -> None:
    paths = [save(tmp_path / name, [image(1, 0), image(number, 0)]) for number, name in ((2, "a"), (3, "b"))]
    with pytest.raises(InputError, match="1 patients are in several folds"):
        PooledCohort(paths)


def test_what_is_no_cohort_is_named(tmp_path: Path) -> None:
    (tmp_path / "cohort.npz").write_bytes(b"cut")
    with pytest.raises(InputError, match="not a trial's cohort"):
        PooledCohort([tmp_path / "cohort.npz"])
