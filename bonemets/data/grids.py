"""The grids of NIfTI and NRRD files, and putting an array of one grid onto another without resampling.

Programs that read and write an image may permute and reverse its axes, and say so in the affine. An array goes onto
another grid only where its pixels are the pixels of that grid; one that is shifted, scaled or of another size is
refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from bonemets.data.planar.geometry import planar_affine
from bonemets.errors import InputError

# Of a picture and its masks: (column, row), spacing 1. ITK-SNAP and 3D Slicer read a picture so, and write masks so.
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
# Half a pixel, measured at the far corner: programs round what they write.
_TOLERANCE = 0.5


@dataclass(frozen=True, eq=False)
class Grid:
    """Where a file's array lies.

    Args:
        shape: its shape, axes in the file's order.
        affine: (4, 4), file indices to RAS mm.
        is_placed: whether the file says where it lies; an affine that is the identity says nothing.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    is_placed: bool = True

    @property
    def spacing(self) -> tuple[float, ...]:
        """Spacing in mm of the axes that are longer than 1 pixel; 1 where the file does not say."""
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0)
        return tuple(
            float(size) if size > 0 else 1.0
            for size, length in zip(sizes, (*self.shape, 1, 1)[:3], strict=False)
            if length > 1
        )


class OtherGridError(ValueError):
    """An array is not on the wanted grid; the message says in which way, `is_size` whether by its size."""

    def __init__(self, message: str, is_size: bool) -> None:
        super().__init__(message)
        self.is_size = is_size


