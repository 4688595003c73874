"""Masks on their way to and from the server: always uint8, on the image's own grid, with its affine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bonemets.data.adapters.monailabel import label_in_grid_of
from bonemets.data.ct.scan import CTScan, from_display, read_ct, to_display
from bonemets.data.files import nifti_bytes
from bonemets.data.grids import PICTURE_AFFINE, Grid, OtherGridError, load_nifti, on_grid
from bonemets.data.label_values import label_values
from bonemets.data.modalities import CT, NM, read_item
from bonemets.data.open_picture import mask_values
from bonemets.data.planar.formats import IMAGE_SUFFIXES, NIFTI_SUFFIXES
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError


def mask_bytes(scan: PlanarScan | CTScan, mask: np.ndarray) -> bytes:
    """The NIfTI file of a mask (H, W, V), as displayed, that lies on the file that a scan was read from."""
    mask = mask.astype(np.uint8)
    if isinstance(scan, CTScan):
        return nifti_bytes(from_display(mask, scan.source_affine, scan.source_shape), scan.source_affine)
    if scan.format == "image":
        return nifti_bytes(np.swapaxes(mask, 0, 1), PICTURE_AFFINE)
    if scan.grid is None:
        return nifti_bytes(mask, scan.affine)
    return nifti_bytes(scan.grid.from_display(mask), scan.grid.affine, keep_axes=True)


def read_mask(path: Path | str, modality: str = NM) -> np.ndarray:
    """A mask that `mask_bytes` has made, (H, W, V) as displayed."""
    return read_ct(path).pixels if modality == CT else read_planar(path).pixels


def label_bytes(image: Path, label: Path, modality: str = NM) -> tuple[bytes, int]:
    """A label as it is stored, from a file that a client sent.

    Args:
        image: the image's file.
        label: NIfTI, NRRD or a picture with 0, 1 lesion and 2 ignore, or 0 and 255. For CT: NIfTI.
        modality: the image's.

    Returns:
        The file's content, and the number of lesion pixels.

    Raises:
        InputError: if it cannot be read, has another size, lies elsewhere, or holds other values.
    """
    scan = read_item(image, modality)
    mask = _on_ct(scan, label) if isinstance(scan, CTScan) else label_in_grid_of(scan, label)
    if mask.shape != scan.pixels.shape:
        sizes = [" x ".join(map(str, shape)) for shape in (mask.shape, scan.pixels.shape)]
        raise InputError(f"{label}: is {sizes[0]} pixels, the image {sizes[1]}; label the image as the server gave it")
    mask = label_values(mask, label)
    return mask_bytes(scan, mask), int((mask == 1).sum())


def _on_ct(scan: CTScan, path: Path) -> np.ndarray:
    """A label of a CT as displayed, (H, W, K).

    A file that does not say where it lies (its affine is the identity) has the axes of the CT's own file; any other
    lies where its affine says, in whatever order its axes are.
    """
    name = path.name.lower()
    if name.endswith(IMAGE_SUFFIXES) and scan.format == "image":
        return mask_values(path)[..., None]
    if not name.endswith(NIFTI_SUFFIXES):
        raise InputError(f"{path}: is not NIfTI; save the label of a CT as .nii.gz")
    array, own = load_nifti(path)
    if array.dtype.names is not None:
        raise InputError(f"{path}: has several values per voxel; give a label map")
    # What ITK writes for a picture is where a picture lies; for a volume it says nothing.
    if scan.format == "image" and np.allclose(own.affine, PICTURE_AFFINE):
        own = Grid(own.shape, own.affine)
    try:
        placed = on_grid(array, own, Grid(scan.source_shape, scan.source_affine))
    except OtherGridError as error:
        raise InputError(f"{path}: {str(error).format('the image')}; label the image as the server gave it") from error
    return to_display(placed, scan.source_affine)
