"""More lesions than were simulated, of other shapes and contrasts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.metrics.lesions import IGNORE, LESION
from bonemets.transforms.randomization.base import RandomizedView, Range, gaussian_spot

CONTOUR = 0.42
"""A lesion's outline, as a share of its own maximum: that of the simulator."""


class RandLesionsd(RandomizedView):
    """Add hot lesions on bone: round ones, streaks along a rib or a shaft, chains that run together.

    A lesion multiplies the counts of one bone by ``1 + contrast * shape``, where the shape is a sum of Gaussians along
    the bone's own direction, within the bone blurred by the camera. Its mask is where its excess reaches 42 % of its
    maximum, as in the simulator. Below a contrast of `visible` it is ignored. Put it before the noise is drawn.

    Args:
        number: mean number of lesions in a view (Poisson).
        contrast: limits of the excess at a lesion's middle, as a share of the counts there (log-uniform).
        sigma: limits of the spread across a lesion in pixels (log-uniform).
        elongation: limits of its spread along the bone, in units of the one across (log-uniform).
        chain: most further spots that run together with the first, along the bone.
        visible: contrast from which a lesion is asked for; fainter ones become *ignore*.
        image_key: see `RandomizedView`.
        label_key: see `RandomizedView`.
        bones_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    def __init__(
        self,
        number: float = 2.0,
        contrast: Range = (0.4, 4.0),
        sigma: Range = (1.0, 4.0),
        elongation: Range = (0.8, 4.0),
        chain: int = 3,
        visible: float = 0.5,
        image_key: str = "image",
        label_key: str = "label",
        bones_key: str = "bones",
        prob: float = 0.5,
    ) -> None:
        super().__init__(image_key, label_key, bones_key, prob)
        self.number, self.contrast, self.sigma, self.elongation = number, contrast, sigma, elongation
        self.chain, self.visible = chain, visible

    def change(
        self, counts: NDArray[np.float32], label: NDArray[np.uint8], bones: NDArray[np.uint8], data: Mapping
    ) -> tuple[NDArray, NDArray]:
        """See `RandomizedView`."""
        rows, columns = np.nonzero(bones)
        if not len(rows):
            return counts, label
        trunk = rows < rows.min() + 0.55 * np.ptp(rows)  # red marrow: nearly all lesions are above the knees
        weight = np.where(trunk, 1.0, 0.08)
        for _ in range(self.R.poisson(self.number)):
            place = self.R.choice(len(rows), p=weight / weight.sum())
            center = (float(rows[place]), float(columns[place]))
            shape = self._shape(bones == bones[rows[place], columns[place]], center)
            contrast = self.log_between(self.contrast)
            excess = contrast * shape * counts
            mask = excess >= CONTOUR * excess.max()
            counts = counts + excess
            if contrast >= self.visible:
                label = np.where(mask, LESION, label)
            else:
                label = np.where(mask & (label != LESION), IGNORE, label)
        return counts, label.astype(np.uint8)

    def _shape(self, bone: NDArray[np.bool_], center: Range) -> NDArray[np.float32]:
        """A lesion of height 1 within one bone, (H, W)."""
        ys, xs = np.nonzero(bone)
        near = (ys - center[0]) ** 2 + (xs - center[1]) ** 2 < 12**2
        spread = np.cov(np.stack([ys[near], xs[near]]).astype(np.float64)) if near.sum() > 3 else np.eye(2)
        direction = np.linalg.eigh(spread)[1][:, 1]  # of the largest spread: along the rib or the shaft
        angle = float(np.arctan2(-direction[1], direction[0]))
        across = self.log_between(self.sigma)
        sigmas = (across * self.log_between(self.elongation), across)
        shape = gaussian_spot(bone.shape, center, sigmas, angle)
        for _ in range(self.R.randint(self.chain + 1)):
            step = self.between((-3.0, 3.0)) * sigmas[0]
            further = (center[0] + step * direction[0], center[1] + step * direction[1])
            shape += np.float32(self.between((0.3, 1.0))) * gaussian_spot(bone.shape, further, sigmas, angle)
        shape = shape * ndimage.gaussian_filter(ndimage.binary_dilation(bone).astype(np.float32), 1.0)
        return np.asarray(shape / max(float(shape.max()), 1e-6), np.float32)
