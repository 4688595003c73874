"""Where a planar image lies: affines, and the way between a file's own axes and the image as displayed.

Arrays in this package are as displayed, ``[row, column]`` with rows head to feet. An affine maps ``(row, column,
depth)`` in pixels to RAS millimetres (x to the patient's right, y to the front, z to the head, as NIfTI has it).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

VIEWS = ("anterior", "posterior")

# "post void" and "post injection" speak of time, not of a view.
_VIEW_WORDS = re.compile(
    r"(?<![a-z])(?:(ant(?:erior)?)|(post(?:erior)?))(?![a-z])(?![\s_.-]*(?:void|mict|inj|dose|op|ther|tx|contrast))"
)


def planar_affine(shape: Sequence[int], spacing: Sequence[float], view: str = "anterior") -> np.ndarray:
    """The affine of a planar view as displayed.

    The row axis points to the feet (-z). The column axis of an anterior (or unknown) view points to the patient's
    left (-x), that of a posterior view to the patient's right (+x): each is seen from its own camera. The middle
    column is x = 0 and the first row z = 0, so the two views of one scan overlay each other. The third axis points
    towards the camera, which makes both affines right-handed.

    Args:
        shape: rows and columns; further axes are ignored.
        spacing: row and column spacing in mm.
        view: ``"anterior"``, ``"posterior"`` or ``"unknown"``.

    Returns:
        A (4, 4) matrix in RAS mm.
    """
    side = 1.0 if view == "posterior" else -1.0
    affine = np.eye(4)
    affine[:3, 0] = (0.0, 0.0, -float(spacing[0]))
    affine[:3, 1] = (side * float(spacing[1]), 0.0, 0.0)
    affine[:3, 2] = (0.0, -side, 0.0)
    affine[0, 3] = -side * float(spacing[1]) * (shape[1] - 1) / 2
    return affine


def view_from_name(name: str) -> str | None:
    """The view that a file name or a header text says: ``ant``, ``anterior``, ``post`` or ``posterior`` as a word.

    Returns:
        ``"anterior"``, ``"posterior"``, or None where neither or both are named.
    """
    found = {"anterior" if ant else "posterior" for ant, _ in _VIEW_WORDS.findall(name.lower())}
    return found.pop() if len(found) == 1 else None


def without_view(name: str) -> str:
    """The name without its view words, equal for the two single-view files of one scan."""
    return _VIEW_WORDS.sub("", name.lower())


@dataclass(frozen=True)
class Layout:
    """How an image is stored, against how it is displayed: one of the eight turns and flips.

    Args:
        transpose: whether the stored first axis is the column as displayed.
        flip_rows: whether rows are counted from the feet.
        flip_columns: whether columns are counted against the direction in which the view is displayed.
    """

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    def show(self, stored: np.ndarray) -> np.ndarray:
        """An image as stored, two axes and any further ones, as displayed."""
        image = stored.swapaxes(0, 1) if self.transpose else stored
        return image[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]

    def store(self, displayed: np.ndarray) -> np.ndarray:
        """The inverse of `show`."""
        image = displayed[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
        return image.swapaxes(0, 1) if self.transpose else image


@dataclass(frozen=True)
class SourceGrid:
    """The grid of the file that a scan was read from, and the way from there to the image as displayed.

    Args:
        shape: shape of the file's array, axes in the file's order (first axis fastest, as NIfTI and ITK count).
        affine: (4, 4), file indices to RAS mm.
        layout: how its array lies.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    layout: Layout = Layout()

    def to_display(self, array: np.ndarray) -> np.ndarray:
        """The file's array (``self.shape``) as displayed, (H, W, V)."""
        return self.layout.show(array.reshape(*self.shape[:2], -1))

    def from_display(self, image: np.ndarray) -> np.ndarray:
        """The inverse of `to_display`: an (H, W, V) array in the file's own grid."""
        return np.ascontiguousarray(self.layout.store(image)).reshape(self.shape)

    def display_affine(self) -> np.ndarray:
        """The affine of what `to_display` returns: (row, column, depth) to RAS mm."""
        layout = self.layout
        row, column = (1, 0) if layout.transpose else (0, 1)
        affine = np.array(self.affine, dtype=float)
        affine[:, :2] = self.affine[:, [row, column]]
        flips = ((0, self.shape[row], layout.flip_rows), (1, self.shape[column], layout.flip_columns))
        for axis, size, flipped in flips:
            if flipped:
                affine[:, 3] += affine[:, axis] * (size - 1)
                affine[:, axis] *= -1
        return affine


def orient_grid(shape: Sequence[int], affine: np.ndarray, named_view: str | None) -> tuple[SourceGrid, str]:
    """Decide how a file's array is displayed upright, and which view a single image shows.

    If an in-plane axis lies closest to the patient's long axis (z), it is the row axis, head first. The column axis
    then tells the view: towards the patient's left is anterior, towards the right posterior; where the file's name
    says otherwise, the columns are mirrored so that the view is displayed as its camera sees it. Without such an
    axis the image has no anatomical frame, and ITK's layout holds: first axis = column, second axis = row.

    Args:
        shape: shape of the file's array: two axes, and one or two views on the third.
        affine: (4, 4), file indices to RAS mm.
        named_view: the view that the file's name says, or None.

    Returns:
        The grid, and ``"anterior"``, ``"posterior"`` or ``"unknown"``.
    """
    directions = np.asarray(affine, dtype=float)[:3, :2]
    vertical = [bool(np.argmax(np.abs(directions[:, axis])) == 2) for axis in (0, 1)]
    if not any(vertical) or not np.abs(directions).max() > 0:
        return SourceGrid(tuple(shape), affine, Layout(transpose=True)), named_view or "unknown"
    row = vertical.index(True)
    across = directions[:, 1 - row]
    view, flip_columns = named_view or "unknown", False
    if np.argmax(np.abs(across)) == 0 and across[0] != 0:
        pictured = "anterior" if across[0] < 0 else "posterior"
        flip_columns = named_view not in (None, pictured)
        view = named_view or pictured
    layout = Layout(row == 1, bool(directions[2, row] > 0), flip_columns)
    return SourceGrid(tuple(shape), affine, layout), view
