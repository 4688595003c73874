"""Whether two runs can be compared, and what ``bonemets compare`` says about them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import bonemets
from bonemets.bundle.folders import MACHINE_SETTINGS
from bonemets.errors import InputError
from bonemets.metrics.comparison.paired_runs import COMPARED, PairedMetric, compare_rows
from bonemets.reporting.comparison.tracked_runs import PatientTable, TrackedRun

# What the page says of each run: tag, and what it means.
TAGS = (
    ("stage", "stage"), ("bundle", "bundle"), ("network", "network"), ("overlays", "overlays"),
    ("git_commit", "commit"), ("weights_sha256", "weights"), ("config_sha256", "configuration"),
)  # fmt: skip

# Columns of the table of patients that the page shows.
SHOWN = tuple(metric.column for metric in COMPARED)


def shared_tables(
    first: TrackedRun, second: TrackedRun, section: str | None = None
) -> tuple[PatientTable, PatientTable]:
    """The tables of both runs that are of the same images.

    Args:
        first: a run.
        second: another one.
        section: "validation" or "test"; by default test if both have it, else validation.

    Raises:
        InputError: a run has no table, or they are of other patients or other images of them.
    """
    for run in (first, second):
        if not run.tables:
            raise InputError(
                f"run {run.name} has no table of patients (patients.csv): it is a training without validation, an "
                "inference, or of an older version; evaluate its weights and compare the evaluations"
            )
    wanted = ("test", "validation") if section is None else (section,)
    common = next((name for name in wanted if name in first.tables and name in second.tables), None)
    if common is None:
        has = " and ".join(f"{run.name} has {_listed(run.tables)}" for run in (first, second))
        asked = "" if section is None else f"{section} was asked for, "
        raise InputError(f"the runs have no patients in common: {asked}{has}; evaluate both on the same part")
    a, b = first.tables[common], second.tables[common]
    _check_same(first.name, a, second.name, b)
    return a, b


def _check_same(first: str, a: PatientTable, second: str, b: PatientTable) -> None:
    shared = [patient for patient in a.rows if patient in b.rows]
    sizes = f"{len(shared)} of {len(a.rows)} and {len(b.rows)} patients have the same name in both"
    if a.split != b.split:
        raise InputError(
            f"{first} and {second} were measured on different data lists ({a.split[:12]} and {b.split[:12]}; {sizes}); "
            "evaluate both on one list"
        )
    if a.fold != b.fold or not shared:
        raise InputError(f"{first} was measured on {a}, {second} on {b} ({sizes}); evaluate both on the same part")
    other = [p for p in shared if any(a.rows[p].get(k) != b.rows[p].get(k) for k in ("images", "lesions"))]
    if other:
        raise InputError(
            f"{first} and {second} were measured on different images of the same patients, such as crops and whole "
            f"scans: {len(other)} of {len(shared)} patients do not have the same lesions; evaluate both in the same way"
        )


def compare_runs(
    first: TrackedRun, second: TrackedRun, section: str | None = None, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Compare two runs; what ``comparison.json`` holds.

    Args:
        first: the run that differences are taken from.
        second: the run that is compared with it.
        section: "validation" or "test"; by default test if both have it, else validation.
        resamples: bootstrap resamples for the intervals.
        seed: seed of the resampling.

    Raises:
        InputError: they are not of the same images.
    """
    a, b = shared_tables(first, second, section)
    found = compare_rows(a.rows, b.rows, resamples=resamples, seed=seed)
    return {
        "format": 1,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "bonemets": bonemets.__version__,
        "first": _describe(first),
        "second": _describe(second),
        "data": {
            "name": first.dataset,
            "datalist_sha256": a.split,
            "section": a.section,
            "fold": a.fold,
            "patients": len([patient for patient in a.rows if patient in b.rows]),
            "only_in_first": len([patient for patient in a.rows if patient not in b.rows]),
            "only_in_second": len([patient for patient in b.rows if patient not in a.rows]),
        },
        "interval": "95 %, percentile bootstrap over patients",
        "resamples": resamples,
        "seed": seed,
        "metrics": [_metric(metric, (first, a), (second, b)) for metric in found],
        "parameters": differing_parameters(first, second),
        "patients": patient_rows(a, b),
    }


def differing_parameters(first: TrackedRun, second: TrackedRun) -> list[dict[str, Any]]:
    """Parameters that differ, None where a run has not got one; places and names last, marked as such."""
    names = [*first.parameters, *(name for name in second.parameters if name not in first.parameters)]
    rows = [
        {"name": name, "first": a, "second": b, "place": name in MACHINE_SETTINGS}
        for name in names
        if (a := first.parameters.get(name)) != (b := second.parameters.get(name))
    ]
    return sorted(rows, key=lambda row: bool(row["place"]))


def patient_rows(a: PatientTable, b: PatientTable) -> list[dict[str, Any]]:
    """One row per patient that both have: lesions, and the main columns of both; the largest loss in Dice first."""
    rows = []
    for patient, values in a.rows.items():
        if patient not in b.rows:
            continue
        row: dict[str, Any] = {"patient": patient, "images": values.get("images"), "lesions": values.get("lesions")}
        for column in SHOWN:
            if column in values and column in b.rows[patient]:
                x, y = values[column], b.rows[patient][column]
                row |= {f"{column}_first": _number(x), f"{column}_second": _number(y)}
                row[f"{column}_difference"] = _number(y - x)
        rows.append(row)

    def loss(row: Mapping[str, Any]) -> float:
        difference = row.get("dice_per_image_bearing_difference")
        return math.inf if difference is None else difference

    return sorted(rows, key=loss)


def kept_step(run: TrackedRun, scan: str) -> int:
    """The step of a scan's picture that shows the weights that a run kept: its best epoch, or the newest before it."""
    steps = sorted(run.pictures[scan])
    best = run.metrics.get("best_epoch", steps[-1])
    return max((step for step in steps if step <= best), default=steps[0])


def shared_pictures(first: TrackedRun, second: TrackedRun) -> list[str]:
    """Scans that both runs drew; none where their pictures are of different parts of the data."""
    if first.pictured != second.pictured:
        return []
    return sorted(set(first.pictures) & set(second.pictures))


def _describe(run: TrackedRun) -> dict[str, Any]:
    started = datetime.fromtimestamp(run.started / 1000, UTC).isoformat(timespec="seconds")
    facts = {"run_id": run.run_id, "name": run.name, "experiment": run.experiment, "status": run.status}
    tags = {name: run.tags.get(tag) for tag, name in TAGS}
    return {**facts, **tags, "epoch": run.metrics.get("best_epoch"), "started": started, "seconds": run.seconds}


def _metric(found: PairedMetric, *sides: tuple[TrackedRun, PatientTable]) -> dict[str, Any]:
    values = [run.metrics.get(f"{table.prefix}{found.compared.cohort}") for run, table in sides]
    test = {name: _number(value) if isinstance(value, float) else value for name, value in vars(found.test).items()}
    return {
        **test,
        "label": found.compared.name,
        "cohort_metric": found.compared.cohort,
        "cohort_first": values[0],
        "cohort_second": values[1],
        "higher_is_better": found.compared.higher_is_better,
        "patients_better": found.better,
        "patients_worse": found.worse,
        "patients_equal": found.equal,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _listed(tables: Mapping[str, PatientTable]) -> str:
    return " and ".join(str(table) for table in tables.values())
