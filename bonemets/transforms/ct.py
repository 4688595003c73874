"""Hounsfield units to network input, and masks back to the CT's own grid."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor, PathLike
from monai.data import ImageWriter, MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import MetaKeys, TransformBackends, convert_data_type, convert_to_dst_type

from bonemets.data.ct.scan import write_ct_mask


class CTWindow(Transform):
    """Hounsfield units to 0..1 by a window; pictures, which were windowed when they were made, by their 8 bits.

    `bonemets.data.CTReader` says in the metadata (``format``) what a file was.

    Args:
        window: HU that become 0 and 1; beyond them the result is 0 or 1.

    Raises:
        ValueError: if the window is not two rising numbers.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, window: Sequence[float] = (-500.0, 1300.0)) -> None:
        if len(window) != 2 or not window[0] < window[1]:
            raise ValueError(f"window must be two rising numbers (HU), got {tuple(window)}")
        self.window = (float(window[0]), float(window[1]))

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Window an image of any shape; the result is float32."""
        array, *_ = convert_data_type(img, np.ndarray, dtype=np.float32)
        picture = isinstance(img, MetaTensor) and img.meta.get("format") == "image"
        low, high = (0.0, 255.0) if picture else self.window
        windowed = np.clip((array - np.float32(low)) / np.float32(high - low), 0, 1)
        result, *_ = convert_to_dst_type(windowed, img, dtype=np.float32)
        return result


class CTWindowd(MapTransform):
    """Dictionary-based `CTWindow`.

    Args:
        keys: keys of the images.
        window: see `CTWindow`.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = CTWindow.backend

    def __init__(
        self, keys: KeysCollection, window: Sequence[float] = (-500.0, 1300.0), allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = CTWindow(window)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Window the images under the keys."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key])
        return result


class CTMaskWriter(ImageWriter):
    """Write a mask as NIfTI on the CT's own grid: for ``SaveImaged(writer=CTMaskWriter, output_ext=".nii.gz")``.

    Axes, shape and affine are those of the file that `bonemets.data.CTReader` read, so that viewers lay the mask on
    it. For DICOM the axes are (column, row, slice), as ITK and dcm2niix have them.

    Args:
        kwargs: ignored; `SaveImage` passes what other writers need.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.source_affine = np.eye(4)
        self.source_shape: tuple[int, ...] = ()

    def set_data_array(
        self,
        data_array: NdarrayOrTensor,
        channel_dim: int | None = 0,
        squeeze_end_dims: bool = True,
        **kwargs: Any,
    ) -> None:
        """Take the mask, (1, H, W) or (1, H, W, K), as displayed."""
        mask, *_ = convert_data_type(data_array, np.ndarray, dtype=np.uint8)
        self.data_obj = mask[0].reshape(*mask.shape[1:3], -1)

    def set_metadata(self, meta_dict: Mapping | None, resample: bool = False, **options: Any) -> None:
        """Take from the metadata how the file lies."""
        meta = meta_dict or {}
        self.source_affine = np.asarray(meta[MetaKeys.ORIGINAL_AFFINE], dtype=float)
        self.source_shape = tuple(int(size) for size in str(meta["source_shape"]).split("x"))

    def write(self, filename: PathLike, verbose: bool = False, **kwargs: Any) -> None:
        """Write the mask, whole or not at all."""
        super().write(filename, verbose=verbose)
        write_ct_mask(Path(filename), np.asarray(self.data_obj), self.source_affine, self.source_shape)