def load_nifti(path: Path) -> tuple[np.ndarray, Grid]:
    """A NIfTI file's array and grid.

    Raises:
        InputError: if it cannot be read.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image: Any = nib.load(path)
        # An array of records means colors; asarray would make a void array of it.
        array = np.asarray(image.dataobj)
    except (ImageFileError, OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as NIfTI ({_reason(error)}); export it again") from error
    affine = np.asarray(image.affine, dtype=float)
    is_coded = any(int(image.header[code]) > 0 for code in ("sform_code", "qform_code") if code in image.header)
    return array, Grid(array.shape, affine, is_coded and not is_plain(affine))


def load_nrrd(path: Path) -> tuple[np.ndarray, Grid]:
    """An NRRD file's array and grid, through ITK.

    Raises:
        InputError: if it cannot be read, or holds colors.
    """
    import itk

    itk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image = itk.imread(str(path))
        colors = image.GetNumberOfComponentsPerPixel() > 1
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path}: cannot be read as NRRD ({_reason(error)}); export it again") from error
    if colors:
        raise InputError(
            f"{path}: has several values per pixel; give an image with one value (counts or gray) per pixel"
        )
    array = itk.array_from_image(image).transpose()
    affine = np.eye(4)
    direction = np.array(itk.array_from_matrix(image.GetDirection())) @ np.diag(list(image.GetSpacing()))
    size = min(array.ndim, 3)
    affine[:size, :size] = direction[:size, :size]
    affine[:size, 3] = list(image.GetOrigin())[:size]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return array, Grid(array.shape, affine, not is_plain(affine))


def is_plain(affine: np.ndarray) -> bool:
    """Whether an affine is what programs write for an array without any place."""
    return any(np.allclose(affine, each, atol=1e-6) for each in (np.eye(4), PICTURE_AFFINE))


def on_grid(array: np.ndarray, own: Grid, target: Grid) -> np.ndarray:
    """An array in the axes of another grid, by what the affines say.

    An array whose file does not say where it lies has the axes of the other grid; so has one with that grid's very
    affine and an axis of size 1 too many, as MONAI Label writes it.

    Args:
        array: in its own file's order.
        own: its grid.
        target: the grid to put it on.

    Returns:
        The array, of the target's shape.

    Raises:
        OtherGridError: if its pixels are not those of the target.
    """
    if own.is_placed and not _is_of_other_view(own, target):
        for affine in (target.affine, *_default_affines(target)):
            placed = _reordered(array, own.affine, target.shape, affine)
            if placed is not None:
                return placed
    same = not own.is_placed or np.allclose(own.affine, target.affine, rtol=0, atol=1e-3)
    if same and _without_ones(array.shape) == _without_ones(target.shape):
        return array.reshape(target.shape)
    if sorted(_without_ones(array.shape)) != sorted(_without_ones(target.shape)) or not own.is_placed:
        sizes = [" x ".join(map(str, shape)) for shape in (array.shape, target.shape)]
        raise OtherGridError(f"is {sizes[0]} pixels, {{}} {sizes[1]}", is_size=True)
    own_corners, corners = (_corners(grid) for grid in (own, target))
    # Of each corner of the target, how far away the array's nearest corner is.
    apart = np.linalg.norm(own_corners[:, None] - corners[None], axis=-1).min(axis=0).max()
    where = f"lies {apart:.1f} mm from {{}}" if apart > 0.05 else "lies another way than {}"
    raise OtherGridError(f"{where} (shifted, turned or of another spacing)", is_size=False)


def on_picture(array: np.ndarray, own: Grid, size: tuple[int, int], *, rows_first: bool) -> np.ndarray:
    """An array as displayed over a picture, which has no place of its own.

    Args:
        array: in its own file's order.
        own: its grid.
        size: the picture's rows and columns.
        rows_first: whether an array that does not say where it lies has (row, column), as arrays in Python have,
            instead of (column, row), as ITK writes them.

    Returns:
        (rows, columns).

    Raises:
        OtherGridError: if its pixels are not those of the picture.
    """
    height, width = size
    if np.allclose(own.affine, PICTURE_AFFINE, atol=1e-6):
        rows_first = False
    by_columns = Grid((width, height, 1), PICTURE_AFFINE, is_placed=False)
    by_rows = [Grid((height, width, 1), planar_affine(size, (1, 1), view)) for view in ("anterior", "posterior")]
    if not own.is_placed:
        chosen = Grid((height, width, 1), np.eye(4)) if rows_first else by_columns
        image = on_grid(array, own, chosen)[..., 0]
        return image if rows_first else image.T
    for grid in by_rows:
        placed = _reordered(array, own.affine, grid.shape, grid.affine)
        if placed is not None:
            return placed[..., 0]
    return on_grid(array, own, by_columns)[..., 0].T


def _is_of_other_view(own: Grid, target: Grid) -> bool:
    """Whether both are planar images of (row, column), one as the anterior and one as the posterior camera sees it.

    Geometrically the one is the other one reversed, but it was drawn on the other view.
    """
    if own.shape[:2] != target.shape[:2] or np.argmax(np.abs(target.affine[:3, 0])) != 2:
        return False
    turned = np.array(target.affine)
    turned[:3, 3] += turned[:3, 1] * (target.shape[1] - 1)
    turned[:3, 1:3] *= -1
    return _without_ones(own.shape) == own.shape[:2] and np.allclose(own.affine, turned, rtol=0, atol=1e-3)


def _default_affines(target: Grid) -> Iterable[np.ndarray]:
    """What programs take for the affine of a file that does not say where it lies."""
    if not target.is_placed:
        sizes = np.linalg.norm(target.affine[:3, :3], axis=0)
        for signs in ((-1, -1, 1), (1, 1, 1)):
            yield np.diag([*(sizes * signs), 1.0])


def _reordered(array: np.ndarray, own: np.ndarray, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray | None:
    """The array on the grid if its pixels are the grid's, in whatever order; else None."""
    size = _three(array.shape)
    wanted = _three(shape)
    if size is None or wanted is None or sorted(size) != sorted(wanted) or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        return None
    to_target = np.linalg.solve(affine, own)
    flat = array.ndim == 2 or len(shape) == 2
    for order in permutations(range(3)):
        # Axis `axis` of the array runs along axis `order[axis]` of the grid.
        if any(size[axis] != wanted[order[axis]] for axis in range(3)):
            continue
        flips, fits = [], True
        for axis in range(3):
            signed = to_target[:3, axis] * max(size[axis] - 1, 0)
            step = np.zeros(3)
            flips.append(bool(to_target[order[axis], axis] < 0 and size[axis] > 1))
            step[order[axis]] = (-1.0 if flips[-1] else 1.0) * (size[axis] - 1)
            fits = fits and bool(np.abs(signed - step).max() <= _TOLERANCE)
        origin = np.zeros(3)
        for axis in range(3):
            origin[order[axis]] = size[axis] - 1 if flips[axis] else 0
        apart = np.abs(to_target[:3, 3] - origin)
        if flat:
            # A file of two axes does not say how deep it lies.
            apart[order[2]] = 0.0
        if fits and apart.max() <= _TOLERANCE:
            volume = array.reshape(size)
            volume = volume[tuple(slice(None, None, -1 if flip else None) for flip in flips)]
            return np.ascontiguousarray(volume.transpose(np.argsort(order))).reshape(shape)
    return None


def _three(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """A shape with three axes, if those beyond have length 1."""
    if any(length != 1 for length in shape[3:]):
        return None
    first, second, third = (*shape, 1, 1)[:3]
    return first, second, third


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length > 1)


def _corners(grid: Grid) -> np.ndarray:
    """(8, 3) mm."""
    last = np.array((*grid.shape, 1, 1)[:3]) - 1
    indices = np.array([[*(last * corner), 1.0] for corner in np.ndindex(2, 2, 2)])
    return np.asarray((indices @ grid.affine.T)[:, :3])


def _reason(error: BaseException) -> str:
    """The last line of an error's message, short enough for one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:160]
