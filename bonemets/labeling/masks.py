"""Masks on their way to and from the server: always uint8, on the image's own grid, with its affine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bonemets.data.adapters.monailabel import label_in_grid_of
from bonemets.data.files import nifti_bytes
from bonemets.data.planar import PlanarScan
from bonemets.data.study import read_planar
from bonemets.errors import InputError

IGNORE = 2


def mask_bytes(scan: PlanarScan, mask: np.ndarray) -> bytes:
    """The NIfTI file of a mask (H, W, V), as displayed, that lies on a scan that was read from NIfTI."""
    mask = mask.astype(np.uint8)
    if scan.grid is None:
        return nifti_bytes(mask, scan.affine)
    return nifti_bytes(scan.grid.from_display(mask), scan.grid.affine, keep_axes=True)


def label_bytes(image: Path, label: Path) -> tuple[bytes, int]:
    """A label as it is stored, from a file that a client sent.

    Args:
        image: the image's file.
        label: NIfTI, NRRD or a picture with 0, 1 lesion and 2 ignore, or 0 and 255.

    Returns:
        The file's content, and the number of lesion pixels.

    Raises:
        InputError: if it cannot be read, has another size, or holds other values.
    """
    scan = read_planar(image)
    mask = label_in_grid_of(scan, label)
    if mask.shape != scan.shape:
        sizes = [" x ".join(map(str, shape)) for shape in (mask.shape, scan.shape)]
        raise InputError(f"{label}: is {sizes[0]} pixels, the image {sizes[1]}; label the image as the server gave it")
    values = set(np.unique(mask).tolist())
    if values <= {0, 255}:
        mask = mask > 0
    elif not values <= {0, 1, IGNORE}:
        shown = ", ".join(f"{value:g}" for value in sorted(values)[:6])
        raise InputError(f"{label}: holds the values {shown}; use 0 background, 1 lesion and 2 ignore")
    mask = mask.astype(np.uint8)
    return mask_bytes(scan, mask), int((mask == 1).sum())
