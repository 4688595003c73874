"""The CT files of one simulated patient, and the data list of a cohort's slices.

Per slice in ``ct/``: ``slice_01.dcm`` (one series), ``slice_01.nii.gz`` (int16 HU), ``slice_01_label.nii.gz`` (1 in a
metastasis), ``slice_01_lesions.nii.gz`` (numbers of the lesions, as in the bone scan's maps) and
``slice_01_bones.nii.gz``. Slices are numbered from the feet to the head. They are chosen, not contiguous, so every one
is an image of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bonemets.data.files import nifti_bytes
from bonemets.dicom.ct import CTHeader, ct_bytes

if TYPE_CHECKING:
    from bonemets.simulation.ct.slices import SimulatedCT

FOLDER = "ct"


def slice_affine(origin: np.ndarray, pixel: float, thickness: float) -> np.ndarray:
    """The affine (RAS, mm) of a slice stored as (row, column): rows go to the back (-y), columns to the left (-x).

    Args:
        origin: first pixel's center in DICOM's patient coordinates (to the left, to the back, to the head).
        pixel: pixel size in mm.
        thickness: slice thickness in mm.

    Returns:
        (4, 4) matrix.
    """
    affine = np.zeros((4, 4))
    affine[1, 0] = affine[0, 1] = -pixel
    affine[2, 2], affine[3, 3] = thickness, 1.0
    affine[:3, 3] = -origin[0], -origin[1], origin[2]
    return affine


def slice_name(number: int) -> str:
    """Name of a slice's files without suffix, inside the patient's folder; ``number`` from 1."""
    return f"{FOLDER}/slice_{number:02d}"


def ct_contents(name: str, seed: int, ct: SimulatedCT, person: dict[str, Any]) -> dict[str, bytes]:
    """Every CT file of a patient.

    Args:
        name: the patient's name.
        seed: seed of the cohort.
        ct: the slices.
        person: sex, age_years, height_m and weight_kg.

    Returns:
        Path inside the patient's folder → content.
    """
    contrast = "" if ct.parameters["contrast"] == "unenhanced" else str(ct.parameters["contrast"])
    header = CTHeader(
        name,
        series_description="Simulated CT, chosen slices",
        sex=person["sex"],
        age_years=person["age_years"],
        height_m=person["height_m"],
        weight_kg=person["weight_kg"],
        thickness=ct.thickness,
        contrast=contrast,
    )
    contents = {}
    for index, origin in enumerate(ct.origin):
        file = slice_name(index + 1)
        image = ct.hu[index]
        contents[f"{file}.dcm"] = ct_bytes(image, origin, ct.pixel, index + 1, header, study=f"seed {seed}")
        affine = slice_affine(origin, ct.pixel, ct.thickness)
        for suffix, array in (
            ("", image),
            ("_label", ct.label[index]),
            ("_lesions", ct.lesions[index]),
            ("_bones", ct.bones[index]),
        ):
            contents[f"{file}{suffix}.nii.gz"] = nifti_bytes(array, affine)
    return contents


def ct_datalist(document: dict[str, Any], slices: dict[str, list[int]]) -> dict[str, Any]:
    """The data list of a cohort's slices, with folds and test part as in the data list of its bone scans.

    Args:
        document: the data list of the scans.
        slices: patient → lesion pixels of each of its slices.

    Returns:
        The document to write as ``datalist_ct.json``.
    """
    fold_of = {item["patient"]: item["fold"] for item in document["training"]}
    tested = list(dict.fromkeys(item["patient"] for item in document["testing"]))
    training = [
        {**_item(patient, number), "fold": fold}
        for patient, fold in fold_of.items()
        for number in range(1, len(slices[patient]) + 1)
    ]
    testing = [_item(patient, number) for patient in tested for number in range(1, len(slices[patient]) + 1)]
    positive = sum(pixels > 0 for counts in slices.values() for pixels in counts)
    return {
        "name": document["name"].replace("bone scans", "CT slices"),
        "description": f"Simulated axial CT slices, {positive} of {len(training) + len(testing)} with metastases; "
        "no person. Folds and test part by patient, the same as in datalist.json.",
        "modality": "CT",
        "licence": document["licence"],
        "numFolds": document["numFolds"],
        "numTraining": len(training),
        "numTest": len(testing),
        "labels": {"0": "background", "1": "lesion"},
        "training": training,
        "testing": testing,
    }


def _item(patient: str, number: int) -> dict[str, Any]:
    file = f"{patient}/{slice_name(number)}"
    return {"image": f"{file}.nii.gz", "label": f"{file}_label.nii.gz", "patient": patient, "view": "axial"}
