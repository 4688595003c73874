"""Bones in a CT slice: signed distances from the cached grids, cortex, trabecular bone, marrow, discs.

Every bone's signed-distance grid (1.5 mm) is sampled at the inverse-transformed pixel positions, so that borders are
smooth below the pixel size; three planes through the slice's thickness give its partial volume.

Attenuation. Trabecular bone of L1: 226 HU below 30 years, falling by 2.5 HU a year (Pickhardt, Radiology 2019,
10.1148/radiol.2019181648), spread between patients 30 HU. Other sites as a share of L1, and cortical thickness and
attenuation per region, are chosen by eye against a real CT.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from bonemets.simulation.ct.plane import SIZE, Plane, Waves
from bonemets.simulation.ct.subject import CTSubject
from bonemets.simulation.skeleton.anatomy import BONE_IDS, BONES, REGIONS
from bonemets.simulation.skeleton.skeleton_cache import GRID_MM

OUTSIDE = -60.0
"""Distance in mm where no bone is near."""


@dataclass(frozen=True)
class BoneKind:
    """How the bones of a region look: cortex (mm, HU), trabecular HU as a share of L1's, growth and smoothing (mm)."""

    cortex: float
    cortical_hu: float
    trabecular: float
    growth: float = 0.0
    smooth: float = 1.0


KINDS = {
    "skull": BoneKind(1.7, 1500, 2.6, 1.6, 0.8),
    "cervical_spine": BoneKind(0.9, 900, 1.5, 0.8),
    "thoracic_spine": BoneKind(0.75, 800, 1.06, 1.0),
    "lumbar_spine": BoneKind(0.80, 820, 1.0, 0.9),
    "sacrum": BoneKind(0.9, 750, 0.62, -0.6, 1.8),
    "pelvis": BoneKind(1.6, 1000, 0.75, -0.7, 1.8),
    "ribs": BoneKind(1.0, 800, 0.9, 1.0, 0.8),
    "sternum": BoneKind(0.9, 600, 0.62, 0.3, 1.2),
    "costal_cartilage": BoneKind(0.8, 130, 0.6, 0.6, 1.5),
    "clavicles": BoneKind(2.0, 1150, 0.7, 0.0, 1.0),
    "scapulae": BoneKind(1.3, 950, 0.8, 0.2, 1.0),
    "humeri": BoneKind(3.6, 1350, 0.9, 0.0, 1.2),
    "forearms": BoneKind(2.8, 1350, 0.6, 0.0, 0.9),
    "hands": BoneKind(1.0, 900, 1.2, 0.0, 0.6),
    "femora": BoneKind(6.0, 1450, 1.15, 0.0, 1.6),
    "lower_legs": BoneKind(4.5, 1400, 0.9, 0.0, 1.2),
    "feet": BoneKind(1.0, 900, 1.2, 0.0, 0.8),
}
_LONG = ("humerus", "radius", "ulna", "femur", "tibia", "fibula")
_FATTY_MARROW = -40.0
SPINE = [f"T{i}" for i in range(1, 13)] + [f"L{i}" for i in range(1, 6)]


def trabecular_hu(age: float, rng: np.random.Generator) -> float:
    """Attenuation of the trabecular bone of L1 in a patient of that age."""
    return float(np.clip(226 - 2.5 * max(age - 30, 0) + rng.normal(0, 30), 45, 300))


@lru_cache(maxsize=160)
def _grid(file: Path, bone: str) -> tuple[np.ndarray, np.ndarray, int]:
    """A bone's smoothed signed-distance grid (mm), its origin (m) and its longest axis."""
    with np.load(file) as arrays:
        distance, origin = arrays[f"sdf_{bone}"].astype(np.float32), arrays[f"origin_{bone}"]
    kind = KINDS[REGIONS[bone]]
    distance = ndimage.gaussian_filter(distance, kind.smooth / GRID_MM, mode="nearest") + np.float32(kind.growth)
    extent = np.ptp(np.argwhere(distance > 0), axis=0)
    return distance, origin, int(np.argmax(extent))


@dataclass
class BoneSlice:
    """The bones in one slice.

    Attributes:
        cover: share of each pixel (and of the slice's thickness) that is bone.
        hu: attenuation of that share.
        distance: mm to the nearest bone's surface in the middle plane, positive inside.
        label: the bone of ``distance`` where it is inside, else 0.
        depth: per bone that is met, its window and its distance in the middle plane.
    """

    cover: np.ndarray
    hu: np.ndarray
    distance: np.ndarray
    label: np.ndarray
    depth: dict[str, tuple[tuple[slice, slice], np.ndarray]]

    def near(self, *bones: str) -> np.ndarray:
        """Distance (mm, positive inside) to the named bones, (512, 512)."""
        distance = np.full((SIZE, SIZE), OUTSIDE, np.float32)
        for bone in bones:
            if bone in self.depth:
                window, inside = self.depth[bone]
                distance[window] = np.maximum(distance[window], inside)
        return distance


