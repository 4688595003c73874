"""Reading the predictions and labels of a data list's items: one view, and both on one grid."""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonemets.errors import InputError
from bonemets.metrics.evaluation.matching import PICTURE, SUFFIXES, Case
from bonemets.metrics.lesions import IGNORE, LESION


def read_array(path: Path) -> tuple[NDArray, NDArray[np.float64]]:
    """A NIfTI file's array in the file's own order and its affine; for other formats, as displayed.

    Raises:
        InputError: the file cannot be read.
    """
    if not path.name.endswith(SUFFIXES):
        from bonemets.data.planar.study import read_planar

        scan = read_planar(path)
        return scan.pixels, scan.affine
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nib.load(path)
        return np.asarray(image.dataobj), np.asarray(image.affine)  # type: ignore[attr-defined]
    except (ImageFileError, OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise InputError(f"{path} cannot be read as NIfTI; write it again") from error


def read_label(path: Path) -> tuple[NDArray[np.uint8], tuple[float, float], NDArray[np.float64]]:
    """A label map, its row and column spacing in mm, and its affine.

    Raises:
        InputError: it cannot be read, is not one view, or holds other values than 0, 1, 2 (or 0 and 255).
    """
    array, affine = read_array(path)
    array = np.squeeze(array)
    if array.ndim != 2:
        raise InputError(f"{path} has the shape {array.shape}; a label map is one view, rows and columns")
    if np.any(array == 255) and np.all((array == 0) | (array == 255)):
        array = array == 255
    elif not np.all((array == 0) | (array == LESION) | (array == IGNORE)):
        raise InputError(f"{path} holds other values than 0 background, 1 lesion and 2 ignore (or 0 and 255)")
    rows, columns = (float(np.linalg.norm(affine[:3, axis])) for axis in (0, 1))
    spacing = (rows, columns) if rows > 0 and columns > 0 else (1.0, 1.0)
    return array.astype(np.uint8), spacing, affine


def read_prediction(case: Case, shape: tuple[int, ...], affine: NDArray) -> NDArray[np.float32]:
    """A prediction, (H, W) between 0 and 1, on its label's grid.

    Args:
        case: the item and its files.
        shape: the label's shape.
        affine: the label's affine.

    Raises:
        InputError: it cannot be read, has another shape or lies another way than the label, or is not in 0..1.
    """
    if case.prediction.name.endswith(PICTURE) and case.label.name.endswith(SUFFIXES):
        raise InputError(f"{case.prediction} is a picture and its label {case.label} is NIfTI: write it on that grid")
    if case.of_ct:
        array, own = _slice_of_mask(case, shape, affine), affine
    else:
        array, own = read_array(case.prediction)
    array = np.squeeze(array)
    if case.channel is not None and array.ndim == 3:
        array = array[..., case.channel]
    if array.shape != shape:
        raise InputError(f"{case.prediction} has the shape {array.shape} and its label {case.label} {shape}")
    if case.channel is None and case.label.name.endswith(SUFFIXES) and _turned(own, affine):
        raise InputError(f"{case.prediction} lies another way than its label {case.label}: write it on that grid")
    if case.channel is None and case.label.name.endswith(SUFFIXES) and _moved(own, affine, shape):
        text = "has another origin or spacing than its label"
        raise InputError(f"{case.prediction} {text} {case.label}: write it on that grid")
    values = array.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if high == 255 and not np.any((values > 0) & (values < 255)):
        values, high = np.minimum(values, 1), 1.0
    if not (low >= 0 and high <= 1):
        raise InputError(
            f"{case.prediction} holds values from {low:g} to {high:g}; a prediction is a mask (0 and 1, or 0 and 255) "
            "or a probability from 0 to 1"
        )
    return values


def _slice_of_mask(case: Case, shape: tuple[int, ...], affine: NDArray) -> NDArray:
    """A slice of a CT's mask in the order of its label's file."""
    from bonemets.data.ct.scan import from_display

    shown = _mask_as_displayed(case.prediction, case.prediction.stat().st_mtime_ns)[..., case.channel or 0]
    if not case.label.name.endswith(SUFFIXES):
        return shown
    try:
        return from_display(shown[..., None], affine, shape)
    except ValueError as error:
        raise InputError(f"{case.prediction} has slices of {shown.shape} and its label {case.label} {shape}") from error


@lru_cache(maxsize=1)
def _mask_as_displayed(path: Path, written: int) -> NDArray:
    """(H, W, K); the slices of one CT are asked for in a row. A file that is written anew is read anew."""
    from bonemets.data.ct.scan import read_ct

    return read_ct(path).pixels


def _turned(own: NDArray, other: NDArray) -> bool:
    """Whether two affines say that rows or columns run in different directions (an identity says nothing)."""
    if np.allclose(own, np.eye(4)) or np.allclose(other, np.eye(4)):
        return False
    first, second = (np.where(np.abs(a) > np.abs(a).max() / 2, np.sign(a), 0) for a in (own[:3, :2], other[:3, :2]))
    return not np.array_equal(first, second)


def _moved(own: NDArray, other: NDArray, shape: tuple[int, ...]) -> bool:
    """Whether two affines put a corner of the image a tenth of a pixel apart or more (an identity says nothing)."""
    if np.allclose(own, np.eye(4)) or np.allclose(other, np.eye(4)):
        return False
    rows, columns = (size - 1 for size in shape)
    corners = np.array([[row, column, 0, 1] for row in (0, rows) for column in (0, columns)]).T
    apart = np.linalg.norm(((own - other) @ corners)[:3], axis=0).max()
    return bool(apart > 0.1 * np.linalg.norm(other[:3, :2], axis=0).min())
