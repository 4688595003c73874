"""The thorax out of a whole-body scan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, ResizeWithPadOrCrop, SpatialCrop, Transform
from monai.utils import TransformBackends, convert_data_type, convert_to_tensor

from bonemets.transforms.body import find_shoulders


def thorax_start(img: NdarrayOrTensor, rows: int, margin: int = 16) -> int:
    """First row of the thorax window of `rows` rows, found from the outline of head and shoulders.

    It lies `margin` rows above the shoulders, so that the lower neck is in. Where there is no head above shoulders (a
    scan of the trunk only) it is row 0. The window is moved up where it would reach beyond the last row.

    Args:
        img: counts or normalized counts, (1, H, W) or (1, H, W, V); the views count together.
        rows: height of the window.
        margin: rows above the shoulders; 16 are 36 mm at 2.26 mm a pixel.
    """
    array, *_ = convert_data_type(img, np.ndarray, dtype=np.float32)
    view = array[0].reshape(*array.shape[1:3], -1).mean(axis=2)
    shoulders = find_shoulders(view)
    start = 0 if shoulders is None else shoulders - margin
    return max(min(start, view.shape[0] - rows), 0)


class CropThorax(Transform):
    """Crop the thorax: a window of fixed size that begins just above the shoulders.

    He et al. 2024, section 2.1: "extracted the patients' thoracic regions" from 1024×256 scans. How is not said; the
    group's networks take 256×256. The window is found from the body's outline alone (`find_shoulders`), never from
    labels, so that training, validation and use see the same kind of picture.

    Args:
        size: rows and columns of the result. Columns are cropped or padded around the middle; a shorter scan is
            padded.
        margin: rows kept above the shoulders.

    Raises:
        ValueError: if the size is not two positive numbers.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, size: Sequence[int] = (256, 256), margin: int = 16) -> None:
        if len(size) != 2 or min(size) < 1:
            raise ValueError(f"size must be two positive numbers, got {tuple(size)}")
        self.size = (int(size[0]), int(size[1]))
        self.margin = margin

    def __call__(self, img: NdarrayOrTensor, start: int | None = None) -> NdarrayOrTensor:
        """Crop (1, H, W) or (1, H, W, V).

        Args:
            img: the scan.
            start: first row of the window where it is known already, else it is found in `img`.

        Returns:
            (1, *size) or (1, *size, V).
        """
        if start is None:
            start = thorax_start(img, self.size[0], self.margin)
        rest = img.shape[3:]
        window = SpatialCrop(roi_start=(start, 0, *[0] * len(rest)), roi_end=(start + self.size[0], *img.shape[2:]))
        tensor = convert_to_tensor(img, track_meta=True)
        return ResizeWithPadOrCrop(spatial_size=(*self.size, *rest))(window(tensor))


class CropThoraxd(MapTransform):
    """Dictionary-based `CropThorax`: the window is found in one image and cut out of all.

    Args:
        keys: keys to crop.
        source_key: key of the image in which the shoulders are looked for.
        size: see `CropThorax`.
        margin: see `CropThorax`.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = CropThorax.backend

    def __init__(
        self,
        keys: KeysCollection,
        source_key: str = "image",
        size: Sequence[int] = (256, 256),
        margin: int = 16,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.source_key = source_key
        self.transform = CropThorax(size, margin)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Crop what is under the keys."""
        result = dict(data)
        start = thorax_start(result[self.source_key], self.transform.size[0], self.transform.margin)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key], start)
        return result
