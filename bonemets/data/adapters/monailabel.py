"""A MONAI Label datastore (local folder) with labels that an annotator has submitted.

Layout, as the MONAI Label server keeps it::

    SOURCE/
      datastore_v2.json        names the images' folder (default: SOURCE itself)
      IMAGE.nii.gz             or any other format of images
      labels/
        final/IMAGE.nii.gz     submitted by an annotator: used
        original/IMAGE.nii.gz  proposed by a model: not used

Images without a final label are left out, and counted. Labels are taken in the image's own grid, also where MONAI
Label wrote them with a leading axis of size 1 or without an affine, and written again. Scans with two views become
one pair per view, a CT volume one pair per slice. Label values: 1 lesion, 2 ignore.

There is a format for each modality: ``monailabel`` takes bone scans, ``monailabel-ct`` CT, ``monailabel-picture`` color
pictures. A datastore of ``bonemets label`` says what each of its images is; those of other modalities are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from bonemets.data.adapters.base import (
    NIFTI_SUFFIXES,
    NRRD_SUFFIXES,
    Adapter,
    Case,
    CaseError,
    Collection,
    Options,
    find_folder,
    list_files,
)  # fmt: skip
from bonemets.data.adapters.nm_itksnap import label_on_scan
from bonemets.data.ct.scan import CTScan, read_ct
from bonemets.data.grids import Grid, OtherGridError, is_plain, load_nifti, load_nrrd, on_grid, on_picture
from bonemets.data.lists.pairing import match_folders, plain_cases
from bonemets.data.lists.patients import PatientRule
from bonemets.data.open_picture import mask_values
from bonemets.data.planar.scan import PlanarScan
from bonemets.errors import InputError

DATASTORE = "datastore_v2.json"


def collect(source: Path, options: Options, modality: str = "NM") -> Collection:
    """Pair the datastore's images of a modality with their final labels."""
    images, labels, modalities = _datastore(source)
    final = find_folder(find_folder(source, (labels,), "labels"), ("final",), "submitted labels")
    patients = PatientRule(source, options, roots=(images,))
    files = list_files(images, deep=False)
    pairs, problems = match_folders(images, final, source, images=files, unlabeled=True)

    def is_wanted(image: Path) -> bool:
        return modalities.get(image.name, modality) == modality

    cases = plain_cases([pair for pair in pairs if is_wanted(pair[0])], patients, source)
    in_grid = _slices if modality == "CT" else _in_image_grid
    wanted = sum(map(is_wanted, files))
    left = wanted - len(cases)
    notes = [f"{left} of {wanted} images have no final label and are left out"] if left else []
    cases = [each for case in cases for each in in_grid(case)]
    return Collection(cases, problems + patients.problems, notes, patient_rule=patients.rule)


def label_in_grid_of(scan: PlanarScan, path: Path) -> np.ndarray:
    """A label map as displayed, (H, W, V), on the scan's pixels.

    The label's affine tells how its axes lie on those of the scan's file; a label that does not say has the same axes.

    Raises:
        InputError: if it cannot be read.
        CaseError: if it is of another size, or lies elsewhere than the scan.
    """
    name = path.name.lower()
    if not name.endswith((*NIFTI_SUFFIXES, *NRRD_SUFFIXES)):
        return mask_values(path)[..., None]
    if scan.format == "dicom":
        return label_on_scan(scan, path)
    array, own = load_nifti(path) if name.endswith(NIFTI_SUFFIXES) else load_nrrd(path)
    try:
        if scan.grid is None:
            return on_picture(array, own, scan.shape[:2], rows_first=False)[..., None]
        target = Grid(scan.grid.shape, scan.grid.affine, is_placed=not is_plain(scan.grid.affine))
        return scan.grid.to_display(on_grid(array, own, target))
    except OtherGridError as error:
        message = str(error).format("the image" if error.is_size else f"the image {scan.path.name}")
        raise CaseError("size", f"{path}: {message}; label the image itself, or export the label again") from error


def _in_image_grid(case: Case) -> Iterator[Case]:
    def read_label(scan: PlanarScan) -> np.ndarray:
        assert case.label is not None
        return label_in_grid_of(scan, case.label)

    yield replace(case, read_label=read_label)


def _slices(case: Case) -> Iterator[Case]:
    """The slices of a CT, each to be written to a file of its own; an 8-bit picture of a slice is used as it is."""
    assert case.label is not None
    scan = _volume(case.image)
    for index in range(scan.pixels.shape[2]):
        read_label = partial(_read_slice_label, case.label, index)
        if scan.format == "image":
            yield replace(case, view="axial", read_label=read_label)
        else:
            name = f"{case.name}/{index + 1:03d}"
            read_image = partial(_read_slice, case.image, index)
            yield replace(case, view="axial", name=name, read_image=read_image, read_label=read_label)


def _read_slice(path: Path, index: int) -> PlanarScan:
    scan = _volume(path)
    affine = scan.affine.copy()
    affine[:3, 3] += index * affine[:3, 2]
    return PlanarScan(scan.pixels[..., index : index + 1], ("axial",), scan.spacing, path, "nifti", affine=affine)


def _read_slice_label(path: Path, index: int, image: PlanarScan) -> np.ndarray:
    # Called with the slice's image, which says nothing that is not known here.
    label = _volume(path).pixels
    if index >= label.shape[2]:
        raise InputError(f"{path}: has {label.shape[2]} slices, fewer than its image; export it again")
    return label[..., index : index + 1]


def _volume(path: Path) -> CTScan:
    return _read_volume(path, path.stat().st_mtime_ns)


# An image and its label: their slices are read one after the other. The time tells a file that was replaced.
@lru_cache(maxsize=2)
def _read_volume(path: Path, changed: int) -> CTScan:
    return read_ct(path)


def _datastore(source: Path) -> tuple[Path, str, dict[str, str]]:
    """The folder of the images, the name of the labels' folder, and the modality of the images that have one."""
    path = source / DATASTORE
    if not path.is_file():
        return source, "labels", {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        images = {name: entry["image"] for name, entry in (document.get("objects") or {}).items()}
        modalities = {
            f"{name}{image.get('ext', '')}": image["info"]["modality"]
            for name, image in images.items()
            if "modality" in (image.get("info") or {})
        }
        return source / (document.get("images_dir") or "."), document.get("labels_dir") or "labels", modalities
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not a MONAI Label datastore ({error}); restore it or remove it") from error


ADAPTER = Adapter(name="monailabel", title="MONAI Label datastore", modality="NM", collect=collect)
ADAPTER_FOR = {
    "NM": ADAPTER,
    "CT": replace(ADAPTER, name="monailabel-ct", modality="CT", collect=partial(collect, modality="CT")),
    "dermoscopy": replace(
        ADAPTER, name="monailabel-picture", modality="dermoscopy", collect=partial(collect, modality="dermoscopy")
    ),
}
