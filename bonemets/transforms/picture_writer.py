"""Masks saved by MONAI's `SaveImaged` as pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import NdarrayOrTensor, PathLike
from monai.data import ImageWriter
from monai.utils import convert_data_type
from PIL import Image

from bonemets.data.files import write_bytes


class PictureMaskWriter(ImageWriter):
    """Write a mask as PNG, 0 and 255: for ``SaveImaged(writer=PictureMaskWriter, output_ext=".png")``.

    MONAI's ``PILWriter`` expects columns before rows, which `bonemets.data.PictureReader` does not give, and leaves
    half a file where it is interrupted.

    Args:
        kwargs: ignored; `SaveImage` passes what other writers need.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()

    def set_data_array(
        self,
        data_array: NdarrayOrTensor,
        channel_dim: int | None = 0,
        squeeze_end_dims: bool = True,
        **kwargs: Any,
    ) -> None:
        """Take the mask, (1, H, W)."""
        mask, *_ = convert_data_type(data_array, np.ndarray)
        self.data_obj = np.where(mask[0] > 0, np.uint8(255), np.uint8(0))

    def set_metadata(self, meta_dict: Mapping | None, resample: bool = False, **options: Any) -> None:
        """Take nothing: the mask already has its picture's size."""

    def write(self, filename: PathLike, verbose: bool = False, **kwargs: Any) -> None:
        """Write the picture, whole or not at all."""
        super().write(filename, verbose=verbose)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self.data_obj)).save(buffer, "PNG")
        write_bytes(Path(str(filename)), buffer.getvalue())
