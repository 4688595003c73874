"""A cohort of simulated dermoscopic pictures: the same bytes for the same seed, resumable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from threadpoolctl import threadpool_limits

import bonemets
from bonemets.data.files import write_bytes
from bonemets.data.lists.datalist import write_datalist
from bonemets.data.lists.folds import draw_parts
from bonemets.errors import InputError
from bonemets.simulation.dermoscopy.image import DERMOSCOPY_VERSION, simulate_dermoscopy
from bonemets.simulation.patient_folder import (
    content_sha256,
    is_intact,
    patient_name,
    read_record,
    write_folder,
)
from bonemets.simulation.processes import run_in_processes

PICTURE, MASK = "picture.jpg", "mask.png"
JPEG_QUALITY = 92


def simulate_picture_cohort(
    out: Path | str,
    patients: int,
    seed: int,
    *,
    workers: int = 1,
    folds: int = 5,
    test_share: float = 0.2,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write a cohort of pictures, one a patient, or finish or extend the one that is there.

    Args:
        out: the cohort's folder.
        patients: number of pictures.
        seed: seed of the cohort.
        workers: number of processes.
        folds: number of folds of the training part, at most its number of pictures.
        test_share: share of the pictures that is kept for testing.
        progress: called with the numbers of pictures that are ready and that are wanted.

    Returns:
        The content of ``cohort.json``.

    Raises:
        InputError: if `out` cannot be written, or holds another cohort.
    """
    out = Path(out)
    report = progress or (lambda done, total: None)
    finished = _finished(out, patients, seed)
    missing = [number for number in range(1, patients + 1) if number not in finished]
    report(patients - len(missing), patients)
    make = partial(_make_picture, out, seed=seed)
    jobs = (make(number) for number in missing)
    if workers > 1 and len(missing) > 1:
        jobs = run_in_processes(make, missing, min(workers, len(missing)))
    with closing(jobs):
        for done, _ in enumerate(jobs, start=patients - len(missing) + 1):
            report(done, patients)
    records = [read_record(out / patient_name(number)) for number in range(1, patients + 1)]
    write_datalist(out / "datalist.json", _datalist(records, seed, folds, test_share))
    cohort = {
        "description": "Simulated dermoscopic pictures; no person. Research use only.",
        "modality": "skin",
        "patients": patients,
        "seed": seed,
        "simulation_version": DERMOSCOPY_VERSION,
        "bonemets_version": bonemets.__version__,
        "folds": folds,
        "test_share": test_share,
        "content_sha256": content_sha256(records),
        "studies": records,
    }
    write_bytes(out / "cohort.json", (json.dumps(cohort, indent=1) + "\n").encode())
    return cohort


def _finished(out: Path, patients: int, seed: int) -> set[int]:
    """Pictures that need not be made again; clears what a run that was killed left half-written."""
    found = set()
    for folder in sorted(out.glob("patient_*")):
        record = read_record(folder)
        if (record.get("modality"), record.get("seed"), record.get("simulation_version")) != (
            "skin",
            seed,
            DERMOSCOPY_VERSION,
        ):
            raise InputError(f"{out} holds another cohort; choose another folder or remove this one")
        if record["number"] > patients:
            advice = "ask for at least as many, or choose another folder"
            raise InputError(f"{out} holds a cohort of more than {patients} pictures; {advice}")
        if is_intact(folder, record):
            found.add(record["number"])
    for leftover in out.glob(".patient_*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
    return found


def _make_picture(out: Path, number: int, *, seed: int) -> int:
    with threadpool_limits(limits=1):
        picture = simulate_dermoscopy(seed, number)
    image, mask = BytesIO(), BytesIO()
    Image.fromarray(picture.pixels).save(image, "JPEG", quality=JPEG_QUALITY)
    Image.fromarray(picture.mask * 255).save(mask, "PNG")
    contents = {PICTURE: image.getvalue(), MASK: mask.getvalue()}
    record = {
        "patient": patient_name(number),
        "number": number,
        "seed": seed,
        "simulation_version": DERMOSCOPY_VERSION,
        "modality": "skin",
        "lesion_pixels": {"picture": int(picture.mask.sum())},
        "parameters": picture.parameters,
    }
    write_folder(out, patient_name(number), contents, record)
    return number


def _datalist(records: list[dict[str, Any]], seed: int, folds: int, test_share: float) -> dict[str, Any]:
    kinds = {record["patient"]: record["parameters"]["kind"] for record in records}
    testing, fold_of, folds = draw_parts(kinds, seed, folds, test_share)
    return {
        "name": f"Simulated dermoscopic pictures, seed {seed}, {len(records)} patients",
        "description": "Simulated dermoscopic pictures; no person. One picture a patient.",
        "modality": "dermoscopy",
        "licence": "Apache-2.0",
        "numFolds": folds,
        "numTraining": len(fold_of),
        "numTest": len(testing),
        "labels": {"0": "background", "1": "lesion", "2": "ignore"},
        "training": [{**_item(name), "fold": fold_of[name]} for name in kinds if name in fold_of],
        "testing": [_item(name) for name in kinds if name in testing],
    }


def _item(patient: str) -> dict[str, Any]:
    return {"image": f"{patient}/{PICTURE}", "label": f"{patient}/{MASK}", "patient": patient, "view": "unknown"}
