"""A cohort of simulated patients: many processes, the same bytes however many, and resumable."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

import bonemets
from bonemets.data.files import write_bytes
from bonemets.data.lists.datalist import write_datalist
from bonemets.data.lists.folds import draw_parts
from bonemets.data.planar.geometry import VIEWS
from bonemets.errors import InputError
from bonemets.simulation.ct.folder import ct_datalist
from bonemets.simulation.patient_folder import content_sha256, is_intact, patient_name, read_record, write_patient
from bonemets.simulation.processes import run_in_processes

if TYPE_CHECKING:
    from bonemets.simulation import SimulatedStudy
    from bonemets.simulation.ct.slices import SimulatedCT
    from bonemets.simulation.skeleton.skeleton import Skeleton

MakeStudy = Callable[[int, int], "SimulatedStudy"]
MakeCT = Callable[[int, int], "SimulatedCT"]
Progress = Callable[[int, int], None]


@lru_cache(maxsize=1)
def _skeleton() -> Skeleton:
    from bonemets.simulation import load_skeleton

    return load_skeleton()


def make_simulated_study(seed: int, patient: int, world: str = "nema") -> SimulatedStudy:
    """Simulate a patient on this process's skeleton, which is loaded once."""
    from bonemets.simulation import simulate_study
    from bonemets.simulation.patient.world import find_world

    return simulate_study(_skeleton(), seed=seed, patient=patient, world=find_world(world))


def make_simulated_ct(seed: int, patient: int) -> SimulatedCT:
    """Simulate a patient's CT slices on this process's skeleton."""
    from bonemets.simulation.ct.slices import simulate_ct

    return simulate_ct(_skeleton(), seed=seed, patient=patient)


def simulate_cohort(
    out: Path | str,
    patients: int,
    seed: int,
    *,
    modality: str = "nm",
    workers: int = 1,
    folds: int = 5,
    test_share: float = 0.2,
    progress: Progress | None = None,
    world: str | None = None,
    make_study: MakeStudy | None = None,
    make_ct: MakeCT = make_simulated_ct,
) -> dict[str, Any]:
    """Write a cohort, or finish or extend the one that is there.

    Each patient depends on seed and number only. A patient's folder appears when it is complete; those found in `out`
    with the same seed and simulator, and with files that match their recorded hashes, are kept. When all are there,
    ``cohort.json`` and ``datalist.json`` (scans) or ``datalist_ct.json`` (CT slices) are written. Folds and test part
    are drawn by patient, stratified by whether a lesion can be seen in the scan; patients keep theirs when the
    cohort is extended.

    Args:
        out: the cohort's folder.
        patients: number of patients.
        seed: seed of the cohort.
        modality: ``"nm"`` bone scans, ``"ct"`` CT slices of the same patients, ``"both"``.
        workers: number of processes; each uses one thread.
        folds: number of folds of the training part, at most its number of patients.
        test_share: share of the patients that is kept for testing.
        progress: called with the numbers of patients that are ready and that are wanted.
        world: what the scans' patients are drawn from (`bonemets.simulation.patient.world`). Default: ``"hospital"``;
            with CT slices, whose patients are those of ``"nema"``, that one.
        make_study: makes a patient from seed and number, in place of the world's; must be importable by name where
            workers > 1.
        make_ct: makes the same patient's CT slices.

    Returns:
        The content of ``cohort.json``.

    Raises:
        InputError: if `out` cannot be written, holds another cohort, or a larger one.
        ValueError: if `modality` is none of the three.
    """
    from bonemets.simulation import SIMULATION_VERSION

    if modality not in ("nm", "ct", "both"):
        raise ValueError(f"modality must be 'nm', 'ct' or 'both', got {modality!r}")
    out = Path(out)
    progress = progress or (lambda done, total: None)
    world = world or default_world(modality)
    make_study = make_study or partial(make_simulated_study, world=world)
    finished = finished_patients(out, patients, seed, modality, world)
    missing = [number for number in range(1, patients + 1) if number not in finished]
    progress(patients - len(missing), patients)
    make = partial(_make_patient, out, seed=seed, modality=modality, make_study=make_study, make_ct=make_ct)
    jobs = (make(number) for number in missing)
    if workers > 1 and len(missing) > 1:
        jobs = run_in_processes(make, missing, min(workers, len(missing)))
    with closing(jobs):
        for done, _ in enumerate(jobs, start=patients - len(missing) + 1):
            progress(done, patients)
    records = [read_record(out / patient_name(number)) for number in range(1, patients + 1)]
    datalist = _datalist(records, seed, folds, test_share)
    if modality != "ct":
        write_datalist(out / "datalist.json", datalist)
    if modality != "nm":
        pixels = {record["patient"]: record["parameters"]["ct"]["lesion_pixels"] for record in records}
        write_datalist(out / "datalist_ct.json", ct_datalist(datalist, pixels))
    cohort = _describe(records, seed, SIMULATION_VERSION, folds, test_share) | {"modality": modality}
    write_bytes(out / "cohort.json", (json.dumps(cohort, indent=1) + "\n").encode())
    return cohort


