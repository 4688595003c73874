"""Uptake of the single bones, and a smooth change over the whole skeleton."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.transforms.randomization.base import RandomizedView, Range


class RandBoneGaind(RandomizedView):
    """Brighten and darken bone by bone, and region by region.

    Every bone gets a lognormal factor, blurred at its edges, and the whole view a smooth lognormal field. Lesions keep
    their own counts, so that their contrast varies with the bone around them.

    Args:
        bone_sigma: limits of the spread of the bones' factors (of their logarithm).
        field_sigma: limits of the spread of the smooth field.
        field_size: knots of the field, rows and columns.
        image_key: see `RandomizedView`.
        label_key: see `RandomizedView`.
        bones_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    def __init__(
        self,
        bone_sigma: Range = (0.05, 0.35),
        field_sigma: Range = (0.0, 0.35),
        field_size: tuple[int, int] = (18, 6),
        image_key: str = "image",
        label_key: str = "label",
        bones_key: str = "bones",
        prob: float = 1.0,
    ) -> None:
        super().__init__(image_key, label_key, bones_key, prob)
        self.bone_sigma, self.field_sigma, self.field_size = bone_sigma, field_sigma, field_size

    def change(
        self, counts: NDArray[np.float32], label: NDArray[np.uint8], bones: NDArray[np.uint8], data: Mapping
    ) -> tuple[NDArray, NDArray]:
        """See `RandomizedView`."""
        gain = np.exp(self.R.normal(0, self.between(self.bone_sigma), 256)).astype(np.float32)
        gain[0] = 1
        of_bone = ndimage.gaussian_filter(gain[bones], 1.5)
        knots = self.R.normal(0, self.between(self.field_sigma), self.field_size).astype(np.float32)
        field = np.exp(ndimage.zoom(knots, np.divide(counts.shape, self.field_size), order=3))
        lesion = ndimage.gaussian_filter((label == 1).astype(np.float32), 1.5)
        return counts * (of_bone * (1 - lesion) + lesion) * field, label
