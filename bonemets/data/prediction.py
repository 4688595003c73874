"""What a network says about a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """What a bundle says about a scan, on the scan's own grid.

    Args:
        probability: lesion probability, (H, W, V) float32 in 0..1; V views, or slices of a CT.
        mask: 1 where a lesion is, (H, W, V) uint8.
        threshold: probability at and above which a pixel became lesion.
    """

    probability: NDArray[np.float32]
    mask: NDArray[np.uint8]
    threshold: float