def vertebral_body(subject: CTSubject, bone: str) -> tuple[float, float, float, float]:
    """Center of the body (x, y, z) and depth y of its front: the deepest points lie in the body, not in the arch."""
    points = subject.points_of(bone)
    depth = subject.skeleton.depth[subject.skeleton.points_of(bone)]
    center = points[depth > 0.55 * depth.max()].mean(axis=0, dtype=np.float64)
    central = points[np.abs(points[:, 0] - center[0]) < 6]
    return float(center[0]), float(center[1]), float(center[2]), float(np.percentile(central[:, 1], 1))


class BoneCutter:
    """Cuts a subject's bones into slices."""

    def __init__(self, subject: CTSubject, trabecular: float, rng: np.random.Generator) -> None:
        self.subject, self.trabecular = subject, trabecular
        self.bend = tuple(Waves(rng, 22, 60, 8) for _ in range(2))
        self.level = {bone: float(rng.lognormal(0, 0.07)) for bone in BONES.values()}
        self.bodies = {bone: vertebral_body(subject, bone)[:3] for bone in SPINE}
        order = np.argsort(subject.points[:, 2], kind="stable")
        self._z, self._order = subject.points[order, 2], order
        self._inverse = np.linalg.inv(subject.pose.matrix[1:])
        self.calcified = float(np.clip((subject.person["age_years"] - 35) / 40, 0, 1) * rng.uniform(0.4, 1.3))

    def windows(self, plane: Plane, thickness: float, margin: float) -> dict[str, tuple[slice, slice]]:
        """Bones near the slice and the pixels that cover them."""
        reach = thickness / 2 + 4.0
        first, last = np.searchsorted(self._z, [plane.z - reach, plane.z + reach])
        index = np.sort(self._order[first:last])
        bone = self.subject.skeleton.bone[index]
        windows = {}
        for label in np.unique(bone):
            points = self.subject.points[index[np.searchsorted(bone, label) : np.searchsorted(bone, label, "right")]]
            window = plane.window(points[:, :2].min(axis=0), points[:, :2].max(axis=0), margin)
            if window is not None:
                windows[BONES[int(label)]] = window
        return windows

    def sample(
        self, bone: str, plane: Plane, window: tuple[slice, slice], z: float, bent: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distance below a bone's surface and distance to the bone's end (both mm) in a window of a plane."""
        distance, origin, axis = _grid(self.subject.skeleton.file, bone)
        label = BONE_IDS[bone]
        inverse, offset = self._inverse[label - 1], self.subject.pose.offset[label]
        x = (plane.x[:, window[1]] + bent[0][window]) / 1000 - offset[0]
        y = (plane.y[window[0]] + bent[1][window]) / 1000 - offset[1]
        height = z / 1000 - offset[2]
        index = np.stack(
            [
                (x * inverse[i, 0] + y * inverse[i, 1] + (height * inverse[i, 2] - origin[i])) * (1000 / GRID_MM)
                for i in range(3)
            ]
        ).astype(np.float32)
        inside = ndimage.map_coordinates(distance, index, order=1, mode="constant", cval=OUTSIDE)
        along = index[axis] * GRID_MM - 4.5
        end = np.minimum(along, (distance.shape[axis] - 1) * GRID_MM - 9 - along)
        return inside, end

    def cut(self, plane: Plane, thickness: float, textures: tuple[np.ndarray, np.ndarray], skip: set[str]) -> BoneSlice:
        """Cut all bones at a slice.

        Args:
            plane: the slice.
            thickness: its thickness in mm.
            textures: two random textures of unit spread, fine and coarse.
            skip: bones to leave out.

        Returns:
            What is seen of them.
        """
        cover, hu = np.zeros((SIZE, SIZE), np.float32), np.zeros((SIZE, SIZE), np.float32)
        nearest, label = np.full((SIZE, SIZE), OUTSIDE, np.float32), np.zeros((SIZE, SIZE), np.uint8)
        bent = (1.1 * self.bend[0].on(plane), 1.1 * self.bend[1].on(plane))
        depths: dict[str, tuple[tuple[slice, slice], np.ndarray]] = {}
        planes = (-thickness / 3, 0.0, thickness / 3)
        for bone, window in self.windows(plane, thickness, 24.0).items():
            if bone in skip:
                continue
            texture = (textures[0][window], textures[1][window])
            for shift in planes:
                inside, end = self.sample(bone, plane, window, plane.z + shift, bent)
                carved = self._carve(bone, plane, window, plane.z + shift)
                if carved is not None:
                    inside = np.minimum(inside, carved)
                share = np.clip(inside / np.float32(plane.pixel) + np.float32(0.5), 0, 1) / 3
                value = self._attenuation(bone, inside, end, texture)
                hu[window] += share * value
                cover[window] += share
                if shift == 0.0:
                    depths[bone] = (window, inside)
                    better = inside > nearest[window]
                    nearest[window] = np.where(better, inside, nearest[window])
                    label[window] = np.where(better & (inside > 0), BONE_IDS[bone], label[window])
        hu /= np.maximum(cover, 1e-3)
        return BoneSlice(np.minimum(cover, 1), hu, nearest, label, depths)

    def disc(self, plane: Plane, spine: tuple[float, float, float]) -> np.ndarray:
        """Distance (mm, positive inside) to the border of the intervertebral disc at this height.

        The sections of the vertebral bodies above and below are blended; the bones themselves are drawn over it.
        """
        away = np.full((SIZE, SIZE), OUTSIDE, np.float32)
        heights = np.array([self.bodies[bone][2] for bone in SPINE])
        if not heights.min() - 30 < plane.z < heights.max():
            return away
        below = int(np.argmax(heights < plane.z)) if plane.z > heights.min() else len(SPINE) - 1
        above = max(below - 1, 0) if plane.z > heights.min() else below
        middle = np.array([spine[0], spine[1]])
        window = plane.window(middle, middle, 42.0)
        if window is None:
            return away
        sections = []
        for bone in (SPINE[above], SPINE[below]):
            body = self.bodies[bone]
            shift = tuple(np.full((SIZE, SIZE), body[i] - spine[i], np.float32) for i in (0, 1))
            sections.append(self.sample(bone, plane, window, body[2], (shift[0], shift[1]))[0])
        gap = max(self.bodies[SPINE[above]][2] - self.bodies[SPINE[below]][2], 1.0)
        t = float(np.clip((plane.z - self.bodies[SPINE[below]][2]) / gap, 0, 1))
        disc = t * sections[0] + (1 - t) * sections[1] + np.float32(1.2)
        back = np.float32(2 * spine[1] - spine[2] + 2.0) - plane.y[window[0]]
        away[window] = np.minimum(disc, back)
        return away

    def _attenuation(
        self, bone: str, inside: np.ndarray, end: np.ndarray, texture: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """HU from the depth below the surface: cortex, then trabecular bone, fatty marrow in the shafts."""
        region = REGIONS[bone]
        kind = KINDS[region]
        base = self.trabecular * kind.trabecular * self.level[bone]
        cortex: np.ndarray | float = kind.cortex
        spongy: np.ndarray | float = base + (0.22 * base + 12) * texture[0] + (0.10 * base + 6) * texture[1]
        if bone.rsplit("_", 1)[0] in _LONG:
            shaft = np.clip((end - 18) / 55, 0, 1)
            shaft = shaft * shaft * (3 - 2 * shaft)
            cortex = 1.2 + (kind.cortex - 1.2) * shaft
            spongy = spongy + (_FATTY_MARROW - spongy) * np.clip(1.6 * shaft - 0.1, 0, 1)
        if region == "costal_cartilage":
            spots = np.clip(texture[1] - 2.1 + self.calcified, 0, 1.5)
            return np.asarray(np.where(inside < 1.2 + 1.2 * self.calcified, 105 + 220 * spots, 95 + 60 * spots))
        edge = 1 / (1 + np.exp(np.clip((inside - cortex) / 0.35, -30, 30)))
        return np.asarray(spongy + (kind.cortical_hu * (1 + 0.06 * texture[1]) - spongy) * edge, np.float32)

    def _carve(self, bone: str, plane: Plane, window: tuple[slice, slice], z: float) -> np.ndarray | None:
        """Distance outside the sacral canal and foramina, which the mesh lacks; None for other bones."""
        if bone != "sacrum":
            return None
        points = self.subject.points_of("sacrum")
        top, bottom = points[:, 2].max(), points[:, 2].min()
        here = points[np.abs(points[:, 2] - z) < 4]
        if not len(here):
            return None
        middle = (points[:, 0].min() + points[:, 0].max()) / 2
        central = here[np.abs(here[:, 0] - middle) < 9]
        if not len(central):
            return None
        back, share = float(central[:, 1].max()), (top - z) / (top - bottom)
        x, y = plane.x[:, window[1]] - middle, plane.y[window[0]] - back
        size = float(np.clip(1.15 - 1.2 * share, 0, 1))
        hole = (np.sqrt((x / (13 * size + 0.1)) ** 2 + ((y + 9.5) / (6 * size + 0.1)) ** 2) - 1) * 6 * max(size, 0.2)
        for level, lateral, radius in ((0.24, 21, 5.5), (0.42, 18, 5.0), (0.58, 16, 4.2), (0.72, 14, 3.4)):
            vertical = (share - level) * (top - bottom) / 1.6
            tube = np.sqrt((np.abs(x) - lateral + 0.12 * y) ** 2 + vertical**2) - radius
            hole = np.minimum(hole, tube + 0 * y)
        return np.asarray(hole, np.float32)
