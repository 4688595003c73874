"""Masks saved by MONAI's `SaveImaged` on the grid of the scan that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import NdarrayOrTensor, PathLike
from monai.data import ImageWriter
from monai.utils import convert_data_type

from bonemets.data.files import write_mask_like
from bonemets.data.planar.study import read_planar


class PlanarMaskWriter(ImageWriter):
    """Write a mask as NIfTI like its scan: for ``SaveImaged(writer=PlanarMaskWriter, output_ext=".nii.gz")``.

    MONAI's own writers cut the affine of a 2-D image down to its x and y rows, which for a coronal plane leaves
    nothing to invert. Here the scan is opened once more, and `bonemets.data.write_mask_like` gives the mask the axes,
    shape and affine that belong to it.

    Args:
        kwargs: ignored; `SaveImage` passes what other writers need.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.source = Path()

    def set_data_array(
        self,
        data_array: NdarrayOrTensor,
        channel_dim: int | None = 0,
        squeeze_end_dims: bool = True,
        **kwargs: Any,
    ) -> None:
        """Take the mask, (1, H, W) or (1, H, W, V)."""
        mask, *_ = convert_data_type(data_array, np.ndarray, dtype=np.uint8)
        self.data_obj = mask[0].reshape(*mask.shape[1:3], -1)

    def set_metadata(self, meta_dict: Mapping | None, resample: bool = False, **options: Any) -> None:
        """Take from the metadata which file the scan was read from."""
        self.source = Path(str((meta_dict or {})["filename_or_obj"]))

    def write(self, filename: PathLike, verbose: bool = False, **kwargs: Any) -> None:
        """Write the mask, whole or not at all."""
        super().write(filename, verbose=verbose)
        write_mask_like(str(filename), np.asarray(self.data_obj), read_planar(self.source))
