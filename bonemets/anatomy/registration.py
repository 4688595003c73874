"""Where a scan's skeleton lies: the average scan is registered to it.

The parameters (see `bonemets.anatomy.average`) are those at which the scan is most similar to the average scan: a
Gauss-Newton minimization of the squared differences, each divided by its variance between patients (where bladder,
kidneys and arms differ, little is asked), with Huber's weights against lesions, plus the Mahalanobis distance of the
parameters from those of the simulated patients. These are the least squares of Lucas and Kanade's image registration,
with a statistical shape model as prior. The start is found by trying all places of the average scan, so that a part of
a body will do. Both views of a study share the parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from bonemets.anatomy.average import MARGIN, Array, AverageScan, ComparableScan, linear_basis, sample, unwarp, warp

COARSE_STEP = 2
"""The start is searched for on every second row and column of the average scan."""
SCALES = (0.92, 1.0, 1.08)
"""Body heights that are tried, relative to the average."""
STARTS, ITERATIONS = 3, 15
GOOD_START = 0.93
"""Correlation from which on no further start is tried, for a whole body."""
MIN_CORRELATION, MIN_CORRELATION_OF_PART, MIN_MM = 0.85, 0.9, 350.0
"""What a placement must reach to be believed, and the least height of a picture. Of 300 random parts of simulated
scans, 226 mm and higher, the 11 that were placed wrongly were lower than this or correlated worse."""
PART_MM, SAME_PLACE_MM, MARGIN_OF_FIT = 800.0, 60.0, 0.02
"""A picture of less than the first may fit in several places; these differ by more than the second; and the best must
correlate that much better than the others."""
NOISE_FLOOR = 0.08
"""Added to the standard deviation between patients: no pixel is known better than counting statistics allow."""
DATA_WEIGHT = 0.03
"""Differences of neighboring pixels go together: so many independent ones there are per pixel."""
HUBER = 2.5
MIN_COVER = 0.3
"""Share of patients whose field of view held a pixel of the average scan for it to count."""
STEP_LIMIT = np.array([25.0, 15.0, 0.15])
"""Largest change per iteration: row and middle in mm, width."""


@dataclass(frozen=True)
class Placement:
    """Where the skeleton lies in a scan.

    Args:
        parameters: (K, 3) per knot: row in mm from the upper edge, middle in mm to the patient's left of the image's
            middle, width relative to the average.
        correlation: weighted correlation between the scan and the average scan registered to it.
    """

    parameters: Array
    correlation: float


def place(average: AverageScan, scan: ComparableScan) -> Placement | None:
    """Lay the average scan over a scan.

    Returns:
        The best of the placements from several starts; None where the scan resembles no part of a bone scan, or where
        a part of a body fits elsewhere nearly as well.
    """
    rows = (np.flatnonzero(scan.known.any(axis=(0, 2))) + 0.5) * scan.spacing[0]
    is_part = rows.size > 0 and np.ptp(rows) < PART_MM
    found: list[Placement] = []
    for start in find_starts(average, scan):
        placement = refine(average, scan, start)
        if np.all(np.diff(placement.parameters[:, 0]) > 0) and np.all(placement.parameters[:, 2] > 0):
            found.append(placement)
            if not is_part and placement.correlation >= GOOD_START:
                break
    if not found or np.ptp(rows) < MIN_MM:
        return None
    found.sort(key=lambda each: -each.correlation)
    best = found[0]
    if best.correlation < (MIN_CORRELATION_OF_PART if is_part else MIN_CORRELATION):
        return None
    if is_part:
        here, *elsewhere = (unwarp(average, each.parameters, rows, 0 * rows)[0] for each in found)
        for other, place_of in zip(found[1:], elsewhere, strict=True):
            apart = np.median(np.abs(place_of - here)) > SAME_PLACE_MM
            if apart and other.correlation > best.correlation - MARGIN_OF_FIT:
                return None
    return best


def find_starts(average: AverageScan, scan: ComparableScan) -> list[Array]:
    """The average skeleton in a few heights, at the places where it correlates best with the scan."""
    step = COARSE_STEP * (average.rows[1] - average.rows[0])
    height, width = (size * mm for size, mm in zip(scan.values.shape[1:], scan.spacing, strict=True))
    row = np.arange(step / 2, height, step)
    column = np.arange(-(width // (2 * step)) * step, width / 2, step)
    values, known = sample(scan, row, np.tile(column, (len(row), 1)))
    seen = row[known.any(axis=(0, 2))]
    if not seen.size:
        return []
    found = []
    for scale in SCALES:
        length = scale * average.knots[-1]
        below_top = np.arange(-MARGIN, length + MARGIN, step)
        lines = np.clip(np.searchsorted(average.rows, below_top / scale), 0, len(average.rows) - 1)
        template, weight = (part[list(scan.which)][:, lines][:, :, ::COARSE_STEP] for part in _weighted(average))
        correlation = _slide(values, known, template, weight)
        # Place (i, j) of the full correlation: the template's first pixel lies on the scan's pixel (i - n, j - m).
        top = row[0] + (np.arange(correlation.shape[0]) - len(lines) + 1) * step + MARGIN
        side = column[0] + (np.arange(correlation.shape[1]) - template.shape[2] + 1) * step
        side = side - average.columns[0]
        shared = np.minimum(seen[-1], top + length) - np.maximum(seen[0], top)
        allowed = shared >= 0.7 * min(np.ptp(seen), length)
        correlation = np.where(allowed[:, None] & (np.abs(side) <= 100)[None], correlation, -1)
        for index in np.argsort(correlation, axis=None)[: -1 - 2 * STARTS : -1]:
            i, j = np.unravel_index(index, correlation.shape)
            start = average.mean.copy()
            start[:, 0], start[:, 1], start[:, 2] = top[i] + scale * average.knots, side[j], 1.0
            found.append((float(correlation[i, j]), start))
    found.sort(key=lambda item: -item[0])
    chosen: list[Array] = []
    for value, start in found:
        if value > 0 and all(np.abs(start - other)[:, 0].max() > SAME_PLACE_MM for other in chosen):
            chosen.append(start)
    return chosen[:STARTS]


def _weighted(average: AverageScan) -> tuple[Array, Array]:
    """The average scan and the weight of its pixels."""
    return average.values, (average.cover > MIN_COVER) / (average.spread**2 + np.float32(NOISE_FLOOR**2))


def _slide(values: NDArray, known: NDArray, template: NDArray, weight: NDArray) -> Array:
    """Weighted correlation of a template with a scan at every shift, summed over the views."""

    def slid(image: NDArray, kernel: NDArray) -> Array:
        return np.asarray(fftconvolve(image, kernel[:, ::-1, ::-1], axes=(1, 2)).sum(axis=0))

    inside = values * known
    total = slid(known, weight)
    enough = total > 0.02 * weight.sum()
    total = np.maximum(total, 1e-6)
    mean, mean_t = slid(inside, weight) / total, slid(known, weight * template) / total
    variance = slid(inside * values, weight) / total - mean**2
    variance_t = slid(known, weight * template**2) / total - mean_t**2
    product = slid(inside, weight * template) / total - mean * mean_t
    safe = enough & (variance > 1e-5) & (variance_t > 1e-5)
    return np.where(safe, product / np.sqrt(np.maximum(variance * variance_t, 1e-10)), -1.0)


def refine(average: AverageScan, scan: ComparableScan, start: Array) -> Placement:
    """Gauss-Newton from a start, see the module's description."""
    template, weight = (part[list(scan.which)] for part in _weighted(average))
    inner = linear_basis(np.clip(average.rows, average.knots[0], average.knots[-1]), average.knots)
    shapes = (linear_basis(average.rows, average.knots), inner, inner)
    count = len(average.knots)
    parameters, middle = start.copy(), average.mean.reshape(-1)
    for _ in range(ITERATIONS):
        row, column = warp(average, parameters)
        values, known = sample(scan, row, column)
        down, right = _gradients(values, row, column)
        _, gain, offset = _fit_gain(values, known * weight, template)
        error = gain * values + offset - template
        size = np.abs(error) * np.sqrt(weight)
        trust = known * weight * np.where(size > HUBER, HUBER / np.maximum(size, HUBER), 1) * DATA_WEIGHT
        slopes = (gain * down, gain * right, gain * right * average.columns.astype(np.float32))
        matrix, vector = np.zeros((count, 3, count, 3)), np.zeros((count, 3))
        for i in range(3):
            vector[:, i] = shapes[i].T @ (trust * slopes[i] * error).sum(axis=(0, 2))
            for j in range(3):
                moment = (trust * slopes[i] * slopes[j]).sum(axis=(0, 2))
                matrix[:, i, :, j] = shapes[i].T @ (moment[:, None] * shapes[j])
        system = matrix.reshape(3 * count, 3 * count) + average.precision
        target = vector.reshape(-1) + average.precision @ (parameters.reshape(-1) - middle)
        # Where nothing is seen, a shift of the whole is not determined; this much is enough to solve.
        ridge = 1e-9 * np.trace(system) * np.eye(3 * count)
        step = np.linalg.solve(system + ridge, target).reshape(count, 3)
        relative = float(np.max(np.abs(step) / STEP_LIMIT))
        parameters = parameters - step / max(relative, 1.0)
        if relative < 0.02:
            break
    values, known = sample(scan, *warp(average, parameters))
    return Placement(parameters, _fit_gain(values, known * weight, template)[0])


def _gradients(values: NDArray, row: Array, column: Array) -> tuple[Array, Array]:
    """Derivatives of the scan per mm down and to the side, from its values on the warped grid."""
    across = np.gradient(values, axis=2) / (column[:, 1] - column[:, 0])[:, None]
    along = np.gradient(values, axis=1) - across * np.gradient(column, axis=0)
    return (along / np.gradient(row)[:, None]).astype(np.float32), across.astype(np.float32)


def _fit_gain(values: NDArray, weight: NDArray, template: NDArray) -> tuple[float, float, float]:
    """Weighted correlation of scan and template, and the gain and offset that bring the scan closest to it."""
    total = max(float(weight.sum()), 1e-6)
    mean, mean_t = float((weight * values).sum()) / total, float((weight * template).sum()) / total
    variance = float((weight * (values - mean) ** 2).sum()) / total
    variance_t = float((weight * (template - mean_t) ** 2).sum()) / total
    product = float((weight * (values - mean) * (template - mean_t)).sum()) / total
    gain = product / max(variance, 1e-6)
    return product / max((variance * variance_t) ** 0.5, 1e-6), gain, mean_t - gain * mean
