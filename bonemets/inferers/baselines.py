"""What simple image processing finds: the least that a network has to beat.

Each detector maps a view's counts to a score per pixel, 0 to 1, which the free-response ROC treats like a network's
probability (`bonemets.metrics.froc`). None of them has learned anything; none sees a label.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.transforms.intensity import NormalizeCounts

Detector = Callable[[NDArray], NDArray[np.float32]]

_NORMALIZE = NormalizeCounts(clip=None)
SCALE = 1.5
"""Excess, in units of the square root of hot normal bone's counts, that becomes a score of 0.5 in `_score`."""


def white_top_hat(view: NDArray, radius: int = 9, smoothing: float = 1.5) -> NDArray[np.float32]:
    """What rises above its surroundings and is narrower than a disk (Meyer 1979): hot spots, but ribs too.

    Args:
        view: counts, (H, W), 1024 rows for a whole body.
        radius: of the disk, in pixels; 9 are 20 mm at 2.26 mm a pixel.
        smoothing: Gaussian against the noise, standard deviation in pixels.

    Returns:
        (H, W) score, 0 to 1.
    """
    smooth = ndimage.gaussian_filter(_NORMALIZE.normalize_view(np.asarray(view, np.float32)), smoothing)
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return _score(ndimage.white_tophat(smooth, footprint=rows**2 + columns**2 <= radius**2))


def global_threshold(view: NDArray, smoothing: float = 1.5) -> NDArray[np.float32]:
    """The counts themselves: everything that is hot.

    Args:
        view: counts, (H, W).
        smoothing: see `white_top_hat`.

    Returns:
        (H, W) score, 0 to 1.
    """
    return _score(ndimage.gaussian_filter(_NORMALIZE.normalize_view(np.asarray(view, np.float32)), smoothing))


def mirrored_difference(view: NDArray, smoothing: float = 1.5, reach: int = 6) -> NDArray[np.float32]:
    """What is hotter than the same place on the other side of the body.

    The midline is the column about which the view, mirrored, correlates best with itself. The other side's value is the
    maximum within a few pixels, since no patient is symmetric.

    Args:
        view: counts, (H, W).
        smoothing: see `white_top_hat`.
        reach: half the side of the window of that maximum in pixels.

    Returns:
        (H, W) score, 0 to 1.
    """
    smooth = ndimage.gaussian_filter(_NORMALIZE.normalize_view(np.asarray(view, np.float32)), smoothing)
    width = smooth.shape[1]
    flipped = smooth[:, ::-1]
    shifts = range(-width // 4, width // 4 + 1)
    best = max(shifts, key=lambda shift: float((smooth * _shifted(flipped, shift)).sum()))
    other = ndimage.maximum_filter(_shifted(flipped, best), size=2 * reach + 1)
    return _score(smooth - other)


BASELINES: dict[str, Detector] = {
    "white_top_hat": white_top_hat,
    "global_threshold": global_threshold,
    "mirrored_difference": mirrored_difference,
}


def _shifted(view: NDArray, shift: int) -> NDArray:
    """A view moved to the right by ``shift`` columns; what comes in is 0."""
    moved = np.zeros_like(view)
    if shift >= 0:
        moved[:, shift:] = view[:, : view.shape[1] - shift]
    else:
        moved[:, :shift] = view[:, -shift:]
    return moved


def _score(excess: NDArray) -> NDArray[np.float32]:
    """An excess above 0 as a score that rises from 0 to 1 and is 0.5 at `SCALE`."""
    positive = np.maximum(excess, 0)
    return np.asarray(positive / (positive + SCALE), np.float32)
