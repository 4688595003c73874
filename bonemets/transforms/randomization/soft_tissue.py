"""Contrast of bone to soft tissue."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.transforms.randomization.base import RandomizedView, Range


class RandSoftTissued(RandomizedView):
    """Take away or add a share of the soft tissue's counts.

    Time after injection, kidney function, weight and a gray-scale window that begins above 0 all change how far bone
    stands out. What lies under the bones is estimated as the smoothed minimum of the smoothed counts within `size`.

    Args:
        share: limits of the share that is taken away; below 0 it is added.
        size: pixels of the minimum filter, wider than a rib.
        image_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    def __init__(self, share: Range = (-0.3, 0.85), size: int = 9, image_key: str = "image", prob: float = 1.0) -> None:
        super().__init__(image_key=image_key, prob=prob)
        self.share, self.size = share, size

    def change(
        self, counts: NDArray[np.float32], label: NDArray[np.uint8], bones: NDArray[np.uint8], data: Mapping
    ) -> tuple[NDArray, NDArray]:
        """See `RandomizedView`."""
        low = ndimage.minimum_filter(ndimage.gaussian_filter(counts, 1.2), size=self.size)
        return counts - np.float32(self.between(self.share)) * ndimage.gaussian_filter(low, self.size / 3), label
