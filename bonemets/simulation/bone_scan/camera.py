"""The gamma camera: attenuation, scatter, collimator blur that grows with distance, and noise.

Collimator and detector (Sorenson and Phelps, Physics in Nuclear Medicine, "The Anger camera")::

    R_g(d) = h (L_e + d) / L_e        L_e = L - 2 / mu_lead
    FWHM(d)^2 = R_i^2 + R_g(d)^2

with hole diameter h = 1.5 mm, hole length L = 35 mm (L_e = 34.3 mm), intrinsic resolution R_i = 3.8 mm: typical vendor
values of a low-energy high-resolution (LEHR) collimator, which give 7.0 mm at 10 cm.

Attenuation at 140 keV: 0.15 /cm in water, lung 0.28 times that, bone about 0.19 /cm averaged over cortex and marrow
(0.27 /cm at density 1.8; J Nucl Med table of calculated total minus coherent scatter).

Scatter in a 20 % window: the ratio to primary grows by 0.035 per cm of depth and reaches 30-60 %, with an exponential
line spread (Kojima, Ann Nucl Med 1991;5:139). A parallel-hole camera sees scatter only from inside the body, so it is
weighted by ``1 - exp(-T / 6 cm)`` of the body's thickness T.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.signal import fftconvolve

from bonemets.simulation.patient.body import Body, Surfaces
from bonemets.simulation.patient.grid import COLUMNS, PIXEL, ROWS
from bonemets.simulation.patient.organs import FAT_UPTAKE, LUNG_UPTAKE
from bonemets.simulation.patient.world import NEMA, World

HOLE_DIAMETER, HOLE_LENGTH, INTRINSIC_FWHM = 0.0015, 0.0343, 0.0038
MU_WATER, MU_BONE, LUNG_DENSITY = 15.0, 19.0, 0.28
SCATTER_PER_METER, SCATTER_RANGE, SCATTER_BUILDUP = 3.5, 0.030, 0.06
SLAB = 0.03
"""Depth of the slabs that are blurred together, in meters: within one, the resolution changes by 1.3 mm."""

_PIXELS = ROWS * COLUMNS
Pair = tuple[np.ndarray, np.ndarray]

_ML = 1e6 * PIXEL**2
"""Milliliters per meter of depth in one pixel."""


def collimator_fwhm(distance: float) -> float:
    """Resolution (FWHM, meters) at a distance (meters) from the collimator."""
    geometric = HOLE_DIAMETER * (HOLE_LENGTH + distance) / HOLE_LENGTH
    return float(np.sqrt(INTRINSIC_FWHM**2 + geometric**2))


def sigma_pixels(distance: float) -> float:
    """Standard deviation of the collimator's Gaussian in pixels."""
    return collimator_fwhm(distance) / 2.3548 / PIXEL


@dataclass(frozen=True)
class Scene:
    """What the camera looks at: all points of bones and organs, and the body around them.

    Attributes:
        positions: (N, 3) float32 in meters; the skeleton's points first.
        pixel: (N,) flat pixel in the anterior orientation, -1 off the image.
        activity: (N,) float32.
        bone_volume: (N,) float32 in mL, 0 for organs: attenuates more than water.
        soft: (rows, columns) concentration of lean soft tissue.
        body: surfaces of skin, lean tissue and lungs.
    """

    positions: np.ndarray
    pixel: np.ndarray
    activity: np.ndarray
    bone_volume: np.ndarray
    soft: np.ndarray
    body: Body


@dataclass(frozen=True)
class View:
    """One detector's sight of a scene, in the anterior orientation.

    Attributes:
        anterior: which detector.
        transmission: (N,) share of each point's photons that reach the detector (0 for points off the image).
        slab: (N,) depth slab of each point; ``slab_distance`` the slabs' distances from the collimator in meters.
        image: (rows, columns) expected counts per unit of activity: primary and scatter.
    """

    anterior: bool
    transmission: np.ndarray
    slab: np.ndarray
    slab_distance: np.ndarray
    image: np.ndarray


