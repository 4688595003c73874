"""Counts to a fixed range."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from numpy.typing import NDArray

from bonemets.transforms.body import body_mask
from bonemets.transforms.views import map_views


class NormalizeMinMax(Transform):
    """Map the counts of each view linearly to the range 0 to 1, from its smallest to its largest count.

    Xie et al. 2025, "Data preprocessing", step 1: "each DICOM file undergoes adaptive normalization. This normalization
    adjusts pixel intensities within a fixed range based on the observed maximum and minimum values".

    Deviation: the largest count may be a single extravasated injection of a hundred times the counts of bone, and then
    everything else would end up near 0 (the paper's "big numbers eat small numbers"). So the maximum is limited to a
    multiple of hot normal bone, the 90th percentile of the body's pixels; what is hotter becomes 1. Without the limit,
    hot normal bone lies anywhere from 0.02 to 0.39 in 120 simulated views (bladder removed), with it from 0.125 to 0.39
    (median 0.25), and 6 % of the lesion pixels reach 1. Multiplying all counts by a constant changes nothing.

    Args:
        limit: upper limit of the maximum as a multiple of hot normal bone; None for the maximum itself, as printed.

    Raises:
        ValueError: if the limit is not positive.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, limit: float | None = 8.0) -> None:
        if limit is not None and limit <= 0:
            raise ValueError(f"limit must be positive or None, got {limit}")
        self.limit = limit

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Normalize (1, H, W), or (1, H, W, V) view by view; the result is float32. A constant view becomes 0."""
        return map_views(img, self.normalize_view)

    def normalize_view(self, view: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalize one view, (H, W)."""
        lowest, highest = float(view.min()), float(view.max())
        body = view[body_mask(view)]
        if self.limit is not None and body.size:
            highest = min(highest, lowest + self.limit * (float(np.percentile(body, 90)) - lowest))
        if highest <= lowest:
            return np.zeros_like(view)
        return np.clip((view - np.float32(lowest)) / np.float32(highest - lowest), 0, 1)


class NormalizeMinMaxd(MapTransform):
    """Dictionary-based `NormalizeMinMax`.

    Args:
        keys: keys of the images.
        limit: see `NormalizeMinMax`.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = NormalizeMinMax.backend

    def __init__(self, keys: KeysCollection, limit: float | None = 8.0, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = NormalizeMinMax(limit)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalize the images under the keys."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key])
        return result
