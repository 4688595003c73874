"""A cohort of any modality: what `bonemets simulate` and `bonemets.simulate` do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from bonemets.data.files import hold_folder, let_go
from bonemets.errors import InputError

Modality = Literal["nm", "ct", "both", "skin"]


def simulate(
    output: str | Path,
    patients: int = 12,
    seed: int = 0,
    *,
    modality: Modality = "nm",
    world: str | None = None,
    workers: int = 1,
    folds: int = 5,
    test_share: float = 0.2,
    progress: Callable[[int, int], None] | None = None,
    skeleton_progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Write a cohort of simulated patients, or finish or extend the one that is there.

    DICOM, NIfTI images and masks per patient, ``cohort.json``, and ``datalist.json`` (bone scans, dermoscopic images)
    or ``datalist_ct.json`` (CT slices). The same seed gives the same bytes. The first run prepares the skeleton, once,
    for up to a minute.

    Args:
        output: the cohort's folder.
        patients: number of patients.
        seed: seed of the cohort.
        modality: ``"nm"`` whole-body bone scans, ``"ct"`` axial CT slices of the same patients, ``"both"``, or
            ``"skin"`` dermoscopic images.
        world: what the scans' patients are drawn from (`bonemets.simulation.patient.world`): ``"hospital"``; with CT
            slices ``"nema"``.
        workers: number of processes.
        folds: number of cross-validation folds of the training part.
        test_share: share of the patients that is kept for testing.
        progress: called with the numbers of patients that are ready and that are wanted.
        skeleton_progress: called with a few words and the share that is done, 0 to 1, while the skeleton is prepared.

    Returns:
        The content of ``cohort.json``.

    Raises:
        InputError: the folder cannot be written, holds another cohort or is being written by another process, or a
            package that the simulator needs is not installed.
        ValueError: there is no such modality.
    """
    if modality not in get_args(Modality):
        raise ValueError(f"modality must be one of {', '.join(get_args(Modality))}, got {modality!r}")
    hold_folder(output)
    try:
        if modality == "skin":
            from bonemets.simulation.dermoscopy.cohort import simulate_picture_cohort

            return simulate_picture_cohort(
                output, patients, seed, workers=workers, folds=folds, test_share=test_share, progress=progress
            )
        from bonemets.simulation import load_skeleton
        from bonemets.simulation.cohort import finished_patients, simulate_cohort

        if len(finished_patients(output, patients, seed, modality, world)) < patients:
            load_skeleton(progress=skeleton_progress)
        return simulate_cohort(
            output, patients, seed, modality=modality, world=world, workers=workers, folds=folds,
            test_share=test_share, progress=progress,
        )  # fmt: skip
    except ModuleNotFoundError as error:
        raise InputError(f"the simulator needs {error.name}; install it with: pip install 'bonemets[sim]'") from error
    finally:
        let_go(output)
