"""Planar images that are not DICOM: NIfTI, NRRD and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bonemets.data.grids import load_nifti, load_nrrd
from bonemets.data.planar.geometry import VIEWS, orient_grid, view_from_name
from bonemets.data.planar.scan import PlanarScan
from bonemets.errors import InputError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
NRRD_SUFFIXES = (".nrrd", ".nhdr")
# Modes of more than 8 bits: conversion to RGB would clip all above 255 to white.
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


def read_nifti(path: Path) -> PlanarScan:
    """Read a NIfTI file with one planar image, or with two views on its third axis.

    The affine tells how it lies (see `orient_grid`); two views are anterior, posterior.

    Raises:
        InputError: if it cannot be read, or holds a volume or colors.
    """
    array, grid = load_nifti(path)
    return _from_grid(path, array, grid.affine, "nifti")


def read_nrrd(path: Path) -> PlanarScan:
    """Read an NRRD file (through ITK) with one planar image, or with two views on its third axis.

    Raises:
        InputError: if it cannot be read, or holds a volume or colors.
    """
    array, grid = load_nrrd(path)
    return _from_grid(path, array, grid.affine, "nrrd")


def read_image(path: Path) -> PlanarScan:
    """Read a PNG, JPEG, TIFF or BMP picture as it is displayed.

    Gray pictures keep their values (8, 16 or 32 bits). Colors become gray by ITU-R 601 luma, 0.299 R + 0.587 G +
    0.114 B. It is turned as its EXIF orientation says. The spacing is unknown; the view is taken from the file's name.

    Raises:
        InputError: if it cannot be read, or has transparent parts.
    """
    from PIL import Image

    from bonemets.data.open_picture import gray_values, open_picture

    try:
        with open_picture(path) as image:
            colors = None if image.mode in DEEP_MODES else image.convert("RGB")
            array = gray_values(image, path)
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture ({_reason(error)}); export it again") from error
    view = view_from_name(path.name) or "unknown"
    return PlanarScan(
        np.nan_to_num(array, nan=0.0, posinf=0.0, neginf=0.0)[..., None], (view,), (1.0, 1.0), path, "image",
        colors=None if colors is None else np.asarray(colors),
    )  # fmt: skip


def _from_grid(path: Path, array: np.ndarray, affine: np.ndarray, kind: str) -> PlanarScan:
    """A scan from a file's array in the file's own axis order."""
    shape = array.shape
    _check_planar(path, array.dtype, shape)
    two_views = len(shape) > 2 and shape[2] == 2
    grid, view = orient_grid(shape, affine, None if two_views else view_from_name(path.name))
    pixels = np.nan_to_num(grid.to_display(array).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    views = VIEWS if two_views else (view,)
    display = grid.display_affine()
    rows, columns = (float(np.linalg.norm(display[:3, axis])) for axis in (0, 1))
    spacing = (rows, columns) if rows > 0 and columns > 0 else (1.0, 1.0)
    return PlanarScan(
        np.ascontiguousarray(pixels), views, spacing, path, "nifti" if kind == "nifti" else "nrrd",
        grid=grid, affine=display,
    )  # fmt: skip


def _check_planar(path: Path, dtype: np.dtype, shape: Sequence[int]) -> None:
    """Refuse volumes, colors and empty images."""
    if dtype.names is not None or not (np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.floating)):
        raise InputError(
            f"{path}: has several values per pixel; give an image with one value (counts or gray) per pixel"
        )
    planar = len(shape) >= 2 and all(size == 1 for size in shape[3:]) and (len(shape) < 3 or shape[2] in (1, 2))
    if not planar:
        sizes = " x ".join(str(size) for size in shape)
        raise InputError(
            f"{path}: is {sizes}, a volume; give a planar image: two axes, and at most two views on the third (a CT "
            "needs the CT bundle)"
        )
    if min(shape) < 1:
        raise InputError(f"{path}: holds no pixels")


def _reason(error: BaseException) -> str:
    """The first line of an error's message, short enough for one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:160]