def default_world(modality: str) -> str:
    """The world that patients are drawn from unless another is named: CT slices are of ``"nema"``'s patients."""
    return "hospital" if modality == "nm" else "nema"


def finished_patients(
    out: Path | str, patients: int, seed: int, modality: str = "nm", world: str | None = None
) -> set[int]:
    """Make the cohort's folder, and find the patients that need not be made again.

    Clears what a run that was killed left half-written.

    Args:
        out: the cohort's folder.
        patients: number of patients wanted.
        seed: seed wanted.
        modality: what is wanted of each, ``"nm"``, ``"ct"`` or ``"both"``.
        world: what its patients are drawn from; see `simulate_cohort`.

    Returns:
        Numbers of the patients whose files are there and are as their records say.

    Raises:
        InputError: if `out` cannot be written, holds another cohort, or a larger one.
    """
    from bonemets.simulation import SIMULATION_VERSION
    from bonemets.simulation.ct.slices import CT_VERSION

    out = Path(out)
    finished = set()
    wanted_of = [("seed", "seed", seed), ("simulator version", "simulation_version", SIMULATION_VERSION)]
    wanted_of += [("modality", "modality", modality)]
    wanted_of += [("world", "world", world or default_world(modality))]
    if modality != "nm":
        wanted_of += [("CT simulator version", "ct_version", CT_VERSION)]
    for folder in sorted(out.glob("patient_*")):
        record = read_record(folder)
        for name, key, wanted in wanted_of:
            there = record.get(key, "nema" if key == "world" else None)  # older records name no world
            if there != wanted:
                found = f"{name} {there}, not {wanted}"
                raise InputError(f"{out} holds a cohort with {found}; choose another folder or remove this one")
        if record["number"] > patients:
            advice = "ask for at least as many, or choose another folder"
            raise InputError(f"{out} holds a cohort of more than {patients} patients; {advice}")
        if is_intact(folder, record):
            finished.add(record["number"])
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            leftovers = list(out.glob(".patient_*.part"))
    except OSError as error:
        raise InputError(
            f"cannot write to {out} ({error.strerror or error}); choose a folder that is writable"
        ) from error
    for leftover in leftovers:
        shutil.rmtree(leftover, ignore_errors=True)
    return finished


def _make_patient(out: Path, number: int, *, seed: int, modality: str, make_study: MakeStudy, make_ct: MakeCT) -> int:
    from bonemets.simulation import SIMULATION_VERSION, target_label

    # One thread: several would fight for the cores, and could sum in another order and change the last digit.
    with threadpool_limits(limits=1):
        study = make_study(seed, number)
        ct = make_ct(seed, number) if modality != "nm" else None
        write_patient(out, number, seed, SIMULATION_VERSION, study, target_label(study), modality=modality, ct=ct)
    return number


def _datalist(records: list[dict[str, Any]], seed: int, folds: int, test_share: float) -> dict[str, Any]:
    bears_lesion = {record["patient"]: any(record["lesion_pixels"].values()) for record in records}
    testing, fold_of, folds = draw_parts(bears_lesion, seed, folds, test_share)
    return {
        "name": f"Simulated bone scans, seed {seed}, {len(records)} patients",
        "description": "Simulated whole-body bone scans; no person. One item per view; folds and test part by patient.",
        "modality": "NM",
        "licence": "Apache-2.0",
        "numFolds": folds,
        "numTraining": len(fold_of) * len(VIEWS),
        "numTest": len(testing) * len(VIEWS),
        "labels": {"0": "background", "1": "lesion", "2": "ignore"},
        "training": [
            {**_item(name, view), "fold": fold_of[name]} for name in bears_lesion if name in fold_of for view in VIEWS
        ],
        "testing": [_item(name, view) for name in bears_lesion if name in testing for view in VIEWS],
    }


def _item(patient: str, view: str) -> dict[str, Any]:
    image, label = f"{patient}/{view}.nii.gz", f"{patient}/{view}_label.nii.gz"
    return {"image": image, "label": label, "patient": patient, "view": view}


def _describe(records: list[dict[str, Any]], seed: int, version: str, folds: int, test_share: float) -> dict[str, Any]:
    """What ``cohort.json`` says: how the cohort came about, every parameter drawn, and a hash over all content."""
    return {
        "description": "Simulated whole-body bone scans; no person. Research use only.",
        "modality": "nm",
        "patients": len(records),
        "seed": seed,
        "simulation_version": version,
        "bonemets_version": bonemets.__version__,
        "folds": folds,
        "test_share": test_share,
        "content_sha256": content_sha256(records),
        "studies": records,
    }
