"""Which prediction belongs to which item of a data list, and reading both.

A prediction is a NIfTI file (``.nii`` or ``.nii.gz``) per item, a mask or a probability; of pictures a mask may be a
PNG. Its path below the folder is, for an item of patient P, view V and image ``a/b.nii.gz``, one of

- ``P_V``: ``patient_0001_anterior.nii.gz``;
- the image's own path: ``a/b.nii.gz``;
- the image's own name, ``b.nii.gz``, if no other item's image has that name.

An ending after an underscore (``_seg``, ``_trans``, ``_prob``) and a folder of the file's own name, as MONAI's
`SaveImage` makes them, may be there. The results of ``bonemets segment`` are recognized by the fingerprints of the
scan, or of the CT's slices, in their ``result.json``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemets.data.grids import Grid, OtherGridError, load_nifti, on_grid, on_picture
from bonemets.data.label_values import ROUNDING, label_values
from bonemets.data.planar.geometry import VIEWS, orient_grid
from bonemets.errors import InputError
from bonemets.metrics.evaluation.segmented import match_results

SUFFIXES = (".nii.gz", ".nii")
PICTURE = ".png"


@dataclass(frozen=True)
class Case:
    """An item of a data list and its prediction.

    Args:
        name: the item's image, as the data list names it.
        patient: the patient.
        view: the view; empty where the data list has none.
        label: file of the label map.
        prediction: file of the mask or probability.
        channel: which view of the prediction it is, where the file holds two; which slice of a CT's mask.
        of_ct: whether the prediction is a CT's mask, whose slices count from feet to head.
    """

    name: str
    patient: str
    view: str
    label: Path
    prediction: Path
    channel: int | None = None
    of_ct: bool = False


def find_predictions(folder: Path, items: Sequence[Mapping[str, Any]], root: Path) -> list[Case]:
    """Find the prediction of every item.

    Args:
        folder: where the predictions are.
        items: items of a data list with absolute paths, as `bonemets.data.load_datalist` returns them.
        root: the data list's folder.

    Returns:
        One case per item, in the items' order.

    Raises:
        InputError: the folder is none, an item has no prediction or several, or a file belongs to no item; all of
            them are named.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder that holds the predictions")
    names = item_names(items, root)
    stems = Counter(Path(name).name for name in names)
    owner: dict[str, int] = {}
    for index, (item, name) in enumerate(zip(items, names, strict=True)):
        keys = [name, f"{item['patient']}_{item['view']}" if item.get("view") else name]
        owner.update(dict.fromkeys(keys if stems[Path(name).name] > 1 else [*keys, Path(name).name], index))
    found: dict[int, list[tuple[Path, int | None, bool]]] = {}
    extra = []
    segmented = [path.parent for path in sorted(folder.rglob("mask.nii.gz")) if (path.parent / "result.json").is_file()]
    for result in match_results(segmented, items):
        if not result.places:
            extra.append(result.folder.relative_to(folder).as_posix())
        for index, channel in result.places:
            found.setdefault(index, []).append((result.folder / "mask.nii.gz", channel, result.of_ct))
    for path in sorted(path for path in folder.rglob("*") if path.name.endswith((*SUFFIXES, PICTURE))):
        if path.parent in segmented or not path.is_file():
            continue
        owners = [owner[key] for key in _keys_of(_relative(path, folder)) if key in owner]
        if owners:
            found.setdefault(owners[0], []).append((path, None, False))
        elif not path.name.endswith(PICTURE):  # a figure, for instance of an MLflow store in the same folder
            extra.append(path.relative_to(folder).as_posix())
    _complain(folder, names, found, extra)
    return [
        Case(name, str(item["patient"]), str(item.get("view", "")), Path(item["label"]), *found[index][0])
        for index, (item, name) in enumerate(zip(items, names, strict=True))
    ]


def item_names(items: Sequence[Mapping[str, Any]], root: Path) -> list[str]:
    """Paths of the images below the data list's folder; if any lies elsewhere, below the folder that has them all."""
    paths = [Path(item["image"]) for item in items]
    if not all(path.is_relative_to(root) for path in paths):
        try:
            root = Path(os.path.commonpath([path.parent for path in paths]))
        except ValueError:  # on two drives of Windows
            return [_relative(path, path.parent) for path in paths]
    return [_relative(path, root) for path in paths]


def _complain(folder: Path, names: Sequence[str], found: Mapping[int, list], extra: Sequence[str]) -> None:
    problems = []
    missing = [name for index, name in enumerate(names) if index not in found]
    several = [names[index] for index in sorted(found) if len(found[index]) > 1]
    if missing:
        problems.append(f"{len(missing)} of {len(names)} items have no prediction: {', '.join(missing)}")
    if several:
        problems.append(f"{len(several)} have more than one: {', '.join(several)}")
    if extra:
        problems.append(f"{len(extra)} predictions belong to no item: {', '.join(extra)}")
    if problems:
        advice = "name predictions PATIENT_VIEW.nii.gz or as the images, and choose --section and --fold to match"
        raise InputError(f"{folder}: {'; '.join(problems)}. {advice}")


def _relative(path: Path, root: Path) -> str:
    """The path below `root` without its ending, with forward slashes."""
    inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    name = inside.name
    stem = next((name[: -len(suffix)] for suffix in SUFFIXES if name.endswith(suffix)), inside.stem)
    return inside.with_name(stem).as_posix()


def _keys_of(name: str) -> Iterator[str]:
    """The names under which a file is looked up: its own, without its ending, without a folder of the same name."""
    *folders, last = name.split("/")
    for stem in (last, last.rpartition("_")[0]):
        if stem:
            yield "/".join([*folders, stem])
            if folders and folders[-1] == stem:
                yield "/".join(folders)


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
    """(H, W, K); the slices of one CT are asked for in a row. A file that is written anew is read anew."""
    from bonemets.data.ct.scan import read_ct

    return read_ct(path).pixels
