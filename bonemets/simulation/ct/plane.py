"""The plane of a CT slice: pixel positions, smooth random fields, and drawing with soft edges."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

SIZE = 512
"""Rows and columns of a slice."""


@dataclass(frozen=True)
class Plane:
    """Where the pixels of an axial slice lie, in mm: x to the patient's left, y to the back, z to the head.

    Rows run from anterior to posterior and columns from the patient's right to the left, as CT is displayed.

    Attributes:
        x0: x of the middle between the two central columns.
        y0: y of the middle between the two central rows.
        z: height of the slice's middle.
        pixel: pixel size.
    """

    x0: float
    y0: float
    z: float
    pixel: float
    x: np.ndarray = field(init=False, repr=False)
    y: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        steps = ((np.arange(SIZE) - SIZE / 2 + 0.5) * self.pixel).astype(np.float32)
        object.__setattr__(self, "x", (self.x0 + steps)[None, :])
        object.__setattr__(self, "y", (self.y0 + steps)[:, None])

    def window(self, low: np.ndarray, high: np.ndarray, margin: float) -> tuple[slice, slice] | None:
        """Rows and columns that cover a box (x, y in mm) grown by a margin; None if the box is off the slice."""
        first = np.floor((np.array([low[1], low[0]]) - margin - [self.y[0, 0], self.x[0, 0]]) / self.pixel).astype(int)
        last = np.ceil((np.array([high[1], high[0]]) + margin - [self.y[0, 0], self.x[0, 0]]) / self.pixel).astype(int)
        first, last = np.clip(first, 0, SIZE), np.clip(last + 1, 0, SIZE)
        if (last <= first).any():
            return None
        return slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1]))


class Waves:
    """A smooth random field in space, of unit standard deviation: a sum of plane waves.

    It is the same function in every slice, so that what it bends stays continuous from slice to slice.
    """

    def __init__(self, rng: np.random.Generator, shortest: float, longest: float, count: int = 10) -> None:
        direction = rng.normal(size=(count, 3))
        direction /= np.sqrt((direction**2).sum(axis=1, keepdims=True))
        self._k = direction * (2 * np.pi / rng.uniform(shortest, longest, count))[:, None]
        self._phase = rng.uniform(0, 2 * np.pi, count)

    def on(self, plane: Plane) -> np.ndarray:
        """Values (512, 512) float32 in a plane; cosines of sums are split, so that only vectors need them."""
        across = self._k[:, :1] * plane.x
        down = self._k[:, 1:2] * plane.y[:, 0][None] + (self._k[:, 2] * plane.z + self._phase)[:, None]
        scale = np.sqrt(2 / len(self._phase))
        field = np.zeros((SIZE, SIZE), np.float32)
        for a, b in zip(across.astype(np.float32), down.astype(np.float32), strict=True):
            field += np.cos(b)[:, None] * np.cos(a)[None] - np.sin(b)[:, None] * np.sin(a)[None]
        return field * np.float32(scale)


def grain(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Random texture of one slice, (512, 512) float32 with unit standard deviation; ``sigma`` in pixels."""
    noise = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE), dtype=np.float32), sigma, mode="wrap")
    return np.asarray(noise / noise.std())


def paint(image: np.ndarray, distance: np.ndarray, value: np.ndarray | float, pixel: float) -> None:
    """Blend ``value`` into ``image`` where ``distance`` (mm) is positive, with an edge of one pixel."""
    cover = np.clip(distance * np.float32(1 / pixel) + np.float32(0.5), 0, 1)
    image += cover * (value - image)


def ellipse(
    x: np.ndarray, y: np.ndarray, center: tuple[float, float], half: tuple[float, float], power: float = 2.0
) -> np.ndarray:
    """Approximate distance (mm, positive inside) to the border of a super-ellipse, on (possibly bent) coordinates."""
    a, b = max(half[0], 0.1), max(half[1], 0.1)
    u, v = np.abs((x - center[0]) / a), np.abs((y - center[1]) / b)
    radius = np.sqrt(u * u + v * v) if power == 2.0 else (u**power + v**power) ** (1 / power)
    return np.asarray((1 - radius) * min(a, b), np.float32)


def ellipsoid(
    x: np.ndarray, y: np.ndarray, z: float, center: np.ndarray, half: tuple[float, float, float]
) -> np.ndarray:
    """Distance (mm, positive inside) to the section of an ellipsoid at height ``z``; -1000 where there is none."""
    rest = 1 - ((z - center[2]) / half[2]) ** 2
    if rest <= 0.01:
        return np.full(np.broadcast_shapes(x.shape, y.shape), -1e3, np.float32)
    scale = float(np.sqrt(rest))
    return ellipse(x, y, (center[0], center[1]), (half[0] * scale, half[1] * scale))
