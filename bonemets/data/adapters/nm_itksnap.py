"""Bone-scan DICOM with labels that were drawn in ITK-SNAP and saved as NIfTI.

Layout, one of::

    SOURCE/…/NAME.dcm  NAME.nii.gz                        same name; NAME_label, NAME_seg, … too
    SOURCE/…/FOLDER/ANY.dcm  ANY.nii.gz                   one DICOM object and one label file in a folder
    SOURCE/…/FOLDER/ANY.dcm  ANT.nii.gz  POST.nii.gz      one object of two views, a label file per view

A DICOM object is a planar scan of one or two views. Label values: 1 lesion, 2 ignore (not: a second kind of lesion).
A scan without lesions needs an empty label file.

ITK-SNAP counts a label's axes as (column, row, frame) in the DICOM object's own order. Here each label frame is put
onto its view as displayed: a posterior frame may come first, a frame may be stored feet first, converters such as
dcm2niix turn the rows round (the label's affine tells), and label files of this package have (row, column). Image and
label are then written as one pair of NIfTI files per view. Patients are pseudonyms of DICOM's patient ID (see
``--salt``): no identifier, date or file name of the source gets into what is written.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bonemets.data.adapters.base import (
    NIFTI_SUFFIXES,
    Adapter,
    Case,
    CaseError,
    Collection,
    Options,
    Problem,
    list_files,
    relative,
    stem_of,
)  # fmt: skip
from bonemets.data.lists.pairing import without_label_ending
from bonemets.data.lists.patients import PatientRule, pseudonym
from bonemets.data.lists.spellings import one_spelling
from bonemets.data.planar.geometry import VIEWS, Layout, orient_grid, view_from_name
from bonemets.data.planar.nuclear import read_dicom
from bonemets.data.planar.scan import PlanarScan
from bonemets.errors import InputError

Pair = tuple[Path, tuple[Path, ...]]


@dataclass(frozen=True)
class Header:
    """What a DICOM object says about itself, without its pixels.

    Args:
        patient: DICOM's patient ID; may be empty.
        study: date, time and identifier of the study.
        views: its views.
    """

    patient: str
    study: tuple[str, str, str]
    views: tuple[str, ...]


def collect(source: Path, options: Options) -> Collection:
    """Pair DICOM objects with label files, folder by folder."""
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give the folder with the DICOM objects and their labels")
    result = Collection()
    pairs: list[Pair] = []
    for folder in sorted({source, *(path.parent for path in list_files(source, ("",)))}):
        pairs += _pair_folder(folder, source, result.problems)
    headers: dict[Path, Header] = {}
    for path, _ in pairs:
        try:
            headers[path] = _header(read_dicom(path))
        except InputError as error:
            text = str(error).removeprefix(f"{path}: ")
            result.problems.append(Problem("unreadable", relative(path, source), text))

    def identifier_of(path: Path) -> str:
        if not headers[path].patient:
            text = "has no patient ID; add one, or give --patient-pattern"
            result.problems.append(Problem("patient", relative(path, source), text))
        return headers[path].patient or path.name

    patient_of = PatientRule(source, options, identifier_of, "DICOM's patient ID")
    patient_of.see(list(headers))
    identifiers = {path: patient_of(path) for path in headers}
    # Before they become pseudonyms, from which nobody can see that two IDs differ in spelling only.
    shared, several = one_spelling(identifiers.values())
    patients = {path: pseudonym(shared[identifier], options.salt) for path, identifier in identifiers.items()}
    if several:
        count = sum(map(len, several))
        result.notes.append(f"{count} patient IDs that differ in case, blanks or zeros only count as {len(several)}")
    names = _names(headers, patients)
    result.cases = [
        _case(path, labels, patients[path], names[path], headers[path].views)
        for path, labels in pairs
        if path in headers
    ]
    result.problems += patient_of.problems
    result.patient_rule = patient_of.rule
    if not options.salt:
        result.notes.append("pseudonyms were made without --salt: whoever can guess a patient ID can check the guess")
    return result


def label_on_scan(scan: PlanarScan, path: Path) -> np.ndarray:
    """A label file as displayed, on the scan's views.

    Args:
        scan: the scan that was read from the DICOM object.
        path: the NIfTI label.

    Returns:
        (H, W, V), or another shape where the label does not fit the scan.

    Raises:
        InputError: if it cannot be read.
    """
    array, affine = _load(path)
    named = view_from_name(path.name)
    if np.argmax(np.abs(affine[:3, 0])) == 2:
        # The first axis runs along the body: rows first, as this package and not ITK has it.
        pictured = named or (scan.views[0] if len(scan.views) == 1 and scan.views[0] in VIEWS else None)
        grid, _ = orient_grid(array.shape, affine, pictured if array.shape[2] == 1 else None)
        images = grid.to_display(array)
        order = list(range(len(scan.views)))
        layouts = [Layout()] * len(order)
    else:
        images, order, layouts = _stored(array, affine, scan)
    if images.shape[2] == 1 and named in scan.views:
        index = scan.views.index(named)
        view = layouts[index].show(images[..., 0])
        on_view = np.zeros((*view.shape, len(scan.views)), images.dtype)
        on_view[..., index] = view
        return on_view
    stored_frames = int(scan.frames[0].dataset.get("NumberOfFrames") or 1)
    if images.shape[2] not in (stored_frames, len(scan.views)) or max(order) >= images.shape[2]:
        return images
    return np.stack([layout.show(images[..., n]) for n, layout in zip(order, layouts, strict=True)], axis=-1)


def _case(path: Path, labels: tuple[Path, ...], patient: str, name: str, views: tuple[str, ...]) -> Case:
    def read_label(scan: PlanarScan) -> np.ndarray:
        parts = [label_on_scan(scan, label) for label in labels]
        if len({part.shape for part in parts}) > 1:
            raise CaseError("size", f"{labels[0]}: has another size than {labels[1].name}; export both again")
        label = np.max(parts, axis=0)
        if label.shape == scan.shape and (label > 0).any() and (scan.pixels[label > 0] <= 0).mean() > 0.5:
            text = (
                "most of what is drawn lies where the scan has no counts; is it the label of another scan, or mirrored?"
            )
            raise CaseError("pair", f"{labels[0]}: {text}")
        return label

    return Case(
        image=path,
        patient=patient,
        label=labels[0],
        name=name if len(views) > 1 else f"{name}/{views[0]}",
        view=views[0],
        read_image=lambda: read_dicom(path),
        read_label=read_label,
    )


def _pair_folder(folder: Path, source: Path, problems: list[Problem]) -> list[Pair]:
    from pydicom.misc import is_dicom

    files = [path for path in list_files(folder, ("",), deep=False) if path.name.upper() != "DICOMDIR"]
    labels = [path for path in files if path.name.lower().endswith(NIFTI_SUFFIXES)]
    scans = [path for path in files if path not in labels and (path.suffix.lower() == ".dcm" or is_dicom(path))]
    if len(scans) == 1:
        # Nothing else in the folder to mistake it for, so names need not agree.
        views = {view_from_name(label.name) for label in labels}
        if len(labels) == 1 or (len(labels) == 2 and views == {"anterior", "posterior"}):
            return [(scans[0], tuple(labels))]
    pairs: list[Pair] = []
    by_stem = {without_label_ending(stem_of(label)).lower(): label for label in labels}
    for scan in list(scans):
        label = by_stem.get(stem_of(scan).lower()) or by_stem.get(scan.name.lower())
        if label in labels:
            pairs.append((scan, (label,)))
            scans.remove(scan)
            labels.remove(label)
    problems += [
        Problem(
            "pair",
            relative(path, source),
            "has no label; add one of the same name (an empty one if there is no lesion)",
        )
        for path in scans
    ]
    problems += [
        Problem(
            "pair", relative(path, source), "is a label without a DICOM object of the same name; rename or remove it"
        )
        for path in labels
    ]
    return pairs


def _header(scan: PlanarScan) -> Header:
    dataset = scan.frames[0].dataset
    date, time, uid = (str(dataset.get(key) or "") for key in ("StudyDate", "StudyTime", "StudyInstanceUID"))
    return Header(str(dataset.get("PatientID") or "").strip(), (date, time, uid), scan.views)


def _names(headers: dict[Path, Header], patients: dict[Path, str]) -> dict[Path, str]:
    """A folder per patient and, where there are several, per study in order of time."""
    studies: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for path, header in sorted(headers.items(), key=lambda item: item[1].study):
        if header.study not in studies[patients[path]]:
            studies[patients[path]].append(header.study)
    names: dict[Path, str] = {}
    taken: set[tuple[str, str]] = set()
    for path, header in headers.items():
        several = studies[patients[path]]
        base = patients[path] if len(several) == 1 else f"{patients[path]}/study_{several.index(header.study) + 1}"
        name, copy = base, 1
        while any((name, view) in taken for view in header.views):
            copy += 1
            name = f"{base}/scan_{copy}"
        taken |= {(name, view) for view in header.views}
        names[path] = name
    return names


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A label's array, always with three axes, and its affine (RAS mm)."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nib.load(path)
        array = np.asarray(image.dataobj)  # type: ignore[attr-defined]
    except (ImageFileError, OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as NIfTI ({error}); save it again in ITK-SNAP") from error
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3):
        raise InputError(f"{path}: has {array.ndim} axes; a label has columns, rows and frames")
    return array.reshape(*array.shape[:2], -1), np.asarray(image.affine)  # type: ignore[attr-defined]


def _stored(array: np.ndarray, affine: np.ndarray, scan: PlanarScan) -> tuple[np.ndarray, list[int], list[Layout]]:
    """A label of (column, row, frame) with its frame and its layout for each view of the scan.

    Where the affine knows the body it says head first or feet first, whatever the DICOM object does. Else the label has
    the object's own rows, which a converter may have reversed.
    """
    images, down = array.swapaxes(0, 1), affine[:3, 1]
    order = [frame.number - 1 for frame in scan.frames]
    layouts = [frame.layout for frame in scan.frames]
    axis = int(np.argmax(np.abs(down)))
    if axis == 2 and not any(layout.transpose for layout in layouts):
        return images, order, [replace(layout, flip_rows=bool(down[2] > 0)) for layout in layouts]
    # ITK's default for an image without orientation: rows run to +y in LPS, so to -y in RAS.
    return images[:: -1 if down[axis] > 0 else 1], order, layouts


ADAPTER = Adapter(name="nm-itksnap", title="Bone scans with ITK-SNAP labels", modality="NM", collect=collect)
