"""Chest X-rays with masks of the lung fields.

Layout::

    SOURCE/
      images/NAME.png          or .jpg
      masks/NAME.png           0/255 or 0/1 (lungs); or 1 = the patient's right lung, 2 = left lung
      index.csv                optional: columns file or id, and patientid or patient

The two lungs of a left/right mask become one class: such masks are written again, since 2 means *ignore* in our
label maps. Where a set's masks tell left from right, a mask with only one lung lacks the other one: that image is
left out, and said so. Patients come from ``index.csv``, else as in `pairs`: by the folder, or every image is one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bonemets.data.adapters.base import Adapter, Case, Collection, Options, find_folder
from bonemets.data.adapters.pairs import IMAGE_FOLDERS, INDEX, MASK_FOLDERS
from bonemets.data.lists.pairing import match_folders, plain_cases
from bonemets.data.lists.patients import PatientRule
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError

RIGHT, LEFT = 1, 2


def collect(source: Path, options: Options) -> Collection:
    """Pair radiographs with masks of the lungs, and make one class of left and right."""
    images = find_folder(source, IMAGE_FOLDERS, "radiographs")
    masks = find_folder(source, MASK_FOLDERS, "masks of the lungs")
    index = source / INDEX
    patients = PatientRule(source, options, table=index if index.is_file() else None, roots=(images,))
    pairs, problems = match_folders(images, masks, source)
    cases = plain_cases(pairs, patients, source)
    values = [_mask_values(case) for case in cases]
    notes = []
    if any(LEFT in found for found in values):
        one_lung = [
            case for case, found in zip(cases, values, strict=True) if found & {RIGHT, LEFT} in ({RIGHT}, {LEFT})
        ]
        cases = [_merge_lungs(case) if LEFT in found else case for case, found in zip(cases, values, strict=True)]
        left_out = {case.image for case in one_lung}
        cases = [case for case in cases if case.image not in left_out]
        names = ", ".join(case.image.name for case in one_lung)
        if one_lung:
            notes.append(f"left out, since only one lung is drawn: {names}")
    return Collection(cases, problems + patients.problems, notes, patient_rule=patients.rule)


def _mask_values(case: Case) -> set[float]:
    assert case.label is not None
    try:
        return set(np.unique(read_planar(case.label).pixels).tolist())
    except InputError:
        # Reported with all other problems when the cases are checked.
        return set()


def _merge_lungs(case: Case) -> Case:
    def read_label(scan: PlanarScan) -> np.ndarray:
        assert case.label is not None
        label = read_planar(case.label).pixels
        return np.where(label == LEFT, RIGHT, label)

    return replace(case, read_label=read_label)


ADAPTER = Adapter(
    name="cxr-lung",
    title="Chest X-ray lung fields",
    modality="CR",
    collect=collect,
    labels=("background", "lung", "ignore"),
)
