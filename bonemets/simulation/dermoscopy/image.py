"""A simulated dermoscopic picture: skin, one lesion, what is usually in the way, and the camera.

Color follows from two pigments by the Beer-Lambert law, as in Tsumura et al., "Image-based skin color and texture
analysis/synthesis by extracting hemoglobin and melanin information in the skin", ACM TOG 22(3), 2003: in -log RGB, skin
is a base plus so much melanin and so much hemoglobin. The lesion is one of three kinds: melanocytic (brown, by melanin
near the surface), deep (gray to blue, by melanin below scattering tissue) and vascular (pink, by hemoglobin). No person
and no real picture is in it; the pictures stand in where real ones may not be redistributed.

The constants below without a source were set by eye. What the pictures lack: named diagnoses and their patterns
(streaks, milia, leaf-like areas), ulcers, hair under the gel, several lesions that are annotated together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from bonemets.simulation.dermoscopy.artifacts import add_artifacts

DERMOSCOPY_VERSION = "1"
SHAPE = (300, 400)  # two thirds of HAM10000's: the network sees 256×256
_REFERENCE = 450  # rows of the picture that lengths below are in pixels of

# Absorption at 600, 540 and 450 nm, the middle of a camera's red, green and blue; green = 1.
# Melanin as wavelength^-3.33 (Jacques, Physics in Medicine & Biology 58, 2013); blood at 75 % saturation from Prahl's
# tables (0.12, 1, 1.41), blue reduced to 0.8 since it hardly reaches the vessels.
MELANIN = np.array([0.70, 1.0, 1.84])
HEMOGLOBIN = np.array([0.12, 1.0, 0.8])
# Melanin below scattering tissue: blue light comes back before it gets there (Tyndall effect), red does not.
DEEP_MELANIN = np.array([1.15, 1.0, 0.75])
BASE = np.array([0.03, 0.08, 0.10])  # -log RGB of pale skin without either pigment

Field = NDArray[np.float64]


@dataclass(frozen=True)
class DermoscopicPicture:
    """A picture and its truth.

    Args:
        pixels: (H, W, 3) uint8, RGB.
        mask: (H, W) uint8, 1 on the lesion.
        parameters: what was drawn, as JSON can hold it.
    """

    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    parameters: dict[str, Any]


def simulate_dermoscopy(seed: int, number: int, shape: tuple[int, int] = SHAPE) -> DermoscopicPicture:
    """Simulate one picture; the same seed, number and shape give the same pixels.

    Args:
        seed: seed of the cohort.
        number: number of the picture, from 1.
        shape: height and width in pixels, at least 128 each.

    Raises:
        ValueError: if the shape is too small.
    """
    if min(shape) < 128:
        raise ValueError(f"shape must be at least (128, 128), got {shape}")
    rng = np.random.default_rng([seed, number, 0xDE])
    scale = min(shape) / _REFERENCE
    kind = str(rng.choice(["melanocytic", "deep", "vascular"], p=[0.68, 0.14, 0.18]))
    softness = float(np.exp(rng.uniform(np.log(1.2), np.log(18.0)))) * scale
    mask, depth = _outline(rng, shape, scale)
    inside = 1 / (1 + np.exp(-depth / softness))

    optical = BASE + _skin(rng, shape, scale)
    strength = float(np.exp(rng.normal(-0.75, 0.5)))
    pattern = _pattern(rng, shape, scale, depth)
    lesion = np.clip(inside * strength * pattern, 0, None)[..., None]
    blood = float(rng.uniform(0.0, 0.25)) + (float(rng.uniform(0.25, 0.6)) if kind == "vascular" else 0.0)
    if kind == "vascular":
        optical = optical + 0.25 * lesion * MELANIN
    elif kind == "deep":
        share = rng.uniform(0.3, 0.9)
        optical = optical + lesion * ((1 - share) * MELANIN + 1.5 * share * DEEP_MELANIN)
    else:
        optical = optical + lesion * MELANIN
    # The skin around many lesions is reddened: hemoglobin, fading outwards over some millimeters.
    halo = rng.uniform(0.0, 0.12) * np.exp(-np.clip(-depth, 0, None) / (rng.uniform(15, 60) * scale))
    optical = optical + (blood * inside * (1 + 0.2 * _noise(rng, shape, 12 * scale)) + halo)[..., None] * HEMOGLOBIN
    pixels, artifacts = add_artifacts(rng, np.exp(-np.clip(optical, 0, None)), scale)
    parameters = {
        "kind": kind,
        "strength": round(strength, 3),
        "border_softness_px": round(softness, 2),
        "lesion_share": round(float(mask.mean()), 4),
        **artifacts,
    }
    return DermoscopicPicture(pixels, mask, parameters)


def _noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Field:
    """Smooth noise with mean 0 and standard deviation 1; computed coarsely where it is smooth."""
    step = max(1, int(sigma // 3))
    small = [-(-size // step) for size in shape]
    field = ndimage.gaussian_filter(rng.standard_normal(small), sigma / step, mode="reflect")
    if step > 1:
        field = ndimage.zoom(field, step, order=1, mode="grid-constant", grid_mode=True)
    field = field[: shape[0], : shape[1]]
    return (field - field.mean()) / max(float(field.std()), 1e-9)


def _outline(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> tuple[NDArray[np.uint8], Field]:
    """The lesion's mask, and the signed distance to its border in pixels, positive inside."""
    center = np.array(shape) / 2 + rng.normal(0, [28 * scale, 38 * scale])
    radius = float(np.exp(rng.uniform(np.log(50), np.log(190)))) * scale
    ratio, turn = rng.uniform(0.6, 1.0), rng.uniform(0, np.pi)
    rows, columns = np.meshgrid(*(np.arange(size, dtype=float) for size in shape), indexing="ij")
    y, x = rows - center[0], columns - center[1]
    u, v = x * np.cos(turn) + y * np.sin(turn), (-x * np.sin(turn) + y * np.cos(turn)) / ratio
    angle, distance = np.arctan2(v, u), np.hypot(u, v)
    irregularity = float(np.exp(rng.uniform(np.log(0.15), np.log(1.6))))
    edge = np.ones(shape)
    for order in range(2, 10):
        edge += irregularity * 0.16 * order**-1.3 * rng.normal() * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    level = np.clip(edge, 0.35, None) - distance / radius
    level += irregularity * 0.05 * _noise(rng, shape, 9 * scale)
    labels, _ = ndimage.label(level > 0)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    lesion = ndimage.binary_fill_holes(labels == int(np.argmax(sizes)))
    depth = ndimage.distance_transform_edt(lesion) - ndimage.distance_transform_edt(~lesion)
    return lesion.astype(np.uint8), depth


