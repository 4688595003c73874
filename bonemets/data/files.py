"""Writing files whole or not at all, and NIfTI files that are the same bytes every time."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock, Timeout

from bonemets.errors import InputError

if TYPE_CHECKING:
    from bonemets.data.planar.scan import PlanarScan

# Label maps and noisy counts alike: level 1 takes a third of the default's time for files 5-10 % larger.
GZIP_LEVEL = 1
MAXIMUM_NAME = 200
LOCK_NAME = ".bonemets.lock"

_held: dict[Path, FileLock] = {}


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it, so that it is never seen half-written.

    Raises:
        InputError: if the folder cannot be written to.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path | str, bytes]) -> None:
    """Write files that belong together: all under temporary names, then all renamed, one right after the other.

    Args:
        contents: file → content.

    Raises:
        InputError: if a folder cannot be written to.
    """
    temporaries = {
        Path(path): Path(path).with_name(f".{_short(Path(path).name)}.{os.getpid()}.part") for path in contents
    }
    path = Path()
    try:
        for (path, temporary), content in zip(temporaries.items(), contents.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
        for path, temporary in temporaries.items():  # noqa: B007
            temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror or error}); choose a folder that is writable"
        ) from error
    finally:
        for temporary in temporaries.values():
            if temporary.parent.is_dir():
                temporary.unlink(missing_ok=True)


def _short(name: str) -> str:
    """A name that leaves room for more within the 255 bytes that file systems allow."""
    content = os.fsencode(name)
    return name if len(content) <= MAXIMUM_NAME else hashlib.sha256(content).hexdigest()[:32]


def nifti_bytes(array: np.ndarray, affine: np.ndarray, *, compress: bool = True, keep_axes: bool = False) -> bytes:
    """A NIfTI-1 file in memory; gzip without a time stamp, so that equal content gives equal bytes.

    A two-dimensional array gets a third axis of length 1: of a file with two axes ITK keeps the upper left 2 x 2 of
    the direction matrix, which is singular for an image that stands upright, and then ITK-SNAP, 3D Slicer and
    SimpleITK refuse to open it.

    Args:
        array: the array, in the file's axis order.
        affine: (4, 4) to RAS mm; written as both sform and qform, in millimetres.
        compress: whether to gzip it.
        keep_axes: whether to leave a two-dimensional array so, as a mask of such a file must be.
    """
    import nibabel as nib

    image = nib.Nifti1Image(array[..., None] if array.ndim == 2 and not keep_axes else array, affine)
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    return gzip.compress(content, GZIP_LEVEL, mtime=0) if compress else content


def write_nifti(path: Path | str, array: np.ndarray, affine: np.ndarray, *, keep_axes: bool = False) -> None:
    """Write `array` as ``.nii`` or ``.nii.gz``, whole or not at all; see `nifti_bytes`."""
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"path must end in .nii or .nii.gz, got {path.name!r}")
    write_bytes(path, nifti_bytes(array, affine, compress=path.name.endswith(".gz"), keep_axes=keep_axes))


def write_mask_like(path: Path | str, mask: np.ndarray, scan: PlanarScan) -> None:
    """Write a mask of a scan as NIfTI so that it lies on the scan.

    For a NIfTI or NRRD source the mask has the source's own axes, shape and affine, so that ITK-SNAP and 3D Slicer
    accept it over the source. For other sources it has the convention of this package: (row, column, view), with an
    affine that tells how it lies.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        mask: (H, W, V), as displayed; stored as uint8.
        scan: the scan that the mask belongs to.

    Raises:
        ValueError: if the mask's shape is not the scan's.
        InputError: if the file cannot be written.
    """
    if mask.shape != scan.shape:
        raise ValueError(f"mask must have the scan's shape {scan.shape}, got {mask.shape}")
    mask = mask.astype(np.uint8)
    if scan.grid is not None:
        write_nifti(path, scan.grid.from_display(mask), scan.grid.affine, keep_axes=True)
    else:
        write_nifti(path, mask, scan.affine)


def check_writable(output: Path) -> None:
    """Refuse an output folder that cannot be made or written, before any work is done and without making it.

    Raises:
        InputError: it cannot.
    """
    try:
        os.lstat(output)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        # A name that is too long, for instance.
        raise InputError(f"cannot write to {output} ({error.strerror}); choose another --output") from error
    existing = next(path for path in (output, *output.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise InputError(f"cannot write to {output}: {existing} is not a folder; choose another --output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {output}: {existing} is not writable; choose another --output")


def hold_folder(folder: Path | str) -> None:
    """Keep other processes from writing the same results into a folder, until `let_go` or the end of this process.

    The lock is the operating system's, so that of a process that was killed is gone with it. Within a process a folder
    may be held again: what comes later replaces what came before.

    Args:
        folder: made if it does not exist.

    Raises:
        InputError: if another process holds it, or it cannot be written to.
    """
    place = Path(folder).resolve()
    if place in _held:
        return
    lock = FileLock(place / LOCK_NAME)
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"another run is writing into {folder}; wait until it has ended, or choose another folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror or error}); choose a folder that is writable"
        ) from error
    _held[place] = lock


def let_go(folder: Path | str) -> None:
    """Let others write into a folder that `hold_folder` held; nothing if it did not."""
    place = Path(folder).resolve()
    if (lock := _held.pop(place, None)) is not None:
        # Before it is released: whoever waits for this file finds that it is gone, and makes another.
        (place / LOCK_NAME).unlink(missing_ok=True)
        lock.release()


def files_below(folder: Path) -> list[Path]:
    """All files of a folder and its sub-folders, sorted; linked folders are searched too, each folder once."""
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        inside = Path(place)
        identity = inside.stat()
        if (identity.st_dev, identity.st_ino) in seen:
            folders.clear()
            continue
        seen.add((identity.st_dev, identity.st_ino))
        # What a link points to counts under its own name where it is in the folder itself.
        folders.sort()
        folders.sort(key=partial(is_link, inside))
        found += [path for name in files if (path := inside / name).is_file()]
    return sorted(found)


def is_link(folder: Path, name: str) -> bool:
    """Whether an entry of a folder is a symbolic link."""
    return (folder / name).is_symlink()
