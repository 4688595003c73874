"""Axial CT series in DICOM: which files belong to it, where each slice lies, and its Hounsfield units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bonemets.data.headers import header_numbers
from bonemets.data.planar.nuclear import DECODING_ERRORS, UnsuitableError, decode_pixels, load_dataset
from bonemets.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2.1"
# Cosine of the angle between the slices' normal and the body's axis; scanner gantries tilt by up to 30 degrees.
MINIMUM_AXIAL = 0.85


def read_series(path: Path, files: Sequence[Path] | None = None) -> tuple[np.ndarray, np.ndarray, tuple[Dataset, ...]]:
    """Read one slice (a file) or the slices of one series (a folder), sorted along their normal.

    In a folder, files that are no CT slices (reports, segmentations, localizers) are skipped.

    Args:
        path: file or folder; messages name it.
        files: the series' files; by default the file, or all in the folder.

    Returns:
        (column, row, slice) float32 Hounsfield units; (4, 4) affine to RAS mm; the slices' data sets.

    Raises:
        InputError: if there are no axial slices, or slices of several series, sizes or directions.
    """
    if files is None:
        slices = [_read_slice(path)] if path.is_file() else _read_slices(_dicom_files(path), path)
    else:
        slices = _read_slices(files, path)
    normal = np.cross(*_directions(slices[0]))
    slices.sort(key=lambda dataset: float(normal @ _position(dataset)))
    _check_series(slices, path)
    pixels = np.stack([decode_pixels(dataset, path)[0].T for dataset in slices], axis=-1)
    return pixels, _affine(slices, normal), tuple(slices)


def files_by_series(files: Iterable[Path]) -> list[list[Path]]:
    """The CT images among files, told by their headers: one list for each series of each patient.

    An image that is there twice, with the same identifier at the same place, counts once. Some programs give all slices
    the same identifier or none: those are no copies.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    tags = ["SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "PatientID", "ImagePositionPatient"]
    series: dict[tuple[str, str], dict[object, Path]] = {}
    for file in files:
        try:
            header = pydicom.dcmread(file, specific_tags=[*tags, "InstanceNumber"], stop_before_pixels=True)
        except (InvalidDicomError, *DECODING_ERRORS):
            # What is wrong is told where it is read.
            continue
        kind = header.get("SOPClassUID")
        # Dose reports and screenshots of a CT have its modality too, but another class.
        if kind in (CT_STORAGE, ENHANCED_CT_STORAGE) or (kind is None and header.get("Modality") == "CT"):
            owner = (str(header.get("PatientID") or "").strip(), str(header.get("SeriesInstanceUID")))
            place = (tuple(header_numbers(header, "ImagePositionPatient")), str(header.get("InstanceNumber")))
            instance = str(header.get("SOPInstanceUID") or "")
            series.setdefault(owner, {}).setdefault((instance, place) if instance else file, file)
    return [list(instances.values()) for instances in series.values()]


def _dicom_files(folder: Path) -> list[Path]:
    found = []
    for file in sorted(folder.iterdir()):
        if not file.is_file() or file.name.startswith(".") or file.name.upper() == "DICOMDIR":
            continue
        with file.open("rb") as content:
            is_dicom = content.read(132)[128:] == b"DICM"
        if is_dicom or file.suffix.lower() in (".dcm", ".ima", ".dicom"):
            found.append(file)
    return found


def _read_slices(files: Iterable[Path], path: Path) -> list[Dataset]:
    slices, problem = [], None
    for file in files:
        try:
            slices.append(_read_slice(file))
        except UnsuitableError as error:
            problem = problem or error
    if not slices:
        raise problem or InputError(f"{path}: holds no DICOM file; give the folder of an axial CT series")
    return slices


def _read_slice(path: Path) -> Dataset:
    dataset = load_dataset(path)
    kind, modality = dataset.get("SOPClassUID"), str(dataset.get("Modality") or "unknown")
    if kind == ENHANCED_CT_STORAGE:
        raise UnsuitableError(f"{path}: is an enhanced (multi-frame) CT; convert it to single slices or NIfTI")
    if kind != CT_STORAGE and modality != "CT":
        raise UnsuitableError(f"{path}: is a DICOM object of modality {modality}; give axial CT slices")
    if "LOCALIZER" in (dataset.get("ImageType") or []):
        raise UnsuitableError(f"{path}: is a localizer; give axial CT slices")
    if "PixelData" not in dataset:
        raise InputError(f"{path}: has no pixel data; export the images, not only the headers")
    needed = (("ImageOrientationPatient", 6), ("ImagePositionPatient", 3), ("PixelSpacing", 2))
    missing = [name for name, size in needed if len(header_numbers(dataset, name)) != size]
    if missing or min(_spacing(dataset)) <= 0:
        missing = missing or ["positive PixelSpacing"]
        raise InputError(f"{path}: has no {', '.join(missing)}; export it again as standard CT")
    if abs(np.cross(*_directions(dataset))[2]) < MINIMUM_AXIAL:
        raise UnsuitableError(f"{path}: is not axial; give the axial series")
    return dataset


def _check_series(slices: Sequence[Dataset], path: Path) -> None:
    first = slices[0]
    if len({str(dataset.get("SeriesInstanceUID")) for dataset in slices}) > 1:
        raise InputError(f"{path}: holds slices of several series; put each series into a folder of its own")
    for dataset in slices[1:]:
        same = (dataset.Rows, dataset.Columns) == (first.Rows, first.Columns)
        same = same and np.allclose(_directions(dataset), _directions(first), atol=1e-3)
        if not same or not np.allclose(_spacing(dataset), _spacing(first), atol=1e-3):
            raise InputError(f"{path}: its slices differ in size, pixel spacing or direction; give one series")
    positions = np.array([_position(dataset) for dataset in slices])
    if len(slices) > 1 and np.linalg.norm(np.diff(positions, axis=0), axis=1).min() < 0.01:
        raise InputError(f"{path}: has two slices at the same place (two phases?); give one of them")
    if len({str(dataset.get("SOPInstanceUID") or "") for dataset in slices}) < len(slices):
        text = "has slices with one SOPInstanceUID, or none, so results could not refer to them"
        raise InputError(f"{path}: {text}; export it again, or convert it to NIfTI")


def _affine(slices: Sequence[Dataset], normal: np.ndarray) -> np.ndarray:
    """(column, row, slice) to RAS mm."""
    first = slices[0]
    along_columns, along_rows = _directions(first)
    row_spacing, column_spacing = _spacing(first)
    step = normal * ((header_numbers(first, "SliceThickness") or [0.0])[0] or 1.0)
    if len(slices) > 1:
        step = (_position(slices[-1]) - _position(first)) / (len(slices) - 1)
    affine = np.eye(4)
    affine[:3] = np.stack([along_columns * column_spacing, along_rows * row_spacing, step, _position(first)], axis=1)
    # DICOM's x and y point to the left and to the back, NIfTI's to the right and to the front.
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _directions(dataset: Dataset) -> np.ndarray:
    """(2, 3): where the column index grows, and where the row index grows."""
    return np.array(header_numbers(dataset, "ImageOrientationPatient")).reshape(2, 3)


def _position(dataset: Dataset) -> np.ndarray:
    return np.array(header_numbers(dataset, "ImagePositionPatient"))


def _spacing(dataset: Dataset) -> tuple[float, float]:
    rows, columns = header_numbers(dataset, "PixelSpacing")
    return rows, columns
