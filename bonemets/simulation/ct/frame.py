"""What every tissue of a CT slice hangs on: the outline of the slice and the body cavity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from bonemets.simulation.ct.bones import SPINE, BoneSlice
from bonemets.simulation.ct.landmarks import Landmarks
from bonemets.simulation.ct.plane import SIZE, Plane, Waves, ellipse
from bonemets.simulation.ct.subject import CTSubject
from bonemets.simulation.patient.body_shape import Part
from bonemets.simulation.patient.grid import PIXEL
from bonemets.simulation.skeleton.anatomy import SIDES

_BINS = 90
_ANGLES = (np.arange(_BINS) + 0.5) / _BINS * 2 * np.pi - np.pi
"""Directions in a slice: 0 to the patient's left, a quarter turn to the back."""
_ARM_PARTS = ("upper_arm", "forearm", "hand")

CHEST_WALL = tuple(f"rib_{side}_{i}" for side in SIDES for i in range(1, 13)) + ("sternum", "costal_cartilage")
ARM_MM = 48.0
"""With raised arms, nothing of them is seen from this far below the top of the humeri."""
_PELVIC_WALL = ("hip_right", "hip_left", "sacrum")
_UNDER_SKIN = (*CHEST_WALL, *_PELVIC_WALL, "scapula_right", "scapula_left", *SPINE)


@dataclass
class Frame:
    """One slice while it is being drawn. All distances are in mm, positive inside.

    Attributes:
        subject, marks, plane, bones: what is cut, and where.
        hu: (512, 512) float32, drawn so far.
        x, y: pixel positions, gently bent so that no organ is an exact ellipse.
        fine, coarse: textures of this slice, of unit spread; ``bend``: a smooth field that neighboring slices share.
        skin: distance below the skin; ``fat``: thickness of the subcutaneous fat there; ``cavity``: distance to the
            wall of the thoracic, abdominal or pelvic cavity; ``spine``: x, y, front of the vertebrae at this height.
        trunk: middle x, middle y, half-width and half-depth of the trunk, None above and below it.
    """

    subject: CTSubject
    marks: Landmarks
    plane: Plane
    bones: BoneSlice
    hu: np.ndarray
    x: np.ndarray
    y: np.ndarray
    fine: np.ndarray
    coarse: np.ndarray
    bend: np.ndarray
    skin: np.ndarray = field(init=False)
    fat: np.ndarray = field(init=False)
    cavity: np.ndarray = field(init=False)
    trunk: tuple[float, float, float, float] | None = field(init=False, default=None)
    spine: tuple[float, float, float] = field(init=False)

    @property
    def z(self) -> float:
        """Height of the slice."""
        return self.plane.z

    def paint(self, distance: np.ndarray, value: np.ndarray | float) -> None:
        """Draw a tissue where ``distance`` is positive."""
        cover = np.clip(distance * np.float32(1 / self.plane.pixel) + np.float32(0.5), 0, 1)
        self.hu += cover * (value - self.hu)

    def tube(self, points: np.ndarray, radius: np.ndarray | float) -> np.ndarray:
        """Distance to a tube around a curve (n, 3) in mm, as a chain of spheres."""
        distance = np.full((SIZE, SIZE), -1e3, np.float32)
        radii = np.broadcast_to(np.asarray(radius, float), len(points))
        for (px, py, pz), r in zip(points, radii, strict=True):
            height = pz - self.z
            if abs(height) >= r + 3:
                continue
            window = self.plane.window(np.array([px, py]), np.array([px, py]), r + 12)
            if window is None:
                continue
            x, y = self.x[window] - np.float32(px), self.y[window] - np.float32(py)
            inside = np.float32(r) - np.sqrt(x * x + y * y + np.float32(height * height))
            distance[window] = np.maximum(distance[window], inside)
        return distance


