"""Outline agreement: Hausdorff distance and surface Dice, in millimeters.

Same definitions as MONAI's `HausdorffDistanceMetric(percentile=95)` and `SurfaceDiceMetric` (the tests compare them),
computed from nearest neighbors among the outlines' pixels instead of distance maps of whole images: about 1 ms for a
bone scan instead of 60 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from bonemets.metrics.lesions import IGNORE, LESION


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two outlines.

    Args:
        to_truth: from each outline pixel of the prediction to the nearest one of the truth, mm.
        to_prediction: from each outline pixel of the truth to the nearest one of the prediction, mm.

    Where the other outline does not exist the distances are infinite.
    """

    to_truth: NDArray[np.float64]
    to_prediction: NDArray[np.float64]

    def hausdorff(self, percentile: float = 95.0) -> float:
        """The larger one of the two directed percentiles, mm; NaN unless both outlines exist.

        Args:
            percentile: 0 to 100; 100 gives the Hausdorff distance itself.
        """
        if not len(self.to_truth) or not len(self.to_prediction):
            return float("nan")
        return float(max(np.percentile(self.to_truth, percentile), np.percentile(self.to_prediction, percentile)))

    def surface_dice(self, tolerance: float) -> float:
        """The share of both outlines that lies within a tolerance of the other one; NaN where there is no outline.

        Args:
            tolerance: how far apart outlines may be and still agree, mm.
        """
        total = len(self.to_truth) + len(self.to_prediction)
        if not total:
            return float("nan")
        close = np.count_nonzero(self.to_truth <= tolerance) + np.count_nonzero(self.to_prediction <= tolerance)
        return float(close / total)


def surface_distances(
    prediction: NDArray, truth: NDArray, spacing: tuple[float, float] = (1.0, 1.0)
) -> SurfaceDistances:
    """Distances between the outlines of a predicted mask and the true one.

    An outline is the mask's pixels that touch what is outside with an edge (4-connectivity), as in MONAI. Ignored
    pixels are outside of both masks.

    Args:
        prediction: (H, W) mask, what is not zero is lesion.
        truth: (H, W) label: 0 background, 1 lesion, 2 ignore.
        spacing: row and column spacing, mm.

    Raises:
        ValueError: the shapes differ.
    """
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction has shape {prediction.shape} and truth {truth.shape}; they must agree")
    found = _outline((prediction != 0) & (truth != IGNORE)) * np.asarray(spacing, dtype=float)
    real = _outline(truth == LESION) * np.asarray(spacing, dtype=float)
    return SurfaceDistances(_nearest(found, real), _nearest(real, found))


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places (N, 2) of the mask's pixels that have a neighbor outside; beyond the image is outside."""
    boxes = ndimage.find_objects(mask.astype(np.uint8))
    if not boxes:
        return np.empty((0, 2), dtype=np.int64)
    inside = mask[boxes[0]]
    offset = [part.start for part in boxes[0]]
    return np.argwhere(inside & ~ndimage.binary_erosion(inside)) + offset


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    return KDTree(others).query(points)[0]
