"""The soft-tissue body around the posed skeleton, as front and back surfaces per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from bonemets.simulation.patient.body_outline import appendages, lungs, outline
from bonemets.simulation.patient.body_shape import Landmarks, Part
from bonemets.simulation.patient.grid import COLUMNS, PIXEL, ROWS, pixel_of, row_heights
from bonemets.simulation.skeleton.pose import Pose
from bonemets.simulation.skeleton.skeleton import Skeleton

_COVER = 0.006
"""Least thickness of soft tissue over any bone (meters)."""


@dataclass(frozen=True)
class Surfaces:
    """Front (``front``, toward the anterior camera, smaller y) and back surface per pixel, float32 (rows, columns).

    Where there is nothing, both are 0 and ``thickness`` is 0.
    """

    front: np.ndarray
    back: np.ndarray

    @property
    def thickness(self) -> np.ndarray:
        """Depth of the tissue in meters."""
        return self.back - self.front


@dataclass(frozen=True)
class Body:
    """A patient's body.

    Attributes:
        top: height of the image's upper edge in the patient's coordinates (meters).
        parts: the outline; ``skin``, ``lean`` (without subcutaneous fat) and ``lungs`` are made from it.
        table: depth y of the table's surface.
        parameters: everything that was drawn.
    """

    top: float
    parts: tuple[Part, ...]
    skin: Surfaces
    lean: Surfaces
    lungs: Surfaces
    table: float
    parameters: dict[str, Any]


def build_body(
    skeleton: Skeleton,
    pose: Pose,
    points: np.ndarray,
    patient: dict[str, Any],
    rng: np.random.Generator,
    top_margin: float | None = None,
) -> Body:
    """Wrap a body of the patient's weight around the posed skeleton.

    Args:
        skeleton: the bones.
        pose: where they are.
        points: (P, 3) all bone points, posed.
        patient: sex, weight and so on.
        rng: random generator of this stage.
        top_margin: distance from the vertex to the first row in meters; None: drawn.

    Returns:
        The body, with surfaces on the image grid.
    """
    hull = pose.apply(skeleton.hull, skeleton.hull_bone)
    margin = float(rng.uniform(0.04, 0.20))  # the scan starts above the head
    margin = margin if top_margin is None else top_margin
    top = float(hull[:, 2].max()) + margin
    marks = Landmarks(hull, skeleton.hull_bone, row_heights(top))
    shape = {
        "belly": float(rng.normal(0.0, 0.10)),  # where the fat is: trunk against limbs
        "hips": float(rng.normal(0.15 if patient["sex"] == "F" else -0.05, 0.10)),
        "muscle": float(rng.normal(-0.06 if patient["sex"] == "F" else 0.05, 0.05)),
        "breast": float(np.clip(rng.lognormal(0.0, 0.35), 0.5, 2.0)) if patient["sex"] == "F" else 0.0,
    }
    fat = _fat_of_weight(marks, patient, shape)
    parts = outline(marks, patient, shape, fat)
    extra = appendages(marks, patient, fat, rng)
    skin = _surfaces([*parts, *extra])
    if patient["sex"] == "F":
        skin = _add_breasts(skin, marks, shape["breast"], fat)
    skin = _cover_bones(skin, points[::2], top)
    lean = _surfaces([part.lean() for part in parts] + extra)
    lean = Surfaces(np.maximum(lean.front, skin.front), np.minimum(lean.back, skin.back))
    table = max(float((part.y + part.b).max()) for part in parts)
    parameters = {"fat": fat, "top_margin_mm": 1000 * margin, **shape}
    return Body(top, tuple(parts), skin, lean, _surfaces(lungs(marks)), table, parameters)


def _fat_of_weight(marks: Landmarks, patient: dict[str, Any], shape: dict[str, float]) -> float:
    """The amount of fat at which the body has the patient's weight, by the secant method."""

    def excess(fat: float) -> float:
        volume = sum(part.volume() for part in outline(marks, patient, shape, fat))
        return 0.93 * volume - 2.2 - patient["weight_kg"]  # parts overlap by 7 %; the lungs hold 2-3 kg less

    before, fat = 0.0, (patient["bmi"] - 22) / 7
    error = excess(before)
    for _ in range(4):
        now = excess(fat)
        if abs(now) < 0.05 or now == error:
            break
        before, fat, error = fat, float(np.clip(fat - now * (fat - before) / (now - error), -1.2, 3.5)), now
    return fat