def curve(*stations: np.ndarray, step: float = 4.0) -> np.ndarray:
    """A smooth curve (n, 3) through stations, a point about every ``step`` mm."""
    knots = np.array(stations, float)
    length = np.r_[0, np.cumsum(np.sqrt((np.diff(knots, axis=0) ** 2).sum(axis=1)))]
    t = np.linspace(0, length[-1], max(int(length[-1] / step), 2))
    line = np.stack([np.interp(t, length, knots[:, i]) for i in range(3)], axis=1)
    return np.asarray(ndimage.gaussian_filter1d(line, 3.0, axis=0, mode="nearest"))


def section(part: Part, top: float, z: float) -> tuple[float, float, float, float] | None:
    """Middle x, middle y and half-axes (mm) of a part of the body at a height in mm; None where it is not."""
    row = (top - z / 1000) / PIXEL - 0.5
    if not len(part.rows) or not part.rows[0] - 0.5 <= row <= part.rows[-1] + 0.5:
        return None
    return tuple(1000 * float(np.interp(row, part.rows, v)) for v in (part.x, part.y, part.a, part.b))  # type: ignore[return-value]


def outline(frame: Frame, ripple: Waves, arms: bool) -> None:
    """Set ``skin``, ``fat`` and ``trunk`` of a frame.

    The super-ellipses of the body, rippled by a few mm, flattened where the back lies on the table and grown where a
    bone would come within a few mm of the skin.
    """
    body, marks = frame.subject.body, frame.marks
    frame.spine = marks.spine(frame.z)
    skin = np.full((SIZE, SIZE), -1e3, np.float32)
    fat = np.full((SIZE, SIZE), 3.0, np.float32)
    wave = ripple.on(frame.plane)
    for part in body.parts:
        if not arms and part.name.startswith(_ARM_PARTS) and frame.z < marks.shoulder - ARM_MM:
            continue
        place = section(part, body.top, frame.z)
        if place is None:
            continue
        mx, my, a, b = place
        layer = 1000 * part.fat
        if part.name == "trunk":
            frame.trunk = (mx, my, a, b)
            inside: np.ndarray = _trunk_outline(frame, part.power, layer) + np.float32(0.012 * min(a, b)) * wave
            u, v = (frame.plane.x - mx) / np.float32(a), (frame.plane.y - my) / np.float32(b)
            inside -= _back_groove(u, v, layer)
            low = np.clip((marks.level["T10"] - frame.z) / 120, 0, 1)
            seat = np.clip((marks.crest + 10 - frame.z) / 60, 0, 1) * (1.1 + 4.0 / max(layer, 4.0))
            # thick on the belly, beside the back and on the buttocks, thin over the flanks of the chest
            posterior = np.clip(v, 0, 1)
            thick: np.ndarray | float = layer * (
                1 + 0.35 * low * v + 0.3 * low * np.abs(u) * (v > 0) + seat * posterior**2 + 0.2 * wave
            )
        else:
            inside = ellipse(frame.plane.x, frame.plane.y, (mx, my), (a, b), part.power)
            inside = inside + np.float32(0.02 * min(a, b)) * wave
            thick = layer * (1 + 0.15 * wave)
        better = inside > skin
        fat = np.where(better, np.minimum(thick, 0.45 * b), fat).astype(np.float32)
        skin = np.maximum(skin, inside)
    bones = frame.bones.distance + np.float32(5)
    frame.skin = np.maximum(skin, np.minimum(bones, 5))
    frame.fat = np.maximum(fat, 1.5)