def _skin(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Field:
    """(H, W, 3) -log RGB that melanin, blood and furrows of the skin around the lesion add."""
    melanin = float(np.exp(rng.normal(-2.6, 0.7)))  # mostly below a sixth; darker skin is the tail
    mottled = rng.uniform(0.05, 0.4)
    melanin_map = melanin * (1 + mottled * _noise(rng, shape, rng.uniform(8, 45) * scale))
    blood = rng.uniform(0.04, 0.6)
    blood_map = blood * (1 + rng.uniform(0.05, 0.25) * _noise(rng, shape, 40 * scale))
    blood_map *= 1 + rng.uniform(0.02, 0.15) * _noise(rng, shape, rng.uniform(4, 9) * scale)
    furrows = rng.uniform(0.0, 0.025) * _honeycomb(rng, shape, rng.uniform(18, 34) * scale, 2.2 * scale)
    skin = melanin_map[..., None] * MELANIN + blood_map[..., None] * HEMOGLOBIN + furrows[..., None]
    for _ in range(rng.poisson(1.2)):  # freckles: pale, and not what was asked for
        row, column = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        size = rng.uniform(3, 24) * scale
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        spot = np.exp(-((((rows - row) ** 2 + (columns - column) ** 2) / (2 * size**2)) ** 2))
        skin = skin + (rng.uniform(0.03, 0.2) * spot)[..., None] * MELANIN
    return skin


def _pattern(rng: np.random.Generator, shape: tuple[int, int], scale: float, depth: Field) -> Field:
    """How pigment is spread within the lesion, around 1: blotches, network, globules, paler or darker middle."""
    pattern = 1 + rng.uniform(0.05, 0.4) * _noise(rng, shape, rng.uniform(12, 45) * scale)
    pattern += rng.uniform(0.03, 0.25) * _noise(rng, shape, rng.uniform(2, 5) * scale)
    if rng.random() < 0.5:  # dark blotches, or with the other sign parts that have lost their pigment
        blotches = 1 / (1 + np.exp(-3 * (_noise(rng, shape, rng.uniform(8, 25) * scale) - rng.uniform(0, 1))))
        pattern += rng.uniform(-0.7, 1.2) * blotches
    middle = np.clip(depth / max(float(depth.max()), 1.0), 0, 1)
    pattern *= 1 + rng.uniform(-0.5, 0.8) * (middle - 0.4)
    if rng.random() < 0.5:
        where = 1 / (1 + np.exp(-2 * _noise(rng, shape, 40 * scale)))
        net = _honeycomb(rng, shape, rng.uniform(9, 17) * scale, rng.uniform(1.2, 2.4) * scale)
        pattern += rng.uniform(0.15, 0.6) * where * net
    if rng.random() < 0.35:
        seeds = rng.uniform(0, 1, (int(rng.integers(15, 120)), 2)) * shape
        nearest = cKDTree(seeds).query(_places(shape))[0].reshape(shape)
        pattern += rng.uniform(0.2, 0.7) * np.exp(-((nearest / (rng.uniform(2.0, 4.5) * scale)) ** 4))
    return np.clip(pattern, 0.05, None)


def _honeycomb(rng: np.random.Generator, shape: tuple[int, int], spacing: float, width: float) -> Field:
    """Lines midway between points of a shaken grid, 1 on a line: the pigment network, or the skin's furrows."""
    rows, columns = (np.arange(-spacing, size + spacing, spacing) for size in shape)
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    tree = cKDTree(grid + rng.uniform(-0.45, 0.45, grid.shape) * spacing)
    # At half the resolution: the two nearest points are a search per pixel.
    half = tuple((size + 1) // 2 + 1 for size in shape)
    first, second = (tree.query(2 * _places(half), k=2)[0][:, column].reshape(half) for column in (0, 1))
    lines = np.exp(-(((second - first) / 2 / width) ** 2))
    return ndimage.zoom(lines, 2, order=1)[: shape[0], : shape[1]]


def _places(shape: tuple[int, ...]) -> Field:
    return np.stack(np.meshgrid(*(np.arange(float(size)) for size in shape), indexing="ij"), axis=-1).reshape(-1, 2)
