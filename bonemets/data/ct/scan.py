"""Axial CT, single slices and whole series, as displayed: DICOM, NIfTI and pictures."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bonemets.data.ct.dicom import read_series
from bonemets.data.files import write_nifti
from bonemets.data.headers import header_numbers
from bonemets.data.planar.formats import IMAGE_SUFFIXES, NIFTI_SUFFIXES, read_image
from bonemets.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

AIR = -1024.0
DISPLAYED = "PLS"
"""As displayed: rows run to the patient's back, columns to the patient's left, slices to the head."""


@dataclass(eq=False)
class CTScan:
    """Axial CT slices as displayed.

    Args:
        pixels: (H, W, K) float32, K slices from feet to head; Hounsfield units, or the values 0 to 255 of a picture.
        path: the file, or the folder of the series.
        format: kind of that file.
        source_shape: shape of the file's array. DICOM counts as (column, row, slice), the order of ITK and dcm2niix.
        source_affine: (4, 4), indices of that array to RAS mm. For slices that are not evenly spaced, a mean step.
        datasets: for DICOM one data set per slice, in the order of the source's array; else empty.
    """

    pixels: np.ndarray
    path: Path
    format: Literal["dicom", "nifti", "image", "array"]
    source_shape: tuple[int, ...]
    source_affine: np.ndarray
    datasets: tuple[Dataset, ...] = ()

    @property
    def affine(self) -> np.ndarray:
        """(4, 4): row, column and slice as displayed to RAS mm."""
        from nibabel.orientations import inv_ornt_aff

        shape = (*self.source_shape[:3], 1)[:3]
        return np.asarray(self.source_affine @ inv_ornt_aff(_to_display(self.source_affine), shape))

    @property
    def dataset(self) -> Dataset | None:
        """For DICOM the data set of the first slice, which says what all have in common; else None."""
        return self.datasets[0] if self.datasets else None

    @property
    def displayed_datasets(self) -> tuple[Dataset, ...]:
        """The data sets from feet to head, as `pixels` lie; `datasets` has the order of the source's array."""
        return tuple(sorted(self.datasets, key=lambda dataset: header_numbers(dataset, "ImagePositionPatient")[2]))

    @property
    def heights(self) -> np.ndarray:
        """(K,): height of each slice in mm, upward along the patient's axis (RAS z)."""
        if self.datasets:
            return np.array([header_numbers(dataset, "ImagePositionPatient")[2] for dataset in self.displayed_datasets])
        return np.asarray(self.affine[2, 3] + self.affine[2, 2] * np.arange(self.pixels.shape[2]))

    @property
    def depths(self) -> np.ndarray:
        """(K,): place of each slice in mm along the slices' normal, which leans where the gantry is tilted."""
        rows, columns = self.affine[:3, 0], self.affine[:3, 1]
        normal = np.cross(rows, columns)
        normal /= np.linalg.norm(normal)
        normal *= 1.0 if normal[2] >= 0 else -1.0
        if not self.datasets:
            return np.asarray((normal @ self.affine[:3, 2]) * np.arange(self.pixels.shape[2]))
        # DICOM's x and y point to the left and to the back, those of the affine to the right and to the front.
        places = [[float(value) for value in dataset.ImagePositionPatient] for dataset in self.displayed_datasets]
        return np.asarray(np.array(places) @ (normal * (-1.0, -1.0, 1.0)))

    @property
    def spacing(self) -> tuple[float, float]:
        """Row and column spacing in mm."""
        rows, columns = np.linalg.norm(self.affine[:3, :2], axis=0)
        return float(rows), float(columns)


def read_ct(path: Path | str) -> CTScan:
    """Read axial CT from a NIfTI file, an 8-bit picture, a DICOM file (one slice) or a folder with one DICOM series.

    The affine, or the DICOM header, tells how the data lie; pictures are taken as displayed, with a spacing of 1 mm.

    Raises:
        InputError: if it cannot be read or is no axial CT; the message says what to do.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    name = path.name.lower()
    if path.is_file() and name.endswith(NIFTI_SUFFIXES):
        return _read_nifti(path)
    if path.is_file() and name.endswith(IMAGE_SUFFIXES):
        return _read_picture(path)
    return ct_series(path)


def ct_series(path: Path, files: Sequence[Path] | None = None) -> CTScan:
    """A DICOM slice, or a series: of a folder, or of the given files.

    Raises:
        InputError: if it cannot be read or is no axial CT.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array, affine, datasets = read_series(path, files)
    return CTScan(to_display(array, affine), path, "dicom", array.shape, affine, datasets)


def to_display(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """An array of two or three axes in its file's order as displayed: (H, W, K)."""
    from nibabel.orientations import apply_orientation

    volume = array.reshape((*array.shape, 1)[:3])
    return np.ascontiguousarray(apply_orientation(volume, _to_display(affine)))


def from_display(pixels: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `to_display`: (H, W, K) in the order and with the axes of the file.

    Args:
        pixels: as displayed.
        affine: the file's, `CTScan.source_affine`.
        shape: the file's, `CTScan.source_shape`.
    """
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

    back = ornt_transform(axcodes2ornt(DISPLAYED), io_orientation(affine))
    return np.ascontiguousarray(apply_orientation(pixels, back)).reshape(shape)


def write_ct_mask(path: Path | str, mask: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> None:
    """Write a mask as NIfTI on the grid of the CT that it belongs to: its axes, shape and affine.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        mask: (H, W, K), as displayed; stored as uint8.
        affine: `CTScan.source_affine`.
        shape: `CTScan.source_shape`.

    Raises:
        InputError: if the file cannot be written.
    """
    write_nifti(path, from_display(mask.astype(np.uint8), affine, shape), affine, keep_axes=True)


def _to_display(affine: np.ndarray) -> np.ndarray:
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    return np.asarray(ornt_transform(io_orientation(affine), axcodes2ornt(DISPLAYED)))


def _read_nifti(path: Path) -> CTScan:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nib.load(path)
        # An array of records means colors; asarray would make a void array of it.
        array = np.asarray(image.dataobj)  # type: ignore[attr-defined]
    except (ImageFileError, OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as NIfTI; export it again") from error
    if array.dtype.names is not None or array.ndim < 2 or any(size != 1 for size in array.shape[3:]):
        raise InputError(f"{path}: has several values per voxel; give one CT volume or slice in Hounsfield units")
    affine = np.asarray(image.affine)  # type: ignore[attr-defined]
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise InputError(f"{path}: its affine is not invertible; export it again")
    pixels = to_display(array.reshape((*array.shape, 1)[:3]), affine)
    if 1 in pixels.shape[:2]:
        raise InputError(f"{path}: is a single slice that is not axial; give axial slices or the whole volume")
    pixels = np.nan_to_num(pixels.astype(np.float32), nan=AIR, posinf=-AIR, neginf=AIR)
    return CTScan(pixels, path, "nifti", array.shape, affine)


def _read_picture(path: Path) -> CTScan:
    pixels = read_image(path).pixels
    if pixels.min() < 0 or pixels.max() > 255:
        raise InputError(
            f"{path}: holds values up to {pixels.max():g}; a picture of a CT slice has 8 bits, already windowed (give "
            "DICOM or NIfTI for Hounsfield units)"
        )
    # The source's own order is that of the display: rows to the back (-y), columns to the left (-x).
    affine = np.zeros((4, 4))
    affine[1, 0] = affine[0, 1] = -1.0
    affine[2, 2] = affine[3, 3] = 1.0
    return CTScan(pixels, path, "image", pixels.shape, affine)
