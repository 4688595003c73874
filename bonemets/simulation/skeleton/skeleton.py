"""The skeleton as a cloud of points that are moved, weighted and projected; loaded from the cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bonemets.simulation.skeleton.anatomy import BONE_IDS, BONES
from bonemets.simulation.skeleton.kinematics import KinematicTree
from bonemets.simulation.skeleton.skeleton_cache import Progress, ensure_cache

_POINT_ARRAYS = ("position", "rest", "bone", "depth", "volume", "end", "neighbor", "facing")


@dataclass(frozen=True, eq=False)
class Skeleton:
    """All bones in a neutral supine pose.

    Points are sorted by bone, so that one bone is one slice. Coordinates are meters: x to the patient's left,
    y to the back, z to the head.

    Attributes:
        position: (P, 3) float32, in the frame of the body that carries the bone.
        rest: (P, 3) float32, in the world, rest pose.
        bone: (P,) uint8 label of the bone (:data:`bonemets.simulation.BONES`).
        depth: (P,) distance below the bone's surface in mm.
        volume: (P,) volume that the point stands for in mL.
        end: (P,) distance to the nearer end of the bone along its long axis in mm.
        neighbor: (P,) distance to the nearest other bone in mm, at most 15.
        facing: (P,) label of that bone, 0 if none is near.
        hull: (H, 3) vertices of the bones' convex hulls, in the bodies' frames; ``hull_bone`` (H,) their bones.
        bone_body: (N + 1,) body that carries each bone.
        tree: the joints.
        file: the cache file, which also holds the signed-distance grids.
    """

    position: np.ndarray
    rest: np.ndarray
    bone: np.ndarray
    depth: np.ndarray
    volume: np.ndarray
    end: np.ndarray
    neighbor: np.ndarray
    facing: np.ndarray
    hull: np.ndarray
    hull_bone: np.ndarray
    bone_body: np.ndarray
    tree: KinematicTree
    file: Path
    bounds: np.ndarray = field(init=False)
    centers: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        labels = np.arange(len(BONES) + 2)
        object.__setattr__(self, "bounds", np.searchsorted(self.bone, labels))
        centers = np.zeros((len(BONES) + 1, 3))
        for label in BONES:
            centers[label] = self.rest[self.points_of(label)].mean(axis=0, dtype=np.float64)
        object.__setattr__(self, "centers", centers)

    def points_of(self, bone: int | str) -> slice:
        """The slice of the points that belong to one bone, given its label or name."""
        label = BONE_IDS[bone] if isinstance(bone, str) else bone
        return slice(int(self.bounds[label]), int(self.bounds[label + 1]))

    def mask_of(self, names: list[str]) -> np.ndarray:
        """(P,) bool: the points of the named bones."""
        lookup = np.zeros(256, bool)
        lookup[[BONE_IDS[name] for name in names]] = True
        return lookup[self.bone]

    def signed_distance(self, bone: str) -> tuple[np.ndarray, np.ndarray]:
        """Signed-distance grid of a bone in mm (positive inside, pitch 1.5 mm) and its origin in meters."""
        with np.load(self.file) as arrays:
            return arrays[f"sdf_{bone}"].astype(np.float32), arrays[f"origin_{bone}"]


def load_skeleton(cache_dir: Path | None = None, progress: Progress | None = None) -> Skeleton:
    """Load the skeleton, building its cache on first use (about twenty seconds).

    Args:
        cache_dir: folder of the cache; default $BONEMETS_CACHE, else the user's cache folder.
        progress: called with a message and the share done (0 to 1) while the cache is built.

    Returns:
        The skeleton; it is read-only and may be shared between patients and threads.
    """
    path = ensure_cache(cache_dir, progress)
    with np.load(path) as arrays:
        tree = KinematicTree.from_arrays(arrays)
        points = {name: arrays[name] for name in _POINT_ARRAYS}
        return Skeleton(
            **points,
            hull=arrays["hull"],
            hull_bone=arrays["hull_bone"],
            bone_body=arrays["bone_body"],
            tree=tree,
            file=path,
        )
