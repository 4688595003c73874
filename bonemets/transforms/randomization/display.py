"""Counts that have been a picture: other pixels, a display curve, a window, 8 bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from bonemets.transforms.randomization.base import RandomizedView, Range


class RandDisplayd(RandomizedView):
    """Resample to coarser pixels and back, saturate, bend by a power, and round to 8 bit.

    Many scans outlive their DICOM files as pictures only. Each step is drawn by itself: a scan may be resampled but
    keep all its counts.

    Args:
        pixels: limits of the coarser grid, as a share of the rows and columns (1: none).
        gamma: limits of the display curve's power (log-uniform).
        percentile: limits of the percentile of all pixels at which the picture saturates.
        levels: limits of the gray levels up to there.
        smooth: limits of a last Gaussian blur in pixels, as interpolation of a viewer leaves.
        image_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    def __init__(
        self,
        pixels: Range = (0.6, 1.0),
        gamma: Range = (0.75, 1.3),
        percentile: Range = (99.3, 100.0),
        levels: Range = (60, 255),
        smooth: Range = (0.35, 0.9),
        image_key: str = "image",
        prob: float = 1.0,
    ) -> None:
        super().__init__(image_key=image_key, prob=prob)
        self.pixels, self.gamma, self.percentile, self.levels = pixels, gamma, percentile, levels
        self.smooth = smooth

    def change(
        self, counts: NDArray[np.float32], label: NDArray[np.uint8], bones: NDArray[np.uint8], data: Mapping
    ) -> tuple[NDArray, NDArray]:
        """See `RandomizedView`."""
        height, width = counts.shape
        counts = counts.astype(np.float32)
        if coarse := self.R.uniform() < 0.6:
            share = self.between(self.pixels)
            size = (max(round(width * share), 8), max(round(height * share), 8))
            counts = _resized(counts, size, Image.Resampling.BOX)
        if self.R.uniform() < 0.5:
            top = float(np.percentile(counts, self.between(self.percentile)))
            if top > 0:
                counts = np.float32(top) * np.clip(counts / top, 0, self.between((1.0, 3.0))) ** self.log_between(
                    self.gamma
                )
                step = top / self.between(self.levels)
                counts = (np.round(counts / step) * step).astype(np.float32)
        if coarse:
            counts = _resized(counts, (width, height), Image.Resampling.BICUBIC)
        if self.R.uniform() < 0.5:
            counts = ndimage.gaussian_filter(counts, self.between(self.smooth))
        return counts, label


def _resized(counts: NDArray, size: tuple[int, int], kind: Image.Resampling) -> NDArray[np.float32]:
    """Counts at another size (width, height)."""
    return np.asarray(Image.fromarray(np.asarray(counts, np.float32)).resize(size, kind), np.float32)
