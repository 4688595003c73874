"""The average scan and skeleton, and how a scan's pixels and theirs correspond.

The average skeleton has *knots* along its middle, from the top of the head to the toes. A patient is described by three
numbers per knot: its row, the column of the body's middle there, and the width relative to the average. Between the
knots all three are interpolated, so that a place of the average skeleton (``u`` mm below the top of the head, ``x`` mm
to the patient's left of the middle) is seen at::

    row(u) = Σ h_k(u) r_k        column(u, x) = Σ h_k(u) (m_k + s_k x)        with linear basis functions h_k
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FINE_MM, WIDE_MM = 6.0, 30.0
"""Blur of what is compared, and of the surroundings that it is divided by: counts, dose and attenuation cancel."""
MARGIN = 60.0
"""Air above the head and below the toes that belongs to the average scan, in mm."""

Array = NDArray[np.floating]


@dataclass(frozen=True)
class ComparableScan:
    """A scan as it is compared, all views in the anterior orientation.

    Args:
        values: (V, H, W) blurred counts relative to their surroundings.
        known: (V, H, W) 1 where the camera saw something, 0 beyond its field of view.
        which: for each view 0 (anterior) or 1 (posterior).
        spacing: row and column spacing in mm.
    """

    values: Array
    known: Array
    which: tuple[int, ...]
    spacing: tuple[float, float]


@dataclass(frozen=True)
class AverageScan:
    """The average scan and skeleton, and how patients differ from them.

    Args:
        knots: (K,) rows of the knots in mm below the top of the head.
        mean: (K, 3) average parameters; their position is arbitrary.
        precision: (3K, 3K) inverse covariance of the parameters between patients, 0 for a shift of the whole.
        rows: (R,) rows of the average scan's pixels, mm below the top of the head.
        columns: (C,) their columns, mm to the patient's left of the middle.
        values: (2, R, C) average of the compared values, anterior and posterior view.
        spread: (2, R, C) their standard deviation between patients.
        cover: (2, R, C) share of patients whose field of view held the pixel.
    """

    knots: Array
    mean: Array
    precision: Array
    rows: Array
    columns: Array
    values: Array
    spread: Array
    cover: Array


def make_comparable(pixels: NDArray, views: Sequence[str], spacing: tuple[float, float]) -> ComparableScan:
    """Prepare a scan for comparison.

    Args:
        pixels: counts, (H, W, V).
        views: "anterior" or "posterior" for each view.
        spacing: row and column spacing in mm.
    """
    values, known = [], []
    for index, view in enumerate(views):
        counts = np.maximum(np.asarray(pixels[..., index], np.float32), 0)
        if view == "posterior":
            counts = counts[:, ::-1]
        seen = np.zeros(counts.shape, np.float32)
        rows, columns = (np.flatnonzero(counts.any(axis=axis)) for axis in (1, 0))
        if rows.size:
            seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 1
        fine, wide = (
            np.sqrt(ndimage.gaussian_filter(counts, [blur / size for size in spacing], truncate=3))
            for blur in (FINE_MM, WIDE_MM)
        )
        # In air the surroundings hold next to nothing: what is added keeps noise from looking like bone there.
        base = 0.4 * np.percentile(fine[seen > 0], 75) if rows.size else 0.0
        values.append(fine / np.maximum(wide + base, 1e-6))
        known.append(seen)
    which = tuple(int(view == "posterior") for view in views)
    return ComparableScan(np.stack(values).astype(np.float32), np.stack(known), which, spacing)


def linear_basis(positions: Array, knots: Array) -> Array:
    """Piecewise linear basis of the knots, (N, K), extrapolated linearly beyond the first and last knot."""
    left = np.clip(np.searchsorted(knots, positions) - 1, 0, len(knots) - 2)
    share = (positions - knots[left]) / (knots[left + 1] - knots[left])
    result = np.zeros((len(positions), len(knots)))
    number = np.arange(len(positions))
    result[number, left], result[number, left + 1] = 1 - share, share
    return result


def warp(average: AverageScan, parameters: Array) -> tuple[Array, Array]:
    """Where the pixels of the average scan are seen: row (R,) and column (R, C) in mm from the image's upper middle."""
    across = linear_basis(np.clip(average.rows, average.knots[0], average.knots[-1]), average.knots)
    row = linear_basis(average.rows, average.knots) @ parameters[:, 0]
    return row, (across @ parameters[:, 1])[:, None] + (across @ parameters[:, 2])[:, None] * average.columns


def unwarp(average: AverageScan, parameters: Array, row: Array, column: Array) -> tuple[Array, Array]:
    """The inverse of `warp` for single places: ``u`` and ``x`` of what is seen at a row and column (both in mm)."""
    r, knots = parameters[:, 0], average.knots
    u = np.interp(row, r, knots)
    for end, inner, beyond in ((0, 1, row < r[0]), (-1, -2, row > r[-1])):
        slope = (knots[inner] - knots[end]) / (r[inner] - r[end])
        u = np.where(beyond, knots[end] + slope * (row - r[end]), u)
    middle, width = (np.interp(u, knots, parameters[:, part]) for part in (1, 2))
    return u, (column - middle) / width


def sample(scan: ComparableScan, row: Array, column: Array) -> tuple[Array, Array]:
    """Values of all views, (V, R, C), at places in mm, and whether they are within the field of view."""
    height, width = scan.values.shape[1:]
    rows = np.broadcast_to((row / scan.spacing[0] - 0.5)[:, None], column.shape)
    places = np.stack([rows, column / scan.spacing[1] + (width - 1) / 2]).astype(np.float32)
    values, known = (
        np.stack([ndimage.map_coordinates(image, places, order=1) for image in images])
        for images in (scan.values, scan.known)
    )
    return values, (known > 0.99).astype(np.float32)
