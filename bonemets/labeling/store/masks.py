"""Masks on their way to and from the server: always uint8, on the image's own grid, with its affine."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from bonemets.data.adapters.monailabel import label_in_grid_of
from bonemets.data.ct.scan import CTScan, from_display, read_ct, to_display
from bonemets.data.files import nifti_bytes
from bonemets.data.modalities import CT, NM, read_item
from bonemets.data.planar.formats import IMAGE_SUFFIXES, NIFTI_SUFFIXES
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError

IGNORE = 2
# Of a mask on a picture: (column, row), spacing 1. ITK-SNAP and 3D Slicer read a picture so, and write masks of it so.
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


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
    values = set(np.unique(mask).tolist())
    if values <= {0, 255}:
        mask = mask > 0
    elif not values <= {0, 1, IGNORE}:
        shown = ", ".join(f"{value:g}" for value in sorted(values)[:6])
        raise InputError(f"{label}: holds the values {shown}; use 0 background, 1 lesion and 2 ignore")
    mask = mask.astype(np.uint8)
    return mask_bytes(scan, mask), int((mask == 1).sum())


def _on_ct(scan: CTScan, path: Path) -> np.ndarray:
    """A label of a CT as displayed, (H, W, K).

    A file that does not say where it lies (its affine is the identity) has the axes of the CT's own file; any other
    lies where its affine says, in whatever order its axes are.
    """
    name = path.name.lower()
    if name.endswith(IMAGE_SUFFIXES) and scan.format == "image":
        return read_planar(path).pixels
    if not name.endswith(NIFTI_SUFFIXES):
        raise InputError(f"{path}: is not NIfTI; save the label of a CT as .nii.gz")
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nib.load(path)
        array, affine = np.squeeze(np.asarray(image.dataobj)), np.asarray(image.affine)  # type: ignore[attr-defined]
    except (ImageFileError, OSError, EOFError, ValueError, TypeError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read as NIfTI ({error}); export it again") from error
    shape = (*scan.source_shape, 1)[:3]
    # What ITK writes for a picture is where a picture lies; for a volume it says nothing.
    unplaced = [np.eye(4)] if scan.format == "image" else [np.eye(4), PICTURE_AFFINE]
    fits = array.dtype.names is None and array.shape == tuple(size for size in shape if size > 1)
    if fits and any(np.allclose(affine, plain) for plain in unplaced):
        return to_display(array.reshape(shape), scan.source_affine)
    label = read_ct(path)
    corners = np.array([[0, 0, 0, 1], [*(np.array(scan.pixels.shape) - 1), 1]]).T
    apart = np.abs((label.affine - scan.affine)[:3] @ corners).max()
    if label.pixels.shape == scan.pixels.shape and apart > np.linalg.norm(scan.affine[:3, :3], axis=0).min() / 2:
        raise InputError(f"{path}: lies {apart:.1f} mm from the image; label the image as the server gave it")
    return label.pixels