def draw_acquisition(body: Body, rng: np.random.Generator, world: World = NEMA) -> dict[str, Any]:
    """Draw the camera's settings.

    Counts: log-uniform 1.2 to 4.0 million in the anterior view. EANM 2016 (10.1007/s00259-016-3415-4) asks for more
    than 1.5 million, up to 40 % of 25 Swedish sites acquire fewer than they should (10.1186/s40658-022-00435-5), and
    the NEMA scan has 3.6 million. The field of view is 520 mm as in the NEMA scan, or up to the whole 578 mm.
    """
    counts = float(np.exp(rng.uniform(np.log(world.counts[0]), np.log(world.counts[1]))))
    columns = int(rng.choice([230, 236, 256], p=[0.4, 0.2, 0.4]))
    last = max(int(part.rows[-1]) for part in body.parts)
    first_row = max(0, min(int(part.rows[0]) for part in body.parts) - int(rng.integers(8, 48)))
    last_row = min(ROWS, last + int(rng.integers(8, 90)))
    speed = float(rng.choice([10.0, 12.0, 15.0, 20.0], p=[0.35, 0.25, 0.25, 0.15]))
    return {
        "anterior_counts": counts,
        "posterior_sensitivity": float(rng.normal(1.0, 0.03)),
        "pixel_mm": 1000 * PIXEL,
        "field_of_view_columns": columns,
        "first_row": first_row,
        "last_row": last_row,
        "scan_speed_cm_per_min": speed,
        "duration_s": round((last_row - first_row) * PIXEL * 100 / speed * 60),
        "background_per_pixel": float(rng.uniform(0.10, 0.25) * counts / 3.6e6),
        "row_blending": float(rng.uniform(0.0, 0.025)),
        "body_contouring": bool(rng.uniform() < 0.5),
        "anterior_gap_mm": float(rng.uniform(15, 45) + world.gap_mm[0]),
        "posterior_gap_mm": float(rng.uniform(40, 65) + world.gap_mm[1]),
    }


def _collimator_depth(body: Body, anterior: bool, acquisition: dict[str, Any]) -> np.ndarray:
    """Depth y of the collimator's face per row: flat above the highest skin, or following the body smoothly."""
    if not anterior:
        return np.full(ROWS, body.table + acquisition["posterior_gap_mm"] / 1000)
    there = body.skin.thickness > 0
    highest = np.where(there, body.skin.front, np.inf).min(axis=1)
    flat = float(highest.min())
    if not acquisition["body_contouring"]:
        return np.full(ROWS, flat - acquisition["anterior_gap_mm"] / 1000)
    highest = np.where(np.isfinite(highest), highest, np.nan)
    known = np.flatnonzero(~np.isnan(highest))
    profile = np.interp(np.arange(ROWS), known, highest[known])
    profile = ndimage.gaussian_filter1d(ndimage.minimum_filter1d(profile, 61), 20, mode="nearest")
    return np.asarray(profile - acquisition["anterior_gap_mm"] / 1000)


@dataclass(frozen=True)
class _Tissue:
    """The body's surfaces and soft tissue at its ``pixels`` only, as flat arrays."""

    pixels: np.ndarray
    skin: Pair
    lean: Pair
    lungs: Pair
    soft: np.ndarray

    @classmethod
    def of(cls, scene: Scene) -> _Tissue:
        body = scene.body
        pixels = np.flatnonzero(body.skin.thickness.ravel() > 0)

        def pair(surfaces: Surfaces) -> Pair:
            return surfaces.front.ravel()[pixels], surfaces.back.ravel()[pixels]

        return cls(pixels, pair(body.skin), pair(body.lean), pair(body.lungs), scene.soft.ravel()[pixels])


