"""The outline of the body: super-ellipses per image row, fitted to the posed bones and the patient's weight.

Each part (head, neck, trunk, thighs, calves, feet, upper arms, forearms, hands) has a few stations along its length,
placed on bony landmarks. Half-widths and depths at the stations are bone plus soft tissue; the soft tissue grows with a
single number, ``fat``, that is solved for so that the body has the patient's weight. Paddings are in meters and chosen
by eye and against the XCAT 50th-percentile man (chest 234 mm, belly 244 mm, pelvis 218 mm deep).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.interpolate import PchipInterpolator
from scipy.special import gamma

from bonemets.simulation.patient.grid import PIXEL
from bonemets.simulation.skeleton.anatomy import BONE_IDS, bones_of


@dataclass(frozen=True)
class Part:
    """A stack of super-ellipses ``|x/a|^n + |y/b|^n <= 1``, one per image row.

    Attributes:
        name: what it is.
        rows: (R,) image rows.
        x: (R,) centers; ``y`` (R,) likewise; ``a`` (R,) lateral and ``b`` (R,) depth half-axes; all in meters.
        power: exponent n.
        fat: thickness of the subcutaneous fat.
    """

    name: str
    rows: np.ndarray
    x: np.ndarray
    y: np.ndarray
    a: np.ndarray
    b: np.ndarray
    power: float
    fat: float

    def volume(self) -> float:
        """Volume in liters."""
        area = 4 * gamma(1 + 1 / self.power) ** 2 / gamma(1 + 2 / self.power)
        return float(1000 * PIXEL * area * (self.a * self.b).sum())

    def lean(self) -> Part:
        """The part without its subcutaneous fat."""
        thinner = (np.maximum(half - np.minimum(self.fat, 0.45 * half), 0.002) for half in (self.a, self.b))
        a, b = thinner
        return replace(self, a=a, b=b)


class Landmarks:
    """Positions that the outline hangs on, read from the convex hulls of the posed bones."""

    def __init__(self, hull: np.ndarray, hull_bone: np.ndarray, heights: np.ndarray) -> None:
        self.hull, self.heights = hull.astype(np.float64), heights
        self._edges = np.searchsorted(hull_bone, np.arange(len(BONE_IDS) + 2))

    def of(self, *bones: str) -> np.ndarray:
        """Hull vertices (n, 3) of the named bones."""
        ids = [BONE_IDS[bone] for bone in bones]
        return np.concatenate([self.hull[self._edges[i] : self._edges[i + 1]] for i in ids])

    def low(self, axis: int, *bones: str) -> float:
        """Smallest coordinate of the named bones."""
        return float(self.of(*bones)[:, axis].min())

    def high(self, axis: int, *bones: str) -> float:
        """Largest coordinate of the named bones."""
        return float(self.of(*bones)[:, axis].max())

    def center(self, *bones: str) -> np.ndarray:
        """Middle of the bounding box of the named bones."""
        points = self.of(*bones)
        return np.asarray((points.min(axis=0) + points.max(axis=0)) / 2)

    def rows_between(self, top: float, bottom: float) -> np.ndarray:
        """Image rows whose centers lie between two heights."""
        return np.flatnonzero((self.heights <= top) & (self.heights >= bottom))


def stack(
    marks: Landmarks,
    name: str,
    stations: Sequence[tuple[float, float, float, float, float]],
    *,
    power: float,
    fat: float,
    dome: float = 0.0,
    foot: float = 0.0,
) -> Part:
    """Interpolate stations ``(z, x left edge, x right edge, y front, y back)`` to rows, without overshoot.

    ``dome`` and ``foot`` round off the upper and lower end over that length (meters).
    """
    ordered = sorted({station[0]: station for station in stations}.values())
    z = np.array([station[0] for station in ordered])
    rows = marks.rows_between(z[-1], z[0])
    height = marks.heights[rows]
    left, right, front, back = PchipInterpolator(z, np.array([s[1:] for s in ordered]))(height).T
    x, y = (left + right) / 2, (front + back) / 2
    a, b = np.maximum((right - left) / 2, 0.003), np.maximum((back - front) / 2, 0.003)
    for length, distance in ((dome, z[-1] - height), (foot, height - z[0])):
        if length:
            rounding = np.sqrt(np.clip(1 - np.clip(1 - distance / length, 0, 1) ** 2, 0.01, 1))
            a, b = a * rounding, b * rounding
    return Part(name, rows, x, y, a, b, power, fat)


def hug(
    marks: Landmarks, name: str, points: np.ndarray, pads: tuple[float, float, float], *, fat: float, smooth: float
) -> Part:
    """A part that follows its bones row by row (hands and feet); ``pads``: sides, front, back."""
    rows = marks.rows_between(float(points[:, 2].max()) + 0.008, float(points[:, 2].min()) - 0.008)
    row = np.clip(np.round((marks.heights[0] - points[:, 2]) / PIXEL).astype(int) - rows[0], 0, len(rows) - 1)
    extent = np.full((4, len(rows)), np.nan)
    for i, (axis, reduce) in enumerate(((0, np.fmin), (0, np.fmax), (1, np.fmin), (1, np.fmax))):
        reduce.at(extent[i], row, points[:, axis])
    known = np.flatnonzero(~np.isnan(extent[0]))
    index = np.arange(len(rows))
    left, right, front, back = (
        ndimage.gaussian_filter1d(np.interp(index, known, line[known]), smooth, mode="nearest") for line in extent
    )
    a, b = (right - left) / 2 + pads[0], (back - front + pads[1] + pads[2]) / 2
    ends = np.minimum(index, len(rows) - 1 - index) * PIXEL / 0.010
    rounding = np.sqrt(np.clip(1 - np.clip(1 - ends, 0, 1) ** 2, 0.05, 1))
    return Part(
        name, rows, (left + right) / 2, (front - pads[1] + back + pads[2]) / 2, a * rounding, b * rounding, 2.3, fat
    )


def side_bones(side: str, *regions: str) -> tuple[str, ...]:
    """Names of the bones of one side in the given regions."""
    return tuple(bone for bone in bones_of(*regions) if bone.endswith(f"_{side}") or f"_{side}_" in bone)
