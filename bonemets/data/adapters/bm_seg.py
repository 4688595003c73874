"""BM-Seg: bone metastases in CT, 1,517 axial slices of 23 patients, as PNG.

Afnouch et al., "BM-Seg: A new bone metastases segmentation dataset and ensemble of CNN-based segmentation approach",
Expert Systems with Applications 228:120376 (2023).

Layout, one of the two::

    SOURCE/                                    SOURCE/
      images/PATIENT/SLICE.png                   images/PATIENT_SLICE.png       SLICE is a number
      masks/PATIENT/SLICE.png                    masks/PATIENT_SLICE.png

The mask folder may also be called ``bm``, ``bm_masks`` or ``metastases``: BM-Seg has bone masks too, which are not
used. The patient is the sub-folder, else the file's name up to the slice number (``-``, ``_``, space or a dot before
it, and the words ``slice`` and ``img``); ``--patient-pattern`` overrides it. Slices of one patient resemble each
other, so a split by slice would leak: patients stay together.
"""

from __future__ import annotations

import re
from pathlib import Path

from bonemets.data.adapters.base import Adapter, Collection, Options, Problem, find_folder, relative, stem_of
from bonemets.data.adapters.pairs import IMAGE_FOLDERS, MASK_FOLDERS
from bonemets.data.lists.pairing import match_folders, plain_cases
from bonemets.data.lists.patients import PatientRule

METASTASIS_FOLDERS = ("bm", "bm_masks", "metastases", *MASK_FOLDERS)
_SLICE = re.compile(r"[_\-. ]*(?:slices?|img|image)?[_\-. ]+(?:slices?|img|image)?[_\-. ]*\d+$", re.IGNORECASE)


def collect(source: Path, options: Options) -> Collection:
    """Pair the slices with the masks of the metastases."""
    images = find_folder(source, IMAGE_FOLDERS, "CT slices")
    masks = find_folder(source, METASTASIS_FOLDERS, "masks of the metastases")
    pairs, problems = match_folders(images, masks, source)

    def patient_of(image: Path) -> str:
        place = image.relative_to(images).parts
        if len(place) > 1:
            return place[0]
        stem = stem_of(image)
        patient = _SLICE.sub("", stem)
        if patient in ("", stem):
            text = "does not tell its patient; name slices PATIENT_SLICE, use a folder per patient or --patient-pattern"
            problems.append(Problem("patient", relative(image, source), text))
        return patient or stem

    patients = PatientRule(
        source, options, patient_of, "the folder, or the name before the slice's number", roots=(images,)
    )
    cases = plain_cases(pairs, patients, source)
    return Collection(cases, problems + patients.problems, patient_rule=patients.rule)


ADAPTER = Adapter(
    name="bm-seg",
    title="BM-Seg",
    modality="CT",
    collect=collect,
    reference="Afnouch et al., Expert Systems with Applications 228:120376 (2023), doi:10.1016/j.eswa.2023.120376",
    labels=("background", "bone metastasis", "ignore"),
)
