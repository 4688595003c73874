"""A MONAI Label datastore (local folder) with labels that an annotator has submitted.

Layout, as the MONAI Label server keeps it::

    SOURCE/
      datastore_v2.json        names the images' folder (default: SOURCE itself)
      IMAGE.nii.gz             or any other planar format
      labels/
        final/IMAGE.nii.gz     submitted by an annotator: used
        original/IMAGE.nii.gz  proposed by a model: not used

Images without a final label are left out, and counted. Labels are taken in the image's own grid, also where MONAI
Label wrote them with a leading axis of size 1 or without an affine, and written anew. Scans with two views become
one pair per view. Label values: 1 lesion, 2 ignore.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from bonemets.data.adapters.base import NIFTI_SUFFIXES, Adapter, Case, Collection, Options, find_folder, list_files
from bonemets.data.adapters.pairing import match_folders, plain_cases
from bonemets.data.adapters.patients import PatientRule
from bonemets.data.planar import PlanarScan
from bonemets.data.study import read_planar
from bonemets.errors import InputError

DATASTORE = "datastore_v2.json"


def collect(source: Path, options: Options) -> Collection:
    """Pair the datastore's images with their final labels."""
    images, labels = _folders(source)
    final = find_folder(find_folder(source, (labels,), "labels"), ("final",), "submitted labels")
    patients = PatientRule(source, options)
    files = list_files(images, deep=False)
    pairs, problems = match_folders(images, final, source, images=files, unlabeled=True)
    cases = [_in_image_grid(case) for case in plain_cases(pairs, patients, source)]
    notes = [f"{len(files) - len(pairs)} of {len(files)} images have no final label and are left out"]
    return Collection(cases, problems + patients.problems, notes if len(pairs) < len(files) else [])


def label_in_grid_of(scan: PlanarScan, path: Path) -> np.ndarray:
    """A label map as displayed, (H, W, V), from a file that has the axes of the scan's own file.

    Raises:
        InputError: if it cannot be read.
    """
    if scan.grid is None or not path.name.lower().endswith(NIFTI_SUFFIXES):
        return read_planar(path).pixels
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        array = np.squeeze(np.asarray(nib.load(path).dataobj))  # type: ignore[attr-defined]
    except (ImageFileError, OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as NIfTI ({error}); export it again") from error
    if array.shape == tuple(size for size in scan.grid.shape if size > 1):
        return scan.grid.to_display(array)
    return read_planar(path).pixels


def _in_image_grid(case: Case) -> Case:
    def read_label(scan: PlanarScan) -> np.ndarray:
        assert case.label is not None
        return label_in_grid_of(scan, case.label)

    return replace(case, read_label=read_label)


def _folders(source: Path) -> tuple[Path, str]:
    """The folder of the images and the name of the labels' folder."""
    path = source / DATASTORE
    if not path.is_file():
        return source, "labels"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return source / (document.get("images_dir") or "."), document.get("labels_dir") or "labels"
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is not a MONAI Label datastore ({error}); restore it or remove it") from error


ADAPTER = Adapter(name="monailabel", title="MONAI Label datastore", modality="NM", collect=collect)
