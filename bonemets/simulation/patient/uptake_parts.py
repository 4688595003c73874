"""Parts of bones whose uptake differs from patient to patient more than the bone as a whole."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bonemets.simulation.patient.world import World
from bonemets.simulation.skeleton.anatomy import MIDPLANE_X, SIDES, bones_of
from bonemets.simulation.skeleton.skeleton import Skeleton


@lru_cache(maxsize=2)
def part_weights(skeleton: Skeleton) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Which points belong to each part, and how much (0 to 1).

    Args:
        skeleton: the bones.

    Returns:
        Part → indices of points and weights. Bounds are in the rest pose (x lateral, y to the back, z up, meters).
    """
    x, y, z = skeleton.rest.T
    off = np.abs(x - MIDPLANE_X)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def add(name: str, weight: np.ndarray, mask: np.ndarray) -> None:
        index = np.flatnonzero(mask & (weight > 0.01))
        found[name] = index, weight[index].astype(np.float32)

    spine = skeleton.mask_of(bones_of("thoracic_spine", "lumbar_spine"))
    behind = np.zeros(len(x), np.float32)
    for bone in bones_of("thoracic_spine", "lumbar_spine"):
        part = skeleton.points_of(bone)
        front, back = np.percentile(y[part], (2, 98))
        behind[part] = np.clip(((y[part] - front) / (back - front) - 0.45) / 0.15, 0, 1)
    add("vertebral_arch", behind, spine)
    add("vertebral_body", 1 - behind, spine)
    hips = skeleton.mask_of([f"hip_{side}" for side in SIDES])
    crest = np.exp(-np.square(np.minimum(z - 1.082, 0) / 0.022))
    front_of_crest = np.clip((0.19 - y) / 0.04, 0, 1)
    add("iliac_crest", crest * front_of_crest, hips)
    add("iliac_wing", np.clip((z - 0.985) / 0.02, 0, 1) * front_of_crest * (1 - crest), hips)
    skull = skeleton.mask_of(bones_of("skull"))
    add("face", (y < 0.175) * (z < 1.668) * 1.0, skull)
    add("skull_base", (y >= 0.175) * (z < 1.660) * 1.0, skull)
    scapulae = skeleton.mask_of(bones_of("scapulae"))
    add("scapula_behind", np.clip((y - 0.20) / 0.03, 0, 1), scapulae)
    girdle = skeleton.mask_of(bones_of("scapulae", "humeri", "clavicles"))
    add("shoulder_front", np.clip((0.20 - y) / 0.03, 0, 1) * np.clip((z - 1.40) / 0.02, 0, 1) * (off > 0.06), girdle)
    legs = skeleton.mask_of(bones_of("femora", "lower_legs"))
    add("knee", np.exp(-np.square((z - 0.50) / 0.055)), legs)
    return found


def vary_parts(
    skeleton: Skeleton, concentration: np.ndarray, world: World, rng: np.random.Generator
) -> dict[str, float]:
    """Multiply the parts' concentration, in place, by the world's factors and their spread.

    Args:
        skeleton: the bones.
        concentration: (P,) of every point.
        world: factors and spread.
        rng: random generator.

    Returns:
        The factors drawn.
    """
    factors = {
        name: float(world.parts.get(name, 1.0) * rng.lognormal(0, world.parts_sigma)) for name in part_weights(skeleton)
    }
    for name, (index, weight) in part_weights(skeleton).items():
        concentration[index] *= 1 + np.float32(factors[name] - 1) * weight
    return factors