def _trunk_outline(frame: Frame, power: float, layer: float) -> np.ndarray:
    """Distance below the skin of the trunk: its super-ellipse, drawn out smoothly around ribs, scapulae and hips."""
    mx, my, a, b = frame.trunk or (0.0, 0.0, 1.0, 1.0)
    cosine, sine = np.abs(np.cos(_ANGLES)), np.abs(np.sin(_ANGLES))
    radius = 1 / ((cosine / a) ** power + (sine / b) ** power) ** (1 / power)
    parts = [frame.subject.points_of(bone)[::2] for bone in _UNDER_SKIN]
    points = np.concatenate([p[np.abs(p[:, 2] - frame.z) < 16] for p in parts])
    flat = my + b - 6
    if len(points):
        outer = _extent(points, (mx, my), np.maximum.at, 0.0) + 11 + 0.4 * layer
        radius = np.maximum(radius, outer)
        loin = min(frame.marks.level["T11"] - frame.z, frame.z - frame.marks.sacrum_top + 55) / 50
        if loin > 0:  # the small of the back is hollow
            hollow = frame.marks.spine_back(frame.z) + 11 + 1.9 * layer
            flat = min(flat, flat + (hollow - flat) * min(loin, 1.0))
        flat = max(flat, float(points[:, 1].max()) + 10)
    radius = ndimage.gaussian_filter1d(0.2 * radius + 0.8 * _convex(radius), 1.6, mode="wrap")
    limit, r = _radial(frame.plane.x, frame.plane.y, (mx, my), radius)
    slope = np.float32(min(a, b) / max(a, b) * 0.5 + 0.5)
    side, back = (limit - r) * slope, np.float32(flat) - frame.plane.y
    corner = np.clip(1 - np.abs(side - back) / 22, 0, 1)  # where the flat back bends into the flank
    return np.asarray(np.minimum(side, back) - corner * corner * np.float32(5.5), np.float32)


def _convex(radius: np.ndarray) -> np.ndarray:
    """Radius by direction of the convex hull of a closed curve."""
    corners = np.sort(ConvexHull(radius[:, None] * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)).vertices)
    after = np.searchsorted(corners, np.arange(_BINS), side="right")
    first, second = corners[after - 1], corners[after % len(corners)]
    r1, r2 = radius[first], radius[second]
    one, two = _ANGLES - _ANGLES[first], _ANGLES[second] - _ANGLES
    one, two = one % (2 * np.pi), two % (2 * np.pi)
    return np.asarray(
        np.where(one == 0, r1, r1 * r2 * np.sin(one + two) / (r1 * np.sin(one) + r2 * np.sin(two) + 1e-9))
    )


def _extent(points: np.ndarray, center: tuple[float, float], reduce: Any, start: float) -> np.ndarray:
    """Greatest or smallest distance (mm) of points from a center, by direction."""
    dx, dy = points[:, 0] - center[0], points[:, 1] - center[1]
    index = np.floor((np.arctan2(dy, dx) + np.pi) / (2 * np.pi) * _BINS).astype(int) % _BINS
    extent = np.full(_BINS, start)
    reduce(extent, index, np.sqrt(dx**2 + dy**2))
    return extent


