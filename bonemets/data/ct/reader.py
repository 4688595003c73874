"""The CT reader as MONAI's `LoadImage` wants it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from bonemets.data.ct.scan import read_ct
from bonemets.errors import InputError


class CTReader(ImageReader):
    """Read axial CT for ``LoadImage(reader=CTReader())``: NIfTI, a DICOM slice or the folder of a series, pictures.

    The array is as displayed: (H, W, K), rows to the patient's back, columns to the patient's left, K slices to the
    head; label maps lie as their images. Its metadata has ``affine`` (as displayed), ``original_affine`` and
    ``source_shape`` (of the file), ``spacing`` (row, column mm) and ``format`` (``image`` for pictures, whose values
    are no Hounsfield units). Follow it with ``EnsureChannelFirst(channel_dim="no_channel")``.

    Args:
        single_slice: whether slices are returned as (H, W) and volumes refused, as in training.
    """

    def __init__(self, single_slice: bool = False) -> None:
        super().__init__()
        self.single_slice = single_slice

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:
        """Whether every file exists: DICOM files often have no suffix, so their content decides in `read`."""
        return all(Path(name).exists() for name in ensure_tuple(filename))

    def read(self, data: Sequence[Any] | Any, **kwargs: Any) -> Path:
        """The file, or the folder of one DICOM series.

        It is read in `get_data`: where `read` raises, `LoadImage` would try MONAI's own readers, and a file that was
        refused here would come back in other axes and without a word.
        """
        (path,) = ensure_tuple(data)
        return Path(path)

    def get_data(self, img: Path) -> tuple[np.ndarray, dict]:
        """The pixels and the metadata.

        Raises:
            InputError: if it cannot be read, or is a volume where a slice is wanted.
        """
        scan = read_ct(img)
        slices = scan.pixels.shape[2]
        if self.single_slice and slices != 1:
            raise InputError(f"{img}: is a volume of {slices} slices; training takes one axial slice per file")
        pixels = scan.pixels[..., 0] if self.single_slice else scan.pixels
        meta = {
            MetaKeys.AFFINE: scan.affine,
            MetaKeys.ORIGINAL_AFFINE: scan.source_affine,
            MetaKeys.SPATIAL_SHAPE: np.array(pixels.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),
            MetaKeys.SPACE: SpaceKeys.RAS,
            # As text: numbers of files with two and with three axes could not be collated into one batch.
            "source_shape": "x".join(str(size) for size in scan.source_shape),
            "spacing": scan.spacing,
            "format": scan.format,
        }
        return pixels, meta
