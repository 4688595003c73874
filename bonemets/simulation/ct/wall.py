"""Skin, subcutaneous fat, muscles with the fat between them, and the large muscles beside the spine."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from bonemets.simulation.ct.frame import Frame, curve
from bonemets.simulation.ct.plane import SIZE, ellipse
from bonemets.simulation.skeleton.anatomy import SIDES

FAT_HU, MUSCLE_HU, SKIN_HU = -104.0, 52.0, 15.0


class MuscleBellies:
    """Cells of space, long from head to foot, whose borders carry the fat between muscles."""

    def __init__(self, rng: np.random.Generator, low: np.ndarray, high: np.ndarray, size: float = 54.0) -> None:
        self._stretch = np.array([1.0, 1.0, 0.22])
        extent = (high - low) * self._stretch
        count = int(np.clip(np.prod(extent / size) * 1.3, 50, 6000))
        self._tree = cKDTree(low * self._stretch + rng.uniform(size=(count, 3)) * extent)

    def septum(self, frame: Frame) -> np.ndarray:
        """How far (mm) each pixel is from the nearest border between two cells; on every second pixel, then filled."""
        x, y = frame.x[::2, ::2], frame.y[::2, ::2]
        points = np.stack([x, y, np.full_like(x, frame.z * self._stretch[2])], axis=-1).reshape(-1, 3)
        distance, _ = self._tree.query(points, k=2)
        gap = (distance[:, 1] - distance[:, 0]).reshape(x.shape).astype(np.float32) / 2
        return np.asarray(ndimage.zoom(gap, 2, order=1, grid_mode=True, mode="nearest"))


def draw_wall(frame: Frame, bellies: MuscleBellies, muscle: float) -> None:
    """Everything between the skin and the body cavity, and the limbs, without their bones.

    Args:
        frame: the slice; ``hu`` is air and table so far.
        bellies: borders between the muscles.
        muscle: the patient's muscle in HU.
    """
    fat = FAT_HU + 5 * frame.coarse
    frame.paint(frame.skin, fat)
    rim = np.minimum(frame.skin, 1.8 - frame.skin)
    frame.paint(rim, SKIN_HU)
    strands = 0.35 - np.abs(frame.coarse + 0.3) * 3.0  # thin fibrous strands in the fat
    frame.paint(np.minimum(strands, frame.skin - 3), -60.0)
    lean = frame.skin - frame.fat - 1.8
    fleshy = muscle + 4 * frame.coarse + 5 * frame.fine
    frame.paint(lean, fleshy)
    loin = _loin_fat(frame, lean)
    if loin is not None:
        frame.paint(np.minimum(loin, lean + 2), fat)
    padding = np.clip(frame.marks.fat, -0.5, 2)
    gap = bellies.septum(frame)
    septa = 0.32 + 0.32 * padding + 0.22 * frame.coarse - gap
    if frame.marks.crest > frame.z > frame.marks.pubis - 40:  # gluteus minimus, medius and maximus lie in sheets
        sides = ("hip_right", "hip_left", "femur_right", "femur_left")
        depth = frame.bones.near(*sides) + 2.5 * frame.bend
        for limit, width in ((-19, 0.5), (-23.5, 0.3)):
            septa = np.maximum(septa, width + 0.3 * padding - np.abs(depth - limit))
    # layers of the wall around the cavity: ribs and intercostal muscles, a plane of fat, the outer muscles
    layers = 0.75 + 0.3 * padding - np.abs(frame.cavity + 15 + 2.0 * frame.coarse)
    septa = np.where(frame.cavity > -30, np.minimum(layers, 0.6 + frame.coarse), septa)
    frame.paint(np.minimum(np.minimum(septa, lean - 1.0), -frame.bones.distance - 1.5), -70.0)
    frame.paint(np.minimum(frame.cavity, 1.0), fat)


def _loin_fat(frame: Frame, lean: np.ndarray) -> np.ndarray | None:
    """Distance inside the fat of the loins, where only the muscles beside the spine reach to the back."""
    marks, z = frame.marks, frame.z
    share = min(np.clip((marks.level["T12"] - z) / 30, 0, 1), np.clip((z - marks.crest + 25) / 30, 0, 1))
    if share <= 0 or frame.trunk is None:
        return None
    beside = frame.x - np.float32(frame.spine[0])
    plane = frame.spine[1] + 32 + 60 * (1 - share) - 0.0016 * beside * beside
    taper = 0.6 * np.clip(20 - lean, 0, 20)  # the oblique muscles thin out toward the back
    mx, _, a, _ = frame.trunk
    trunk = np.float32(a) - np.abs(frame.x - np.float32(mx))  # not in the arms
    return np.asarray(np.minimum(np.minimum(frame.y - plane + taper, -frame.bones.distance - 9), trunk), np.float32)


def draw_beside_spine(frame: Frame, muscle: float, bulk: float) -> None:
    """Erector spinae, psoas, iliacus and obturator internus, each in a sheath of fat.

    Args:
        frame: the slice.
        muscle: the patient's muscle in HU.
        bulk: the patient's muscle size, 1 on average.
    """
    marks, z = frame.marks, frame.z
    sx, sy, _ = frame.spine
    fleshy = muscle + 3 * frame.coarse + 5 * frame.fine
    if frame.trunk is not None and marks.level["T2"] > z > marks.sacrum_bottom + 25:
        heights = [marks.sacrum_bottom + 20, marks.sacrum_top - 30, marks.level["L4"], marks.level["L1"]]
        heights += [marks.level["T8"], marks.level["T2"]]
        half = np.interp(z, heights, [10, 27, 37, 35, 22, 15]) * bulk
        deep = np.interp(z, heights, [5, 15, 21, 19, 12, 9]) * bulk
        back = marks.spine_back(z) - 3
        for sign in (-1, 1):
            belly = ellipse(frame.x, frame.y, (sx + sign * (half + 3), back - deep * 0.62), (half, deep), 2.3)
            belly = np.minimum(belly, frame.skin - 6)
            frame.paint(np.minimum(belly + 2.0, frame.skin - 4), FAT_HU + 20)
            frame.paint(belly, fleshy)
            for share in (0.55, 1.25):  # multifidus, longissimus, iliocostalis
                cleft = np.abs(frame.x - np.float32(sx + sign * (share * half + 2)) - 1.6 * frame.coarse)
                frame.paint(np.minimum(np.minimum(0.3 - cleft + 0.4 * frame.coarse, belly - 2), 1.0), -40.0)
    for side, lateral in zip(SIDES, (-1.0, 1.0), strict=True):
        head = marks.femoral_head[side]
        if marks.level["T12"] > z > head[2] - 70:
            psoas = curve(
                marks.at("L1", lateral * 21, 24, 5), marks.at("L3", lateral * 36, 22), marks.at("L5", lateral * 44, 12),
                np.array([0.45 * (sx + lateral * 50) + 0.55 * head[0], head[1] - 30, (marks.sacrum_top + head[2]) / 2]),
                head + np.array([lateral * 4, -32, 15]), head + np.array([lateral * 10, -22, -75]), step=5.0,
            )  # fmt: skip
            radius = bulk * np.interp(psoas[:, 2], [head[2], marks.level["L5"], marks.level["L1"]], [14, 19, 9])
            belly = frame.tube(psoas, radius)
            frame.paint(belly + 1.2, FAT_HU)
            frame.paint(belly, fleshy)
        if marks.crest > z > marks.pubis + 20:
            hip = frame.bones.near(f"hip_{side}")
            medial = lateral * (frame.x - marks.middle) < lateral * (head[0] - marks.middle) + 70
            sheet = np.minimum(hip + (13 if z > head[2] + 35 else 15) * bulk, frame.cavity + 14)
            sheet = np.minimum(sheet, np.where(medial & (frame.cavity > -13), 5.0, -5.0))
            frame.paint(np.minimum(sheet, -hip), fleshy)


def draw_discs(frame: Frame, disc: np.ndarray) -> None:
    """Intervertebral discs: 85 HU, softer in the middle."""
    frame.paint(disc, 92 - np.clip(disc, 0, 10) * 2.0 + 4 * frame.coarse)


def draw_canal(frame: Frame) -> None:
    """Spinal cord or dural sac and the fat around it, behind the vertebral body."""
    sx, sy, front = frame.spine
    if not frame.marks.chin + 30 > frame.z > frame.marks.sacrum_top - 40 or frame.trunk is None:
        return
    depth = 2 * (sy - front)
    place = (sx, front + depth + 9.0)
    canal = ellipse(frame.plane.x, frame.plane.y, place, (10.5, 8.5))
    frame.paint(canal, -30.0)
    frame.paint(ellipse(frame.plane.x, frame.plane.y, place, (8.0, 7.0)), 22 + 4 * frame.fine)


def empty_slice() -> np.ndarray:
    """A slice of air."""
    return np.full((SIZE, SIZE), -1000.0, np.float32)