def _add_breasts(skin: Surfaces, marks: Landmarks, size: float, fat: float) -> Surfaces:
    """Raise the front surface by two flat domes that lean outwards, as in a supine woman."""
    xs = (np.arange(COLUMNS) - COLUMNS / 2 + 0.5) * PIXEL
    nipple = marks.center("T6")[2] - 0.01
    radius = 0.066 * np.sqrt(size) * (1 + 0.10 * max(fat, 0))
    height = 0.024 * size * (1 + 0.35 * max(fat, -0.5))
    front = skin.front.copy()
    for edge in (marks.low(0, "rib_right_6"), marks.high(0, "rib_left_6")):
        middle = marks.center("T6")[0]
        center = middle + 0.70 * (edge - middle)
        r2 = ((xs[None] - center) / radius) ** 2 + ((marks.heights[:, None] - nipple) / radius) ** 2
        dome = height * np.sqrt(np.clip(1 - r2, 0, None))
        front -= np.where(skin.thickness > 0, dome, 0).astype(np.float32)
    return Surfaces(front, skin.back)


def _cover_bones(skin: Surfaces, points: np.ndarray, top: float) -> Surfaces:
    """Push the skin out where a bone would stick through it (fingers, acromion, iliac crest of a thin patient)."""
    pixel = pixel_of(points, top)
    keep = pixel >= 0
    pixel, depth = pixel[keep], points[keep, 1]
    front = np.full(ROWS * COLUMNS, np.inf, np.float32)
    back = np.full(ROWS * COLUMNS, -np.inf, np.float32)
    np.minimum.at(front, pixel, depth - np.float32(_COVER))
    np.maximum.at(back, pixel, depth + np.float32(_COVER))
    disk = np.hypot(*np.mgrid[-3:4, -3:4]) <= 3  # 7 mm to the sides
    front = ndimage.minimum_filter(front.reshape(ROWS, COLUMNS), footprint=disk)
    back = ndimage.maximum_filter(back.reshape(ROWS, COLUMNS), footprint=disk)
    bare = skin.thickness <= 0
    front = np.minimum(np.where(bare, np.inf, skin.front), front)
    back = np.maximum(np.where(bare, -np.inf, skin.back), back)
    empty = back <= front
    return Surfaces(np.where(empty, 0, front).astype(np.float32), np.where(empty, 0, back).astype(np.float32))


def _surfaces(parts: list[Part]) -> Surfaces:
    """Union of the parts as front and back surface; gaps between parts in depth are filled."""
    front = np.full((ROWS, COLUMNS), np.inf, np.float32)
    back = np.full((ROWS, COLUMNS), -np.inf, np.float32)
    xs = (np.arange(COLUMNS) - COLUMNS / 2 + 0.5) * PIXEL
    for part in parts:
        if not len(part.rows):
            continue
        first = max(int((part.x - part.a).min() / PIXEL + COLUMNS / 2) - 1, 0)
        last = min(int((part.x + part.a).max() / PIXEL + COLUMNS / 2) + 2, COLUMNS)
        if first >= last:
            continue
        u = np.abs((xs[None, first:last] - part.x[:, None]) / part.a[:, None])
        half = part.b[:, None] * np.clip(1 - np.minimum(u, 1) ** part.power, 0, None) ** (1 / part.power)
        inside = u < 1
        window = np.s_[part.rows[0] : part.rows[-1] + 1, first:last]
        front[window] = np.minimum(front[window], np.where(inside, part.y[:, None] - half, np.inf))
        back[window] = np.maximum(back[window], np.where(inside, part.y[:, None] + half, -np.inf))
    empty = back <= front
    front[empty], back[empty] = 0, 0
    return Surfaces(front, back)
