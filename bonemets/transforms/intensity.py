"""Counts to network input."""

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


class NormalizeCounts(Transform):
    """Normalize the counts of each view by the view's own uptake, and even out their noise.

    Counts of a bone scan depend on dose, delay, scan speed and build; only their ratios mean something, since a
    reader compares hot spots with their surroundings. Each view is divided by a high percentile of its body's pixels
    (`body_mask`), about the level of hot normal bone. Air around the body does not enter it, and the hottest tenth
    (bladder, injection site, lesions) hardly does: a bladder of a hundred times the counts changes nothing more than
    one of ten. The square root then makes Poisson noise equally strong everywhere (its standard deviation is
    0.5 / sqrt(reference) at any count) and keeps lesions and ribs on one scale: soft tissue lies at about 0.5,
    normal bone at 1, a marked lesion at 1.5 to 2.5. Multiplying all counts by a constant changes nothing.

    Args:
        percentile: percentile of the body's pixels that becomes 1.
        compress: ``"sqrt"``, or None to stay linear.
        clip: upper limit of the result; None for no limit.

    Raises:
        ValueError: if an argument is not allowed.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, percentile: float = 90.0, compress: str | None = "sqrt", clip: float | None = 4.0) -> None:
        if not 0 < percentile < 100:
            raise ValueError(f"percentile must be between 0 and 100, got {percentile}")
        if compress not in ("sqrt", None):
            raise ValueError(f"compress must be 'sqrt' or None, got {compress!r}")
        if clip is not None and clip <= 0:
            raise ValueError(f"clip must be positive or None, got {clip}")
        self.percentile = percentile
        self.compress = compress
        self.clip = clip

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Normalize (1, H, W), or (1, H, W, V) view by view; the result is float32. A view without counts stays 0."""
        return map_views(img, self.normalize_view)

    def normalize_view(self, view: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalize one view, (H, W)."""
        view = np.maximum(view, 0)
        body = view[body_mask(view)]
        reference = float(np.percentile(body, self.percentile)) if body.size else 0.0
        if reference <= 0:
            return np.zeros_like(view)
        result = view / np.float32(reference)
        if self.compress == "sqrt":
            result = np.sqrt(result)
        return result if self.clip is None else np.minimum(result, np.float32(self.clip))


class NormalizeCountsd(MapTransform):
    """Dictionary-based `NormalizeCounts`.

    Args:
        keys: keys of the images.
        percentile: see `NormalizeCounts`.
        compress: see `NormalizeCounts`.
        clip: see `NormalizeCounts`.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = NormalizeCounts.backend

    def __init__(
        self,
        keys: KeysCollection,
        percentile: float = 90.0,
        compress: str | None = "sqrt",
        clip: float | None = 4.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = NormalizeCounts(percentile, compress, clip)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Normalize the images under the keys."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key])
        return result
