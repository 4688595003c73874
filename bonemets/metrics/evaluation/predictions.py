"""Reading the predictions and labels of a data list's items: one view, and both on one grid."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bonemets.data.grids import Grid, OtherGridError, load_nifti, on_grid, on_picture
from bonemets.data.label_values import ROUNDING, label_values
from bonemets.data.planar.geometry import VIEWS, orient_grid
from bonemets.errors import InputError
from bonemets.metrics.evaluation.matching import PICTURE, SUFFIXES, Case


def read_array(path: Path) -> tuple[NDArray, Grid]:
    """A NIfTI file's array in the file's own order and its grid; a picture as displayed, on no grid.

    Raises:
        InputError: the file cannot be read.
    """
    if path.name.endswith(SUFFIXES):
        return load_nifti(path)
    from bonemets.data.open_picture import mask_values

    pixels = mask_values(path)
    return pixels, Grid(pixels.shape, np.eye(4), is_placed=False)


def read_label(path: Path) -> tuple[NDArray[np.uint8], tuple[float, float], Grid]:
    """A label map of one view, its row and column spacing in mm, and the grid of its file.

    Raises:
        InputError: it cannot be read, is not one view, or holds other values than 0, 1, 2 (or 0 and 255).
    """
    array, grid = read_array(path)
    if len(grid.spacing) != 2:
        raise InputError(f"{path} has the shape {array.shape}; a label map is one view, rows and columns")
    return label_values(np.squeeze(array), path), (grid.spacing[0], grid.spacing[1]), grid


def read_prediction(case: Case, grid: Grid) -> NDArray[np.float32]:
    """A prediction, (H, W) between 0 and 1, in the axes of its label's file.

    Args:
        case: the item and its files.
        grid: the label's grid.

    Raises:
        InputError: it cannot be read, lies elsewhere than the label or has another size, or is not in 0..1.
    """
    if case.prediction.name.endswith(PICTURE) and case.label.name.endswith(SUFFIXES):
        raise InputError(f"{case.prediction} is a picture and its label {case.label} is NIfTI: write it on that grid")
    if case.of_ct:
        array = _slice_of_mask(case, grid)
    elif (case.prediction.parent / "result.json").is_file():
        array = _view_of_mask(case, grid)
    else:
        array = _on_label(case, grid)
    values = np.squeeze(array).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if high > 1 and np.isin(values, (0, 255)).all():
        values, high = np.minimum(values, 1), 1.0
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        raise InputError(
            f"{case.prediction} holds values from {low:g} to {high:g}; a prediction is a mask (0 and 1, or 0 and 255) "
            "or a probability from 0 to 1"
        )
    # A mask that was stored as numbers with a scale is a mask, and not a probability.
    whole = np.rint(values)
    return whole if np.abs(values - whole).max() < ROUNDING else np.clip(values, 0, 1)


def _on_label(case: Case, grid: Grid) -> NDArray:
    """A prediction's array on the grid of its label, or over the picture that its label is."""
    array, own = read_array(case.prediction)
    try:
        if case.prediction.name.endswith(PICTURE) or case.label.name.endswith(SUFFIXES):
            return on_grid(array, own, grid)
        return on_picture(array, own, (grid.shape[0], grid.shape[1]), rows_first=True)
    except OtherGridError as error:
        if error.is_size:
            raise InputError(
                f"{case.prediction} has the shape {array.shape} and its label {case.label} {grid.shape}"
            ) from error
        raise InputError(f"{case.prediction} {str(error).format('its label')}: write it on that grid") from error


def _view_of_mask(case: Case, grid: Grid) -> NDArray:
    """A view of a result's mask, in the axes of its label's file. Results are matched by pixels, not by place."""
    array, own = load_nifti(case.prediction)
    named = case.view if case.view in VIEWS else None
    shown = orient_grid(own.shape, own.affine, named if case.channel is None else None)[0].to_display(array)
    view = shown[..., case.channel or 0]
    if case.label.name.endswith(SUFFIXES):
        place, _ = orient_grid(grid.shape, grid.affine, named)
        wanted = place.to_display(np.empty(grid.shape, np.uint8)).shape[:2]
        if view.shape == wanted:
            return place.from_display(view[..., None])
    elif view.shape == grid.shape:
        return view
    raise InputError(f"{case.prediction} has views of {view.shape} and its label {case.label} {grid.shape}")


def _slice_of_mask(case: Case, grid: Grid) -> NDArray:
    """A slice of a CT's mask in the order of its label's file."""
    from bonemets.data.ct.scan import from_display

    shown = _mask_as_displayed(case.prediction, case.prediction.stat().st_mtime_ns)[..., case.channel or 0]
    if not case.label.name.endswith(SUFFIXES):
        return shown
    try:
        return from_display(shown[..., None], grid.affine, grid.shape)
    except ValueError as error:
        raise InputError(
            f"{case.prediction} has slices of {shown.shape} and its label {case.label} {grid.shape}"
        ) from error


@lru_cache(maxsize=1)
def _mask_as_displayed(path: Path, written: int) -> NDArray:
    """(H, W, K); the slices of one CT are asked for in a row. A file that is written again is read again."""
    from bonemets.data.ct.scan import read_ct

    return read_ct(path).pixels