def _radial(
    x: np.ndarray, y: np.ndarray, center: tuple[float, float], radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Radius of a closed curve in the direction of every pixel, and the pixel's own distance from the center."""
    dx, dy = x - np.float32(center[0]), y - np.float32(center[1])
    turn = (np.arctan2(dy, dx) + np.float32(np.pi)) * np.float32(_BINS / (2 * np.pi)) - np.float32(0.5)
    line = np.r_[radius[-1], radius, radius[:2]].astype(np.float32)
    low = np.floor(turn).astype(np.int32)
    t = turn - low
    limit = line[low + 1] * (1 - t) + line[low + 2] * t
    return limit, np.sqrt(dx * dx + dy * dy)


def _back_groove(u: np.ndarray, v: np.ndarray, layer: float) -> np.ndarray:
    """Depth of the furrow over the spinous processes."""
    return np.asarray((3.0 + 0.15 * layer) * np.exp(-((u / 0.10) ** 2)) * np.clip(v, 0, 1), np.float32)


def cavity(frame: Frame) -> None:
    """Set ``cavity``: inside ribs, abdominal wall and pelvic bones, by direction from the trunk's middle."""
    if frame.trunk is None or frame.z < frame.marks.pubis + 4:
        frame.cavity = np.full((SIZE, SIZE), -1e3, np.float32)
        return
    marks, z = frame.marks, frame.z
    mx, my, a, b = frame.trunk
    layer = float(np.median(frame.fat[frame.skin > 0])) if (frame.skin > 0).any() else 5.0
    front = my - b + layer
    center = (0.5 * (frame.spine[0] + mx), front + 0.55 * (frame.spine[2] - front))
    cosine, sine = np.abs(np.cos(_ANGLES)), np.sin(_ANGLES)
    low = float(np.clip((marks.crest + 10 - z) / 60, 0, 1))  # from the crest down, muscles of the buttocks lie behind
    wall = layer + 9 + (6 + 12 * low) * cosine + (14 + 24 * low) * np.clip(sine, 0, 1)
    dx, dy = mx - center[0], my - center[1]
    edge_x, edge_y = np.cos(_ANGLES), np.sin(_ANGLES)
    radius = _ray(edge_x, edge_y, (dx, dy), (a, b)) - wall
    radius = _inside_bones(frame, radius, center, CHEST_WALL, reach=28.0, gap=4.0, fill=True)
    if z < marks.crest + 10:
        radius = _inside_bones(frame, radius, center, _PELVIC_WALL, reach=8.0, gap=11.0, fill=False)
    radius = ndimage.gaussian_filter1d(np.maximum(radius, 4), 1.1, mode="wrap")
    limit, r = _radial(frame.x, frame.y, center, radius)
    inside = limit - r
    loin = np.clip((marks.level["T12"] - z) / max(marks.level["T12"] - marks.level["L2"], 1), 0, 1)
    if loin > 0 and z > marks.sacrum_top - 15:
        beside = frame.x - np.float32(frame.spine[0])
        floor = frame.spine[1] + 60 - 39 * loin - 0.0009 * beside * beside
        inside = np.minimum(inside, (floor - frame.y).astype(np.float32))
    if z < marks.sacrum_bottom + 25:
        inside = np.minimum(inside, np.float32(marks.pelvis[1] + 48) - frame.y - 0.006 * (frame.x - marks.middle) ** 2)
    frame.cavity = np.asarray(inside, np.float32)


def _ray(ux: np.ndarray, uy: np.ndarray, shift: tuple[float, float], half: tuple[float, float]) -> np.ndarray:
    """Distance from a center to an ellipse with half-axes ``half`` whose middle is ``shift`` away, by direction."""
    a, b = half
    p = (ux / a) ** 2 + (uy / b) ** 2
    q = ux * shift[0] / a**2 + uy * shift[1] / b**2
    c = (shift[0] / a) ** 2 + (shift[1] / b) ** 2 - 1
    return np.asarray((q + np.sqrt(np.maximum(q**2 - p * c, 0))) / p)


def _inside_bones(
    frame: Frame,
    radius: np.ndarray,
    center: tuple[float, float],
    bones: tuple[str, ...],
    *,
    reach: float,
    gap: float,
    fill: bool,
) -> np.ndarray:
    """Draw the wall in to ``gap`` mm inside the bones within ``reach`` mm of the slice; ``fill``: also between them."""
    parts = [frame.subject.points_of(bone) for bone in bones]
    points = np.concatenate([p[np.abs(p[:, 2] - frame.z) < reach] for p in parts])
    if len(points) < 50:
        return radius
    nearest = _extent(points, center, np.minimum.at, np.inf) - gap
    met = np.flatnonzero(np.isfinite(nearest))
    if fill and len(met) > 3:
        spread = np.interp(np.arange(_BINS), np.r_[met - _BINS, met, met + _BINS], np.tile(nearest[met], 3))
        distance = np.min([np.abs(np.arange(_BINS)[:, None] - met[None] + k) for k in (-_BINS, 0, _BINS)], axis=(0, 2))
        nearest = np.where(distance <= 8, spread, np.inf)  # gaps of up to 60 degrees are bridged
    return np.minimum(radius, nearest)
