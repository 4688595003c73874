"""Which files an inference configuration reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bonemets.errors import InputError


def find_scans(folder: str | Path, pattern: str | Sequence[str], folders: bool = False) -> list[dict[str, str]]:
    """The files (or folders) in a folder that match a pattern, or one of several, as items for a MONAI dataset.

    Args:
        folder: folder to search.
        pattern: glob pattern relative to it, or several; ``**`` stands for any number of folders.
        folders: whether to look for folders, each with one DICOM series, in place of files.

    Returns:
        One ``{"image": path}`` each, sorted.

    Raises:
        InputError: if the folder does not exist or nothing matches.
    """
    if not Path(folder).is_dir():
        raise InputError(f"{folder}: there is no such folder; set dataset_dir to the folder of the scans")
    patterns = [pattern] if isinstance(pattern, str) else pattern
    is_wanted = Path.is_dir if folders else Path.is_file
    paths = sorted({path for each in patterns for path in Path(folder).glob(each) if is_wanted(path)})
    if not paths:
        tried, kind = " or ".join(map(repr, patterns)), "folder" if folders else "file"
        raise InputError(f"{folder}: no {kind} matches {tried}; set pattern to one that fits, such as '**/*.nii.gz'")
    return [{"image": str(path)} for path in paths]


def shared_folder(items: Sequence[Mapping[str, str]], folder: str | Path) -> str:
    """The folder below which masks keep the places of their images.

    A path that leads out of it would put masks beside the images in place of the output folder.

    Args:
        items: items with ``image``.
        folder: where the images should be: the dataset's folder or the data list's.

    Returns:
        The folder if all images are in it, else the innermost one that holds them all.
    """
    root = Path(folder).resolve()
    places = [Path(item["image"]).resolve().parent for item in items]
    return str(root) if all(place.is_relative_to(root) for place in places) else os.path.commonpath(places)
