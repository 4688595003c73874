"""Count level, blur, and background of the acquisition."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.transforms.randomization.base import RandomizedView, Range


class RandCountsd(RandomizedView):
    """Blur the view, scale it to another number of counts, add a background, and draw Poisson noise.

    The simulated counts carry their own noise already; in pixels of four times the area it is small against what is
    drawn here.

    Args:
        counts: limits of the total counts (log-uniform).
        blur: limits of the Gaussian's standard deviation in pixels.
        background: limits of the background in counts per pixel, in three views of ten.
        image_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    def __init__(
        self,
        counts: Range = (2e5, 2.5e6),
        blur: Range = (0.0, 0.9),
        background: Range = (0.0, 0.6),
        image_key: str = "image",
        prob: float = 1.0,
    ) -> None:
        super().__init__(image_key=image_key, prob=prob)
        self.counts, self.blur, self.background = counts, blur, background

    def change(
        self, counts: NDArray[np.float32], label: NDArray[np.uint8], bones: NDArray[np.uint8], data: Mapping
    ) -> tuple[NDArray, NDArray]:
        """See `RandomizedView`."""
        expected = ndimage.gaussian_filter(np.maximum(counts, 0).astype(np.float64), self.between(self.blur))
        expected *= self.log_between(self.counts) / max(expected.sum(), 1e-6)
        if self.R.uniform() < 0.3:
            expected += self.between(self.background)
        return self.R.poisson(expected).astype(np.float32), label
