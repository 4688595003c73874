"""What a sweep measured: one measurement per training, or per seed where the folds of a cross-validation are pooled."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bonemets.errors import InputError
from bonemets.metrics.comparison.intervals import resampling_weights
from bonemets.metrics.comparison.pooling import PooledCohort
from bonemets.metrics.comparison.sweeps import PatientTable, read_patients
from bonemets.metrics.evaluation.measures import estimate

Result = Mapping[str, Any]
SIZES = ("patients", "images", "images_lesion_bearing", "lesions")


@dataclass(frozen=True)
class Measurement:
    """One number per metric of a model.

    Args:
        model: the model.
        seed: seed of its trainings.
        folds: fold of each training; more than one where they are pooled.
        estimates: metric → ``value``, ``low`` and ``high`` of its 95 % interval; None where undefined.
        sizes: how many ``patients``, ``images``, ``images_lesion_bearing`` and ``lesions`` were measured.
        data: what ``summary.json`` says of the data.
        patients: the patients' own numbers.
        results: ``result.json`` of the trainings.
    """

    model: str
    seed: int
    folds: tuple[int, ...]
    estimates: dict[str, dict[str, float | None]]
    sizes: dict[str, int]
    data: dict[str, Any]
    patients: PatientTable
    results: tuple[Result, ...]

    def value(self, metric: str) -> float | None:
        """The number itself; None where it is undefined."""
        return self.estimates.get(metric, {}).get("value")


def trial_folder(result: Result) -> str:
    """Name of the folder of a trial, from its result."""
    trial = result["trial"]
    return f"{trial['model']}-fold{trial['fold']}-seed{trial['seed']}"


def measurements(output: Path, results: Sequence[Result], folds: Sequence[int]) -> dict[str, list[Measurement]]:
    """The measurements of each model, in the results' order.

    Measured on the testing part, every training is a measurement. Measured on the held-out folds, the trainings of one
    seed are one: each patient is predicted once, by the network that did not train on it. A seed counts when all of its
    folds are finished.

    Args:
        output: the sweep's folder.
        results: ``result.json`` of each finished trial.
        folds: the folds of the sweep.

    Raises:
        InputError: an evaluation is missing or cannot be read.
    """
    groups: dict[tuple[str, int, int | None], list[Result]] = {}
    for result in results:
        trial = result["trial"]
        fold = trial["fold"] if trial["section"] == "test" else None
        groups.setdefault((trial["model"], trial["seed"], fold), []).append(result)
    found: dict[str, list[Measurement]] = {}
    for (model, _, fold), members in groups.items():
        if fold is not None or {one["trial"]["fold"] for one in members} == set(folds):
            found.setdefault(model, []).append(_measurement(output, members))
    return found


def _measurement(output: Path, results: Sequence[Result]) -> Measurement:
    folders = [output / "trials" / trial_folder(result) / "evaluation" for result in results]
    summaries = [_read_summary(folder / "summary.json") for folder in folders]
    trial = results[0]["trial"]
    tables = [read_patients(folder / "patients.csv") for folder in folders]
    return Measurement(
        model=trial["model"],
        seed=trial["seed"],
        folds=tuple(result["trial"]["fold"] for result in results),
        estimates=summaries[0]["metrics"] if len(results) == 1 else _pooled([f / "cohort.npz" for f in folders]),
        sizes={key: sum(int(summary[key]) for summary in summaries) for key in SIZES},
        data=summaries[0]["data"],
        patients={patient: row for table in tables for patient, row in table.items()},
        results=tuple(results),
    )


def _pooled(paths: Sequence[Path]) -> dict[str, dict[str, float | None]]:
    cohort = PooledCohort(paths)
    weights = resampling_weights(len(cohort.patients), 1000, 0)
    return {
        one.measure.key: {"value": _number(one.value), "low": _number(one.low), "high": _number(one.high)}
        for one in estimate(cohort, weights)
    }


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read; remove the trial's folder and run the sweep again") from error
    return document


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
