"""Worn joints and other spots on bone that are no metastases."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bonemets.transforms.randomization.base import RandomizedView, Range, gaussian_spot


class RandBenignSpotsd(RandomizedView):
    """Add mildly hot spots on bone, which stay background.

    They are anywhere on the skeleton, fainter than a lesion that anyone would mark (`excess` is below the simulator's
    limit of visibility on average), so that the network does not mark every unevenness of normal bone.

    Args:
        number: mean number of spots in a view (Poisson).
        excess: limits of a spot's height, as a share of the counts there.
        sigma: limits of a spot's spread in pixels.
        image_key: see `RandomizedView`.
        label_key: see `RandomizedView`.
        bones_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    def __init__(
        self,
        number: float = 3.0,
        excess: Range = (0.1, 0.6),
        sigma: Range = (1.5, 5.0),
        image_key: str = "image",
        label_key: str = "label",
        bones_key: str = "bones",
        prob: float = 1.0,
    ) -> None:
        super().__init__(image_key, label_key, bones_key, prob)
        self.number, self.excess, self.sigma = number, excess, sigma

    def change(
        self, counts: NDArray[np.float32], label: NDArray[np.uint8], bones: NDArray[np.uint8], data: Mapping
    ) -> tuple[NDArray, NDArray]:
        """See `RandomizedView`."""
        rows, columns = np.nonzero((bones > 0) & (label == 0))
        for _ in range(self.R.poisson(self.number) if len(rows) else 0):
            place = self.R.randint(len(rows))
            sigmas = (self.between(self.sigma), self.between(self.sigma))
            spot = gaussian_spot(counts.shape, (rows[place], columns[place]), sigmas, self.between((0, np.pi)))
            counts = counts * (1 + self.between(self.excess) * spot)
        return counts, label
