"""Tracer outside the bones: bladder, urine, kidneys, injection site. All of it stays background.

Positions and sizes are shares of the body's height, drawn far wider than in any population.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.metrics.lesions import IGNORE, LESION
from bonemets.transforms.randomization.base import (
    Frame,
    RandomizedView,
    Range,
    body_frame,
    gaussian_spot,
    super_ellipse,
)


class _RandOrgand(RandomizedView):
    """Adds an organ's counts. A lesion that they drown is not asked for: its label becomes *ignore*.

    Args:
        level: limits of the organ's counts, in units of hot normal bone (log-uniform).
        image_key: see `RandomizedView`.
        label_key: see `RandomizedView`.
        bones_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    level: Range = (1.0, 1.0)

    def __init__(
        self,
        level: Range | None = None,
        image_key: str = "image",
        label_key: str = "label",
        bones_key: str = "bones",
        prob: float = 1.0,
    ) -> None:
        super().__init__(image_key, label_key, bones_key, prob)
        self.level = self.level if level is None else level

    @abstractmethod
    def organ(self, shape: tuple[int, ...], frame: Frame, posterior: bool) -> NDArray[np.float32]:
        """The organ's counts, in units of hot normal bone, (H, W)."""

    def change(
        self, counts: NDArray[np.float32], label: NDArray[np.uint8], bones: NDArray[np.uint8], data: Mapping
    ) -> tuple[NDArray, NDArray]:
        """See `RandomizedView`."""
        frame = body_frame(counts, bones)
        if frame is None:
            return counts, label
        organ = frame.reference * self.organ(counts.shape, frame, data.get("view") == "posterior")
        drowned = (label == LESION) & (organ > counts)
        return counts + organ, np.where(drowned, IGNORE, label).astype(np.uint8)


class RandBladderd(_RandOrgand):
    """A bladder: dome, triangle with its tip down, crescent, or nearly empty; half as hot from behind.

    Args:
        level: see `_RandOrgand`; 0.4 to 6 times hot bone.
        image_key: see `RandomizedView`.
        label_key: see `RandomizedView`.
        bones_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    level = (0.4, 6.0)

    def organ(self, shape: tuple[int, ...], frame: Frame, posterior: bool) -> NDArray[np.float32]:
        """See `_RandOrgand`."""
        width = frame.height * self.between((0.010, 0.040))
        half = width * self.between((0.35, 1.1))
        row, column = frame.row(self.between((0.45, 0.52))), frame.middle + frame.height * self.R.normal(0, 0.008)
        mask = super_ellipse(shape, (row, column), (half, width), self.R.normal(0, 0.15), self.between((1.3, 3.0)))
        kind = self.R.uniform()
        if kind < 0.35:  # triangle: narrower row by row
            rows, columns = np.ogrid[: shape[0], : shape[1]]
            mask &= np.abs(columns - column) < width * (1 - 0.8 * (rows - row + half) / (2 * half))
        elif kind < 0.5:  # crescent: pressed flat from above
            mask &= ~super_ellipse(shape, (row - 0.9 * half, column), (0.9 * half, 0.8 * width))
        spread = ndimage.gaussian_filter(mask.astype(np.float32), self.between((0.8, 1.8)))
        return np.float32(self.log_between(self.level) * (0.5 if posterior else 1.0)) * spread


class RandUrined(_RandOrgand):
    """Urine in urethra or catheter, on the skin or on clothes: small spots and streaks below the bladder.

    Args:
        level: see `_RandOrgand`; 0.4 to 4 times hot bone.
        number: most spots in a view.
        image_key: see `RandomizedView`.
        label_key: see `RandomizedView`.
        bones_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    level = (0.4, 4.0)

    def __init__(
        self,
        level: Range | None = None,
        number: int = 3,
        image_key: str = "image",
        label_key: str = "label",
        bones_key: str = "bones",
        prob: float = 0.35,
    ) -> None:
        super().__init__(level, image_key, label_key, bones_key, prob)
        self.number = number

    def organ(self, shape: tuple[int, ...], frame: Frame, posterior: bool) -> NDArray[np.float32]:
        """See `_RandOrgand`."""
        total = np.zeros(shape, np.float32)
        for _ in range(self.R.randint(1, self.number + 1)):
            place = (frame.row(self.between((0.50, 0.62))), frame.middle + frame.height * self.R.normal(0, 0.018))
            long, wide = self.log_between((0.002, 0.025)), self.between((0.002, 0.008))
            radii = (max(frame.height * long, 1.0), max(frame.height * wide, 1.0))
            spot = super_ellipse(shape, place, radii, self.R.normal(0, 0.5))
            blurred = ndimage.gaussian_filter(spot.astype(np.float32), self.between((0.8, 1.4)))
            total += np.float32(self.log_between(self.level)) * blurred
        return total


class RandKidneysd(_RandOrgand):
    """Kidneys, sometimes one alone, with or without urine in the renal pelvis; fainter from in front.

    Args:
        level: see `_RandOrgand`; 0.1 to 1.2 times hot bone from behind.
        image_key: see `RandomizedView`.
        label_key: see `RandomizedView`.
        bones_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    level = (0.1, 1.2)

    def organ(self, shape: tuple[int, ...], frame: Frame, posterior: bool) -> NDArray[np.float32]:
        """See `_RandOrgand`."""
        height, total = frame.height, np.zeros(shape, np.float32)
        level = self.log_between(self.level) * (1.0 if posterior else 0.4)
        middle = frame.row(self.between((0.33, 0.365)))
        for side in (-1, 1):
            if self.R.uniform() < 0.08:
                continue
            row = middle + height * self.R.normal(0, 0.007)
            column = frame.middle + side * height * self.between((0.040, 0.072))
            radii = (height * self.between((0.022, 0.036)), height * self.between((0.012, 0.022)))
            tilt = -side * self.between((0.0, 0.35))
            kidney = super_ellipse(shape, (row, column), radii, tilt).astype(np.float32)
            total += np.float32(level * self.between((0.6, 1.3))) * ndimage.gaussian_filter(kidney, 1.8)
            if self.R.uniform() < 0.35:
                place = (row + height * self.R.normal(0, 0.010), column - side * height * self.between((0, 0.015)))
                sigmas = (self.between((1.0, 3.0)), self.between((1.0, 2.0)))
                total += np.float32(level * self.between((0.5, 2.5))) * gaussian_spot(shape, place, sigmas)
        return total


class RandInjectiond(_RandOrgand):
    """Injection site, catheter or a contaminated sleeve: one spot or streak beside the trunk.

    Args:
        level: see `_RandOrgand`; 1 to 20 times hot bone.
        image_key: see `RandomizedView`.
        label_key: see `RandomizedView`.
        bones_key: see `RandomizedView`.
        prob: see `RandomizedView`.
    """

    level = (1.0, 20.0)

    def organ(self, shape: tuple[int, ...], frame: Frame, posterior: bool) -> NDArray[np.float32]:
        """See `_RandOrgand`."""
        column = frame.middle + self.R.choice([-1, 1]) * frame.height * self.between((0.12, 0.17))
        place = (frame.row(self.between((0.25, 0.56))), float(np.clip(column, 2, shape[1] - 3)))
        sigmas = (self.log_between((1.0, 8.0)), self.between((0.8, 2.5)))
        return np.float32(self.log_between(self.level)) * gaussian_spot(shape, place, sigmas, self.R.normal(0, 0.3))
