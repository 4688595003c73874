"""What part of the patient the picture shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bonemets.transforms.randomization.base import RandomizedView, Range


class RandFieldOfViewd(RandomizedView):
    """Blank rows above or below, or columns at the sides: a scan that was stopped, or a picture that was cropped.

    Args:
        rows: limits of the share of the rows that is kept, counted from the first or from the last.
        columns: limits of the share of the columns that is kept around the middle.
        image_key: see `RandomizedView`.
        label_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    def __init__(
        self,
        rows: Range = (0.5, 0.95),
        columns: Range = (0.7, 1.0),
        image_key: str = "image",
        label_key: str = "label",
        prob: float = 0.15,
    ) -> None:
        super().__init__(image_key, label_key, prob=prob)
        self.rows, self.columns = rows, columns

    def change(
        self, counts: NDArray[np.float32], label: NDArray[np.uint8], bones: NDArray[np.uint8], data: Mapping
    ) -> tuple[NDArray, NDArray]:
        """See `RandomizedView`."""
        height, width = counts.shape
        kept = round(height * self.between(self.rows))
        first = 0 if self.R.uniform() < 0.7 else height - kept
        side = round(width * (1 - self.between(self.columns)) / 2)
        seen = np.zeros(counts.shape, bool)
        seen[first : first + kept, side : width - side] = True
        return counts * seen, label * seen
