"""Cohorts on disk, so that the folds of a cross-validation can be measured as one cohort.

In a cross-validation every patient is predicted once, by the network of the fold that did not train on it. A mean of
the folds' numbers would weigh small folds like large ones, and has no value where a fold has no lesion; the pooled
cohort has one number over all patients.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonemets.errors import InputError
from bonemets.metrics.evaluation.cohort import Cohort

PER_PATIENT = ("area_true", "area_predicted", "positive", "certain", "score")


def cohort_bytes(cohort: Cohort) -> bytes:
    """A cohort's sums as an ``.npz`` file, without pixels and without the lesions' rows."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        patients=np.array(cohort.patients),
        patient_of=cohort.patient_of,
        bearing=cohort.bearing,
        **{name: getattr(cohort, name) for name in PER_PATIENT},
        **{f"column {name}": values for name, values in cohort.columns.items()},
        **{f"image {name}": values for name, values in cohort.images.items()},
    )
    return buffer.getvalue()


class PooledCohort(Cohort):
    """Several cohorts of different patients as one; it has their sums, but not the single images' `results`.

    Args:
        paths: files of `cohort_bytes`.

    Raises:
        InputError: a file cannot be read, a patient is in several, or the cohorts were measured in different ways.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        if not paths:
            raise ValueError("paths must name at least one file, got none")
        parts = [_read(path) for path in paths]
        if len({tuple((name, values.shape[1:]) for name, values in sorted(part.items())) for part in parts}) > 1:
            raise InputError(f"{paths[0].parent}: the folds were measured in different ways; run the sweep again")
        self.results = []
        self.patients = [str(name) for part in parts for name in part["patients"]]
        if repeated := [name for name, count in Counter(self.patients).items() if count > 1]:
            raise InputError(f"{paths[0].parent}: {len(repeated)} patients are in several folds; make the folds again")
        starts = np.cumsum([0, *(len(part["patients"]) for part in parts)])

        def joined(name: str) -> NDArray:
            return np.concatenate([part[name] for part in parts])

        self.patient_of = np.concatenate(
            [part["patient_of"] + start for part, start in zip(parts, starts, strict=False)]
        )
        self.bearing = joined("bearing")
        self.area_true, self.area_predicted, self.positive, self.certain, self.score = map(joined, PER_PATIENT)
        self.columns = {name[7:]: joined(name) for name in parts[0] if name.startswith("column ")}
        self.images = {name[6:]: joined(name) for name in parts[0] if name.startswith("image ")}
        self.has_probability = "froc_detected" in self.columns


def _read(path: Path) -> dict[str, NDArray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is not a trial's cohort.npz; remove the trial's folder and run it again") from error
