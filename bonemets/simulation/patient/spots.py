"""Hot and cold spots: a shape in a bone and the activity that it adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bonemets.simulation.skeleton.anatomy import BONE_IDS, BONES, REGIONS
from bonemets.simulation.skeleton.skeleton import Skeleton


@dataclass(frozen=True)
class Spot:
    """A lesion or a benign spot.

    Attributes:
        id: number in the label maps, from 1.
        index: indices of the skeleton's points that it changes.
        excess: activity that it adds to them (negative for a photopenic lesion).
        parameters: everything drawn, for the patient's record.
    """

    id: int
    index: np.ndarray
    excess: np.ndarray
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Anatomy:
    """A posed patient's skeleton with its normal uptake: what spots are placed on.

    Attributes:
        skeleton: the bones; ``points`` (P, 3) posed, in meters; ``concentration`` (P,) normal uptake (muscle = 1).
    """

    skeleton: Skeleton
    points: np.ndarray
    concentration: np.ndarray

    def mean_uptake(self, bone: int) -> float:
        """Mean concentration of a bone."""
        part = self.skeleton.points_of(bone)
        volume = self.skeleton.volume[part]
        return float((self.concentration[part] * volume).sum() / volume.sum())

    def joint_points(self, bone: str, facing: str, near: float = 6.0) -> np.ndarray:
        """Indices of a bone's points within ``near`` mm of another bone."""
        part = self.skeleton.points_of(bone)
        close = (self.skeleton.facing[part] == BONE_IDS[facing]) & (self.skeleton.neighbor[part] < near)
        return np.flatnonzero(close) + part.start


def lumps(
    anatomy: Anatomy,
    bones: list[int],
    center: np.ndarray,
    radius: float,
    rng: np.random.Generator,
    satellites: int = 0,
    axes: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Points of some bones inside an irregular lump, and their weight (1 in the core, falling to 0 at the border).

    The lump is an ellipsoid joined by ``satellites`` smaller ones at its border, cut by the bones' surface.

    Args:
        anatomy: the patient.
        bones: labels of the bones that the lump may grow in.
        center: its middle (meters).
        radius: its mean radius (meters).
        rng: random generator.
        satellites: number of smaller lumps.
        axes: relative half-axes; drawn if None.

    Returns:
        Indices of points and their weights.
    """
    if axes is None:
        axes = rng.lognormal(0, 0.2, 3)
    balls = [(center, radius * axes)]
    for _ in range(satellites):
        direction = rng.normal(size=3)
        direction /= np.sqrt((direction**2).sum())
        balls.append((center + direction * radius * 0.85, radius * rng.uniform(0.4, 0.75, 3)))
    indices, weights = [], []
    for bone in bones:
        part = anatomy.skeleton.points_of(bone)
        points = anatomy.points[part]
        reach = np.full(len(points), np.inf, np.float32)
        for middle, half in balls:
            near = np.flatnonzero(np.abs(points[:, 2] - middle[2]) < 1.15 * half[2])
            scaled = (points[near] - middle.astype(np.float32)) / half.astype(np.float32)
            reach[near] = np.minimum(reach[near], np.einsum("ij,ij->i", scaled, scaled))
        inside = np.flatnonzero(reach < 1.3)
        indices.append(inside + part.start)
        weights.append(np.clip((1.3 - reach[inside]) / 0.6, 0, 1))
    return np.concatenate(indices), np.concatenate(weights).astype(np.float32)


def describe(anatomy: Anatomy, bone: int, index: np.ndarray, weight: np.ndarray, ratio: float) -> dict[str, Any]:
    """Bone, region, volume, uptake ratio and center of a spot."""
    volume = anatomy.skeleton.volume[index] * weight
    points = anatomy.points[index]
    center = (points * volume[:, None]).sum(axis=0) / max(float(volume.sum()), 1e-9)
    return {
        "bone": BONES[bone],
        "region": REGIONS[BONES[bone]],
        "volume_ml": round(float(volume.sum()), 3),
        "uptake_ratio": round(ratio, 3),
        "center_mm": [round(1000 * float(value), 1) for value in center],
    }
