"""The planar reader as MONAI's `LoadImage` wants it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from bonemets.data.planar.study import read_planar


class PlanarReader(ImageReader):
    """Read planar scans for ``LoadImage(reader=PlanarReader())``: NM DICOM, NIfTI, NRRD and pictures.

    The array is as displayed: (H, W, V), rows head to feet, V views (anterior, posterior). Its metadata has
    ``affine`` and ``original_affine`` (RAS mm), ``spatial_shape``, ``spacing`` (row, column mm), ``views`` and
    ``format``. Follow it with ``EnsureChannelFirst(channel_dim="no_channel")``.

    Args:
        squeeze: whether a scan of a single view is returned as (H, W).
    """

    def __init__(self, squeeze: bool = False) -> None:
        super().__init__()
        self.squeeze = squeeze

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:
        """Whether every file exists: DICOM files often have no suffix, so their content decides when they are read."""
        return all(Path(name).exists() for name in ensure_tuple(filename))

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> list[Path]:
        """One file, or several whose views are to be stacked in the order given.

        They are read in `get_data`: where `read` raises, `LoadImage` would try MONAI's own readers, and a file that
        was refused here would come back in other axes and without a word.
        """
        return [Path(name) for name in ensure_tuple(data)]

    def get_data(self, img: Sequence[Path]) -> tuple[np.ndarray, dict]:
        """The pixels and the metadata.

        Raises:
            InputError: if a file cannot be read.
        """
        scans = [read_planar(path) for path in img]
        first = scans[0]
        pixels = np.concatenate([scan.pixels for scan in scans], axis=2)
        if self.squeeze and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        meta = {
            MetaKeys.AFFINE: first.affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: first.affine.copy(),
            MetaKeys.SPATIAL_SHAPE: np.array(pixels.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
            MetaKeys.SPACE: SpaceKeys.RAS,
            "spacing": first.spacing,
            "views": tuple(view for scan in scans for view in scan.views),
            "format": first.format,
        }
        return pixels, meta