def _water_path(y: np.ndarray, skin: Pair, lungs: Pair, anterior: bool) -> np.ndarray:
    """Water-equivalent path (meters) from depth ``y`` to the skin that faces the detector, surfaces given per ``y``."""
    inside = np.minimum(np.maximum(y, lungs[0]), lungs[1])
    path, lung = (y - skin[0], inside - lungs[0]) if anterior else (skin[1] - y, lungs[1] - inside)
    return np.maximum(path - np.float32(1 - LUNG_DENSITY) * lung, 0)


def project_view(scene: Scene, anterior: bool, acquisition: dict[str, Any]) -> View:
    """Project a scene onto one detector, without noise.

    Args:
        scene: what is imaged.
        anterior: the detector in front of the patient, else the one below the table.
        acquisition: what :func:`draw_acquisition` returned.

    Returns:
        The view; its image is in the anterior orientation and not yet scaled to counts.
    """
    body = scene.body
    collimator = _collimator_depth(body, anterior, acquisition).astype(np.float32)
    seen = scene.pixel >= 0
    pixel = np.where(seen, scene.pixel, 0)
    y = scene.positions[:, 1]
    away = (y - collimator[pixel // COLUMNS]) if anterior else (collimator[pixel // COLUMNS] - y)
    extent = max(float(away[seen].max()), float(body.skin.thickness.max()) + 0.08)
    count = int(extent / SLAB) + 1
    slab = np.clip((away / np.float32(SLAB)).astype(np.int32), 0, count - 1)
    skin, lungs = ((surface.front.ravel()[pixel], surface.back.ravel()[pixel]) for surface in (body.skin, body.lungs))
    path = _water_path(y, skin, lungs, anterior)
    cell = slab * np.int32(_PIXELS) + pixel
    bone = np.bincount(cell, scene.bone_volume * seen, count * _PIXELS).astype(np.float32).reshape(count, _PIXELS)
    before = np.cumsum(bone, axis=0) - bone / 2  # bone in front of the middle of each slab
    extra = before.ravel()[cell] * np.float32((MU_BONE - MU_WATER) / _ML)
    transmission = np.where(seen, np.exp(-np.float32(MU_WATER) * path - extra), 0).astype(np.float32)
    weight = scene.activity * transmission
    slabs = np.bincount(cell, weight, count * _PIXELS).astype(np.float32).reshape(count, ROWS, COLUMNS)
    scattered = np.bincount(pixel, weight * path, _PIXELS).reshape(ROWS, COLUMNS) * SCATTER_PER_METER
    distances = (np.arange(count) + 0.5) * SLAB
    tissue = _Tissue.of(scene)
    rows = slice(max(int(tissue.pixels[0]) // COLUMNS - 8, 0), int(tissue.pixels[-1]) // COLUMNS + 9)
    image = np.zeros((ROWS, COLUMNS), np.float32)
    for k in range(count):
        soft, soft_scattered = _soft_slab(tissue, anterior, collimator, k)
        slabs[k].ravel()[tissue.pixels] += soft
        scattered.ravel()[tissue.pixels] += soft_scattered
        if slabs[k].any():
            image[rows] += ndimage.gaussian_filter(slabs[k][rows], sigma_pixels(distances[k]), truncate=3)
    image += _scatter(scattered, body.skin.thickness)
    return View(anterior, transmission, slab, distances, image)


def _soft_slab(tissue: _Tissue, anterior: bool, collimator: np.ndarray, k: int) -> Pair:
    """Primary and scattered photons of the soft tissue within one slab (midpoint rule in depth)."""
    face = collimator[tissue.pixels // COLUMNS]
    low = face + np.float32(k * SLAB) if anterior else face - np.float32((k + 1) * SLAB)
    high = low + np.float32(SLAB)
    primary, scattered = np.zeros(len(low), np.float32), np.zeros(len(low), np.float32)
    # fat everywhere, muscle on top of it in the lean part, air in the place of tissue in the lungs
    for surfaces, share in (
        (tissue.skin, FAT_UPTAKE),
        (tissue.lean, 1 - FAT_UPTAKE),
        (tissue.lungs, LUNG_UPTAKE - 1),
    ):
        start, stop = np.maximum(surfaces[0], low), np.minimum(surfaces[1], high)
        here = np.flatnonzero(stop > start)
        if not len(here):
            continue
        start, stop = start[here], stop[here]
        skin, lungs = ((front[here], back[here]) for front, back in (tissue.skin, tissue.lungs))
        path = _water_path((start + stop) / 2, skin, lungs, anterior)
        activity = tissue.soft[here] * (stop - start) * np.float32(share * _ML)
        photons = activity * np.exp(-np.float32(MU_WATER) * path)
        primary[here] += photons
        scattered[here] += photons * path * np.float32(SCATTER_PER_METER)
    return np.maximum(primary, 0), np.maximum(scattered, 0)


def _scatter(source: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    """Spread the scattered photons with an exponential kernel, on a grid four times coarser."""
    f = 4
    coarse = source.reshape(ROWS // f, f, COLUMNS // f, f).sum(axis=(1, 3))
    distance = np.hypot(*np.mgrid[-30:31, -30:31]) * f * PIXEL
    kernel = np.exp(-distance / SCATTER_RANGE)
    spread = np.maximum(fftconvolve(coarse, kernel / kernel.sum(), mode="same"), 0)
    fine = ndimage.zoom(spread, f, order=1, grid_mode=True, mode="nearest") / f**2
    fine *= 1 - np.exp(-thickness / SCATTER_BUILDUP)
    fine = ndimage.gaussian_filter(fine, sigma_pixels(0.15), truncate=3)
    return np.asarray(fine * (source.sum() / max(fine.sum(), 1e-9)), np.float32)


def acquire(
    views: tuple[View, View], acquisition: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Scale both views to counts and mask the field of view.

    Returns:
        Expected counts (rows, columns, 2) float32 in the anterior orientation, the mask (rows, columns) of what was
        scanned, and the counts per unit of each view's image.
    """
    first = (COLUMNS - acquisition["field_of_view_columns"]) // 2
    scanned = np.zeros((ROWS, COLUMNS), bool)
    scanned[acquisition["first_row"] : acquisition["last_row"], first : COLUMNS - first] = True
    # 99mTc decays while the table moves: half-life 6.01 h
    elapsed = np.clip(np.arange(ROWS) - acquisition["first_row"], 0, None) * PIXEL * 100
    decay = np.exp(-np.log(2) * elapsed / acquisition["scan_speed_cm_per_min"] / 360.6)[:, None]
    background = acquisition["background_per_pixel"]
    front = views[0].image * decay * scanned
    scale = (acquisition["anterior_counts"] - background * scanned.sum()) / front.sum()
    scales = (float(scale), float(scale * acquisition["posterior_sensitivity"]))
    expected = [np.where(scanned, v.image * decay * s + background, 0) for v, s in zip(views, scales, strict=True)]
    return np.stack(expected, axis=-1).astype(np.float32), scanned, scales


def detect(expected: np.ndarray, acquisition: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    """Draw the counts: Poisson noise, then the linearity correction's interpolation between rows.

    The real scan's noise is 5-10 % below Poisson's and neighboring rows correlate by 0.12: what a correction table that
    moves events by a fraction of a pixel leaves behind.

    Args:
        expected: (rows, columns, 2) noise-free counts.
        acquisition: what :func:`draw_acquisition` returned.
        rng: random generator of this stage.

    Returns:
        (rows, columns, 2) uint16.
    """
    counts = rng.poisson(expected).astype(np.float32)
    share = np.float32(acquisition["row_blending"])
    blended = counts * (1 - 2 * share)
    blended[1:] += share * counts[:-1]
    blended[:-1] += share * counts[1:]
    blended = np.floor(blended + rng.uniform(size=counts.shape).astype(np.float32)) * (expected > 0)
    return np.minimum(blended, np.iinfo(np.uint16).max).astype(np.uint16)
