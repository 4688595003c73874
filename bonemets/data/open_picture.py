"""Opening pictures as they are displayed, and masks that were saved as pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from bonemets.data.label_values import few
from bonemets.errors import InputError

COLOR_MODES = ("RGB", "RGBA", "RGBX", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")
_EXIF_ORIENTATION = 0x0112


@contextmanager
def open_picture(file: Path | IO[bytes]) -> Iterator[Image.Image]:
    """A picture turned as its EXIF orientation says, as viewers, browsers and LabelMe show it.

    Raises:
        InputError: if it has several pages.
    """
    with Image.open(file) as stored:
        pages = getattr(stored, "n_frames", 1)
        if pages > 1:
            raise InputError(f"{file}: has {pages} pages or frames; give a picture with one view")
        # Pillow turns a TIFF itself as soon as it is loaded, and then forgets its orientation.
        stored.load()
        yield ImageOps.exif_transpose(stored)


def exif_orientation(path: Path) -> int:
    """The way in which a picture is to be turned: 1 as it is stored, 2 to 8 mirrored or turned; 1 where unknown."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(_EXIF_ORIENTATION, 1) or 1)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return 1


def gray_values(image: Image.Image, path: Path) -> np.ndarray:
    """A picture's gray values, (H, W) float32; colors become gray by ITU-R 601 luma.

    Raises:
        InputError: if parts of it are transparent and would look otherwise without transparency.
    """
    _refuse_transparency(image, path)
    gray = image.convert("RGB").convert("L") if image.mode in COLOR_MODES else image
    gray = gray.convert("L") if gray.mode in ("LA", "La", "1") else gray
    return np.asarray(gray).astype(np.float32)


def mask_values(path: Path) -> np.ndarray:
    """The values of a mask that was saved as a picture, (H, W) float32: only where gray is what it means.

    Raises:
        InputError: if it cannot be read, has colors, transparent parts or several pages.
    """
    try:
        with open_picture(path) as image:
            if image.mode in COLOR_MODES:
                _refuse_colors(image, path)
            return gray_values(image, path)
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture; export it again") from error


def _refuse_transparency(image: Image.Image, path: Path) -> None:
    if image.mode not in ("RGBA", "RGBa", "LA", "La", "PA") and "transparency" not in image.info:
        return
    shown = np.asarray(image.convert("RGBA")).astype(np.int32)
    colors, opacity = shown[..., :3], shown[..., 3:]
    # Opaque, or black where it is transparent: on black it looks the same.
    if np.any((opacity < 255) & (colors > 0)):
        raise InputError(
            f"{path}: has transparent parts (opacity {few(np.unique(opacity))}), so that it is not sure what they show;"
            " save it without transparency (alpha channel)"
        )


def _refuse_colors(image: Image.Image, path: Path) -> None:
    colors = np.asarray(image.convert("RGB")).reshape(-1, 3)
    found = np.unique(colors, axis=0)
    if np.any(found != found[:, :1]):
        shown = ", ".join(str(tuple(int(value) for value in color)) for color in found[:4])
        more = f" and {len(found) - 4} more" if len(found) > 4 else ""
        raise InputError(f"{path}: is in color ({shown}{more}); a mask is gray: 0 and 255, or 0, 1 and 2 (ignore)")
    if image.mode == "P":
        used = len(np.unique(np.asarray(image)))
        if used != len(found):
            raise InputError(
                f"{path}: its palette shows {used} values in {len(found)} colors; save it as a gray picture"
            )
