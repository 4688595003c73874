"""What can be labeled: bone scans, CT and color pictures, each named by the modality that bundles declare.

A bundle serves the items of its own modality, ``network_data_format.inputs.image.modality`` in its metadata.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bonemets.data.ct.scan import CTScan, read_ct
from bonemets.data.planar.formats import NIFTI_SUFFIXES
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError

NM, CT, PICTURE = "NM", "CT", "dermoscopy"
# What people call one, and several.
NAMES = {NM: ("bone scan", "bone scans"), CT: ("CT", "CT"), PICTURE: ("color picture", "color pictures")}
# Around every patient is air, -1000 HU. Counts are never negative, and what interpolation makes of them hardly is.
HOUNSFIELD = -200
# A picture is in color if the channels of a tenth of its pixels differ by more than this. A gray picture stored in
# color differs by 0, or by a few where JPEG has compressed it; marks and captions on it cover less.
COLORFUL, COLORFUL_SHARE = 16, 0.1


def name_of(modality: str, count: int = 1) -> str:
    """The modality in words: ``"bone scan"`` for one, ``"bone scans"`` for several."""
    return NAMES.get(modality, (modality, modality))[count != 1]


def bundle_modality(metadata: Mapping[str, Any]) -> str:
    """The modality that a bundle's metadata.json declares; empty if it does not."""
    image = metadata.get("network_data_format", {}).get("inputs", {}).get("image", {})
    return str(image.get("modality", ""))


def read_item(path: Path | str, modality: str) -> PlanarScan | CTScan:
    """Read the image of an item. A picture comes as a scan of one gray view; its colors are in its file.

    Raises:
        InputError: if it cannot be read as what it is to be.
    """
    if modality == CT:
        return read_ct(path)
    scan = read_planar(path)
    if modality == PICTURE and scan.colors is None:
        raise InputError(f"{path}: is no picture of 8 bits a channel; give a JPEG or PNG file")
    return scan


def read_file(path: Path, modality: str | None = None) -> tuple[str, PlanarScan | CTScan]:
    """Read a file that is not DICOM, and tell what it is.

    NIfTI with Hounsfield units is CT, a picture in color is a picture, and everything else a bone scan.

    Args:
        path: NIfTI, NRRD or a picture.
        modality: what it is, where the user says so.

    Returns:
        The modality and the image.

    Raises:
        InputError: if it cannot be read.
    """
    if modality is not None:
        return modality, read_item(path, modality)
    if path.name.lower().endswith(NIFTI_SUFFIXES):
        scan = _hounsfield(path)
        if scan is not None:
            return CT, scan
    image = read_planar(path)
    return modality_of(image), image


def modality_of(scan: PlanarScan) -> str:
    """What a planar image is: a picture if it shows colors and not only shades of gray, else a bone scan."""
    return PICTURE if scan.colors is not None and shows_colors(scan.colors) else NM


def shows_colors(colors: np.ndarray) -> bool:
    """Whether the channels of a notable share of the pixels differ.

    Args:
        colors: (H, W, 3) uint8.
    """
    spread = colors.max(axis=2) - colors.min(axis=2)
    return bool(np.mean(spread > COLORFUL) > COLORFUL_SHARE)


def is_hounsfield(pixels: np.ndarray) -> bool:
    """Whether values are Hounsfield units: those of air, which counts never have."""
    return bool(pixels.min() < HOUNSFIELD)


def _hounsfield(path: Path) -> CTScan | None:
    try:
        scan = read_ct(path)
    except InputError:
        return None
    return scan if is_hounsfield(scan.pixels) else None
