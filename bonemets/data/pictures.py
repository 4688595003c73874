"""Pictures in color as MONAI's `LoadImage` wants them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, ensure_tuple
from PIL import Image

from bonemets.data.open_picture import open_picture
from bonemets.data.planar.formats import DEEP_MODES, IMAGE_SUFFIXES
from bonemets.errors import InputError


class PictureReader(ImageReader):
    """Read JPEG, PNG, TIFF and BMP pictures for ``LoadImage(reader=PictureReader())``: (H, W, 3), 0 to 255.

    MONAI's ``PILReader`` gives columns before rows and as many channels as the file has, and makes 16 bits white.
    Here gray pictures get three equal channels, transparency is dropped, and rows come first, as displayed. Follow it
    with ``EnsureChannelFirst(channel_dim=-1)``.
    """

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:
        """Whether every name ends like a picture's."""
        return all(str(name).lower().endswith(IMAGE_SUFFIXES) for name in ensure_tuple(filename))

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> Path:
        """One file, read in `get_data`: where `read` raises, `LoadImage` would try MONAI's own readers."""
        (name,) = ensure_tuple(data)
        return Path(name)

    def get_data(self, img: Path) -> tuple[np.ndarray, dict]:
        """The pixels and the metadata.

        Raises:
            InputError: if it is no picture of 8 bits a channel.
        """
        pixels = read_picture(img)
        meta = {
            MetaKeys.AFFINE: np.eye(4),
            MetaKeys.ORIGINAL_AFFINE: np.eye(4),
            MetaKeys.SPATIAL_SHAPE: np.array(pixels.shape[:2]),
            MetaKeys.ORIGINAL_CHANNEL_DIM: -1,
        }
        return pixels, meta


def read_picture(path: Path) -> np.ndarray:
    """A picture's colors, (H, W, 3) uint8, rows from top to bottom, turned as its EXIF orientation says.

    Raises:
        InputError: if it cannot be read, has more than 8 bits a channel, or several pages.
    """
    try:
        with open_picture(path) as image:
            mode, pixels = image.mode, np.asarray(image.convert("RGB"))
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as a picture; give a JPEG or PNG file") from error
    if mode in DEEP_MODES:
        raise InputError(f"{path}: has more than 8 bits a pixel; export it with 8, at the contrast you want")
    return pixels
