"""Generic pairs of images and masks.

Layout::

    SOURCE/
      images/…/NAME.png        PNG, JPEG, TIFF, BMP, NIfTI or NRRD; or a folder called image, imgs or img
      masks/…/NAME.png         the same place and name, whatever the suffix; NAME_mask, NAME_label, NAME_seg, … too;
                               or a folder called mask, labels, label or segmentations
      index.csv                optional: who is the patient (columns file or id, and patient or patient_id)

Masks hold 0 for background, 1 or 255 for the lesion and, with 1, 2 for pixels to ignore. The patient comes from
``--patient-pattern``, ``--patient-table``, ``index.csv`` or else from the first folder below ``images/``; where there
is none from the file's name without ``ant``/``post``: then every image is a patient of its own.
"""

from __future__ import annotations

from pathlib import Path

from bonemets.data.adapters.base import Adapter, Collection, Options, find_folder
from bonemets.data.lists.pairing import match_folders, plain_cases
from bonemets.data.lists.patients import PatientRule

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "segmentations")
INDEX = "index.csv"


def collect(source: Path, options: Options) -> Collection:
    """Pair ``images/`` with ``masks/``."""
    images = find_folder(source, IMAGE_FOLDERS, "images")
    masks = find_folder(source, MASK_FOLDERS, "masks")
    index = source / INDEX
    patients = PatientRule(source, options, table=index if index.is_file() else None, roots=(images,))
    pairs, problems = match_folders(images, masks, source)
    cases = plain_cases(pairs, patients, source)
    return Collection(cases, problems + patients.problems, patient_rule=patients.rule)


ADAPTER = Adapter(name="pairs", title="Images and masks", modality="unknown", collect=collect)
