"""What many trials say together: mean and spread over trials, intervals over patients, models against the first."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bonemets.data.tables import read_csv
from bonemets.errors import InputError
from bonemets.metrics.comparison.comparison import PairedTest, compare_paired
from bonemets.metrics.comparison.intervals import percentile_interval, resampling_weights
from bonemets.metrics.pixel import ratio

# Columns of patients.csv that have a value per patient and can therefore be tested and resampled.
PATIENT_COLUMNS = ("dice_per_image_bearing", "dice_pooled", "sensitivity_iou10", "false_positives_iou10")
# Those that models are compared on; each adds to Holm's correction.
COMPARED = ("dice_per_image_bearing", "sensitivity_iou10", "false_positives_iou10")

PatientTable = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Spread:
    """A metric of a model over its trials (folds and seeds).

    Args:
        mean: mean over the trials in which it is defined.
        sd: their standard deviation (n - 1); NaN for one trial.
        trials: how many they are.
    """

    mean: float
    sd: float
    trials: int


@dataclass(frozen=True)
class PatientMean:
    """A per-patient value of a model, each patient's mean over trials first.

    Args:
        mean: mean over patients.
        low: lower end of the 95 % interval, by bootstrap over patients.
        high: upper end.
        patients: patients with a value.
    """

    mean: float
    low: float
    high: float
    patients: int


def spread(values: Sequence[float | None]) -> Spread:
    """Mean and standard deviation of a metric over trials; None is a trial in which it is not defined."""
    defined = [float(value) for value in values if value is not None and math.isfinite(value)]
    mean = statistics.fmean(defined) if defined else float("nan")
    sd = statistics.stdev(defined) if len(defined) > 1 else float("nan")
    return Spread(mean, sd, len(defined))


def read_patients(path: Path) -> PatientTable:
    """``patients.csv`` of an evaluation: patient → column → value; NaN where the cell is empty.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return {
            row["patient"]: {column: float(row[column] or "nan") for column in PATIENT_COLUMNS}
            for row in read_csv(path)
        }
    except (ValueError, KeyError) as error:
        raise InputError(f"{path} is not a patients.csv of bonemets evaluate; run the sweep again") from error


def mean_over_trials(tables: Sequence[PatientTable]) -> PatientTable:
    """Each patient's mean over the trials that it was measured in; NaN where it never had a value."""
    patients = sorted({patient for table in tables for patient in table})
    result: PatientTable = {}
    for patient in patients:
        rows = [table[patient] for table in tables if patient in table]
        result[patient] = {}
        for column in PATIENT_COLUMNS:
            values = [row[column] for row in rows if math.isfinite(row[column])]
            result[patient][column] = statistics.fmean(values) if values else float("nan")
    return result


def patient_mean(table: PatientTable, column: str, resamples: int = 1000, seed: int = 0) -> PatientMean:
    """Mean over patients with its interval."""
    values = np.array([row[column] for row in table.values()])
    values = values[np.isfinite(values)]
    if not len(values):
        return PatientMean(float("nan"), float("nan"), float("nan"), 0)
    weights = resampling_weights(len(values), resamples, seed)
    low, high = percentile_interval(ratio(weights @ values, weights.sum(axis=1)))
    return PatientMean(float(values.mean()), low, high, len(values))


def compare_models(tables: Mapping[str, PatientTable]) -> dict[str, list[PairedTest]]:
    """Every other model against the first, each patient with itself (Wilcoxon).

    Holm's correction is over all tests together: models × `COMPARED`. Patients that only one of two models was measured
    on are left out.

    Args:
        tables: model → its `mean_over_trials`; the first is the reference.

    Returns:
        Model → one test per metric of `COMPARED`, the difference being model minus reference.
    """
    (reference, first), *others = tables.items()
    known: dict[str, list[float]] = {}
    other: dict[str, list[float]] = {}
    patients = sorted(first)
    for model, table in others:
        for column in COMPARED:
            known[f"{model}\t{column}"] = [first[patient][column] for patient in patients]
            missing = {column: float("nan")}
            other[f"{model}\t{column}"] = [table.get(patient, missing)[column] for patient in patients]
    found: dict[str, list[PairedTest]] = {model: [] for model in tables if model != reference}
    for test in compare_paired(known, other):
        model, _, column = test.metric.partition("\t")
        found[model].append(
            PairedTest(column, test.patients, test.difference, test.low, test.high, test.p, test.p_holm)
        )
    return found
