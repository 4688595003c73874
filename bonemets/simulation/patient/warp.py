"""Smooth free-form warps: every patient's skeleton has a shape of its own, not only a size."""

from __future__ import annotations

from typing import Any

import numpy as np

from bonemets.simulation.skeleton.anatomy import bones_of
from bonemets.simulation.skeleton.skeleton import Skeleton


def warp_skeleton(
    skeleton: Skeleton, points: np.ndarray, amplitude_mm: float, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Any]]:
    """Displace points by a few waves of 15 to 50 cm over the whole body, and flare or close the iliac wings.

    A displacement of a few millimeters keeps neighboring bones together, since it is the same for both, and stays
    within the soft tissue over them.

    Args:
        skeleton: the bones.
        points: (P, 3) posed points in meters.
        amplitude_mm: root mean square of the displacement along each axis.
        rng: random generator of this stage.

    Returns:
        The points, displaced, and the parameters drawn.
    """
    moved = points.copy()
    waves = 3
    for axis in (0, 2):  # across and along the body; depth hardly shows in a projection
        for _ in range(waves):
            direction = rng.normal(size=3) * (1.0, 0.3, 1.0)
            k = (direction / np.sqrt((direction**2).sum()) * 2 * np.pi / rng.uniform(0.15, 0.5)).astype(np.float32)
            phase = np.float32(rng.uniform(0, 2 * np.pi))
            size = np.float32(amplitude_mm / 1000 * rng.normal(0, 1) / np.sqrt(waves) * np.sqrt(2))
            moved[:, axis] += size * np.cos(points[:, 0] * k[0] + points[:, 1] * k[1] + points[:, 2] * k[2] + phase)
    flare = {}
    for side, sign in (("right", -1), ("left", 1)):
        part = skeleton.points_of(f"hip_{side}")
        middle = points[part, 2].mean()
        flare[side] = float(rng.normal(0.02 * amplitude_mm, 0.03 * amplitude_mm))
        # V-shaped wings: the crest moves out, the hip joint stays
        moved[part, 0] += np.float32(sign * flare[side] * 0.5) * np.maximum(points[part, 2] - middle, 0)
    head = skeleton.mask_of(bones_of("skull"))
    jut = float(rng.normal(0, 0.01 * amplitude_mm))
    base = points[head, 2].mean()
    moved[head, 0] *= 1 + np.float32(jut) * np.tanh((points[head, 2] - base) / np.float32(0.05))
    return moved, {"amplitude_mm": amplitude_mm, "iliac_flare": flare, "vault_width": jut}
