"""Lungs with their vessels, the mediastinum, heart, great vessels, airways, and the domes of the diaphragm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bonemets.simulation.ct.frame import Frame, curve
from bonemets.simulation.ct.landmarks import Landmarks
from bonemets.simulation.ct.plane import SIZE, ellipse, ellipsoid
from bonemets.simulation.ct.wall import FAT_HU
from bonemets.simulation.skeleton.anatomy import SIDES


@dataclass(frozen=True)
class Chest:
    """A patient's chest: lung vessels (curves with radii, mm), height of the domes, attenuation of blood and lung."""

    vessels: list[tuple[np.ndarray, np.ndarray]]
    dome: tuple[float, float]
    edge: float
    lung: float
    heart: float
    calcium: float


def draw_chest_plan(marks: Landmarks, chest: np.ndarray, age: float, rng: np.random.Generator) -> Chest:
    """Draw a patient's chest.

    Args:
        marks: landmarks.
        chest: (n, 3) points of the ribs in mm.
        age: in years.
        rng: random generator.

    Returns:
        The plan that every slice of the patient follows.
    """
    breath = float(rng.uniform(-6, 16))
    right = marks.level["T10"] + 22 - breath
    lungs: list[tuple[np.ndarray, np.ndarray]] = []
    for sign in (-1.0, 1.0):
        lungs += _vessel_tree(marks, chest, sign, rng)
    return Chest(
        vessels=lungs,
        dome=(right, right - float(rng.uniform(8, 20))),
        edge=marks.level["L1"] + 4 - breath,
        lung=float(rng.normal(-850, 22)),
        heart=float(rng.normal(1.0, 0.06)),
        calcium=float(np.clip((age - 50) / 30, 0, 1) * rng.uniform(0, 1)),
    )


def _vessel_tree(
    marks: Landmarks, chest: np.ndarray, sign: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pulmonary arteries and veins: hilum → ten segments → random ends, each thinner than the one before."""
    hilum = marks.at("T6", sign * 38, -18)
    half = np.abs(chest[:, 0] - hilum[0] + sign * 38).max()
    front, back = chest[:, 1].min(), chest[:, 1].max()
    top, bottom = marks.level["T2"] + 10, marks.level["T11"]
    vessels = []
    share = rng.uniform(size=(11, 3))
    segments = np.stack(
        [
            hilum[0] + sign * (12 + share[:, 0] * 0.40 * half),
            hilum[1] + (share[:, 1] - 0.5) * 0.50 * (back - front),
            hilum[2] + (share[:, 2] - 0.5) * 0.75 * (top - bottom),
        ],
        axis=1,
    )
    for segment in segments:
        line = curve(hilum, (hilum + segment) / 2 + rng.normal(0, 6, 3), segment, step=2.0)
        vessels.append((line, np.linspace(rng.uniform(4.5, 7), 2.8, len(line))))
    for _ in range(260):
        u = rng.uniform(size=3)
        end = np.array(
            [
                hilum[0] + sign * (0.05 + 0.95 * u[0]) * half,
                front + u[1] * (back - front),
                bottom + u[2] * (top - bottom),
            ]
        )
        start = segments[np.argmin(((segments - end) ** 2).sum(axis=1) * rng.uniform(0.6, 1.6, len(segments)))]
        middle = start + (end - start) * 0.45 + rng.normal(0, 9, 3)
        line = curve(start, middle, end, step=1.6)
        vessels.append((line, np.linspace(rng.uniform(1.6, 3.2), 0.6, len(line))))
    return vessels


def abdomen_below_diaphragm(frame: Frame, plan: Chest) -> np.ndarray:
    """Distance (mm, positive below) to the diaphragm in this slice; what is above it in the cavity is chest."""
    below = np.full((SIZE, SIZE), -1e3, np.float32)
    if frame.trunk is None or frame.z >= max(plan.dome):
        return below
    if frame.z < plan.edge - 40:
        return -below
    mx, my, a, b = frame.trunk
    for sign, top in zip((-1.0, 1.0), plan.dome, strict=True):
        if frame.z >= top:
            continue
        share = (top - frame.z) / (top - plan.edge)
        reach = 1.30 * share**0.36 if share < 1 else 1.30 + 2.5 * (share - 1)
        half = (0.52 * a, 0.80 * b)
        u = (frame.x - np.float32(mx + sign * 0.40 * a)) / np.float32(half[0])
        v = (frame.y - np.float32(my - 0.12 * b)) / np.float32(half[1])
        v = np.where(v > 0, v * np.float32(1.12), v * np.float32(0.92))  # the recess reaches lowest at the back
        below = np.maximum(below, (np.float32(reach) - np.sqrt(u * u + v * v)) * np.float32(half[0]))
    return np.asarray(below, np.float32)


def draw_chest(frame: Frame, plan: Chest, blood: float, below: np.ndarray) -> None:
    """Draw what lies above the diaphragm.

    Args:
        frame: the slice.
        plan: the patient's chest.
        blood: HU of blood.
        below: what :func:`abdomen_below_diaphragm` returned.
    """
    marks, z = frame.marks, frame.z
    if frame.trunk is None or z > marks.level["T1"] + 12 or z < plan.edge - 45:
        return
    sx, sy, front = frame.spine
    space = np.minimum(frame.cavity, -below)
    middle = _mediastinum(frame, plan)
    lungs = np.minimum(np.minimum(space, -middle), -frame.bones.near(*(f"T{i}" for i in range(1, 13))) - 2.5)
    apex = np.clip((marks.level["T1"] + 8 - z) / 28, 0, 1)  # the lungs' tips are round
    lungs = lungs - np.float32(42 * (1 - np.sqrt(apex)))
    mx, my, a, b = frame.trunk
    gravity = (frame.y - np.float32(my)) / np.float32(b)
    air = plan.lung + 45 * gravity + 14 * frame.coarse + 10 * frame.fine
    frame.paint(np.minimum(middle, space), FAT_HU + 12 + 6 * frame.coarse)
    frame.paint(lungs, air)
    _draw_vessels(frame, plan, lungs)
    _draw_heart_and_vessels(frame, plan, blood, below)


def _mediastinum(frame: Frame, plan: Chest) -> np.ndarray:
    """Distance inside the mediastinum: narrow behind the sternum, wide at the heart and before the spine."""
    marks = frame.marks
    sx, sy, front = frame.spine
    mx, my, a, b = frame.trunk or (0.0, 0.0, 1.0, 1.0)
    heights = [marks.level[bone] for bone in ("T11", "T9", "T7", "T6", "T5", "T4", "T2", "T1")]
    anterior = my - 0.62 * b
    depth = front - anterior
    wide = np.interp(frame.z, heights, [32, 36, 32, 34, 33, 36, 36, 40])
    block = ellipse(frame.x, frame.y, (sx + 2, anterior + 0.58 * depth), (wide, 0.52 * depth + 3), 2.4)
    retro = ellipse(frame.x, frame.y, (sx + 1, anterior + 0.1 * depth), (11 + 5 * max(marks.fat, 0), 0.45 * depth))
    para = ellipse(frame.x, frame.y, (sx + 4, front - 2), (25, 17))
    heart = _heart(frame, plan) + 3.5
    hila = [
        frame.tube(curve(marks.at("T5", sign * 20, -22, -8), marks.at("T7", sign * 44, -14, 8), step=3), 11.0)
        for sign in (-1, 1)
    ]
    return np.maximum.reduce([block, retro, para, heart, *hila])


def _heart(frame: Frame, plan: Chest) -> np.ndarray:
    """The heart leans to the left and to the front."""
    mx, my, a, b = frame.trunk or (0.0, 0.0, 1.0, 1.0)
    sx, _, front = frame.spine
    center = frame.marks.at("T8", 20, 0, 4)
    center[1] = my - 0.16 * b
    turn = np.radians(38)
    dx, dy = frame.x - np.float32(center[0]), frame.y - np.float32(center[1])
    along, across = dx * np.cos(turn) - dy * np.sin(turn), dx * np.sin(turn) + dy * np.cos(turn)
    size = plan.heart * a / 150
    return ellipsoid(along, across, frame.z, np.array([0, 0, center[2]]), (62 * size, 47 * size, 56 * size))


def _draw_vessels(frame: Frame, plan: Chest, lungs: np.ndarray) -> None:
    """Vessels of the lungs; those much thinner than the slice are pale by partial volume."""
    for line, radius in plan.vessels:
        if line[:, 2].min() - 4 > frame.z or line[:, 2].max() + 4 < frame.z:
            continue
        near = np.abs(line[:, 2] - frame.z) < np.maximum(radius, 1.25)
        if not near.any():
            continue
        points, radii = line[near], radius[near]
        window = frame.plane.window(points[:, :2].min(axis=0), points[:, :2].max(axis=0), 8.0)
        if window is None:
            continue
        x, y = frame.x[window], frame.y[window]
        inside = np.full(x.shape, -9.0, np.float32)
        for (px, py, _), r in zip(points, radii, strict=True):
            inside = np.maximum(inside, np.float32(r) - np.sqrt((x - np.float32(px)) ** 2 + (y - np.float32(py)) ** 2))
        cover = np.clip(np.minimum(inside, lungs[window]) / frame.plane.pixel + 0.5, 0, 1)
        cover = cover * np.float32(min(1.0, 0.25 + radii.max() / 3.0))
        frame.hu[window] += cover * (40 - frame.hu[window])


def _draw_heart_and_vessels(frame: Frame, plan: Chest, blood: float, below: np.ndarray) -> None:
    marks = frame.marks
    sx, sy, front = frame.spine
    fluid = blood + 3 * frame.coarse + 5 * frame.fine
    at = marks.at
    arch = curve(
        at("T8", 6, -50), at("T6", -12, -52), at("T5", -10, -50, 4), at("T4", 0, -34, 2), at("T4", 20, -12),
        at("T5", 24, -2), at("T8", 20, -3), at("T11", 8, -9), at("L2", 5, -11), at("L4", 2, -10), step=4.0,
    )  # fmt: skip
    radius = np.interp(np.arange(len(arch)) / len(arch), [0, 0.25, 0.4, 1], [16, 15, 12.5, 9]) * (
        0.9 + 0.2 * plan.calcium
    )
    aorta = frame.tube(arch, radius)
    trunk = frame.tube(curve(at("T8", 22, -66), at("T6", 18, -54), at("T5", 14, -42, -6), at("T6", 40, -18, 6)), 12.0)
    right = frame.tube(curve(at("T6", 14, -40, 8), at("T6", -10, -28, 6), at("T6", -40, -20)), 10.0)
    cava = frame.tube(curve(at("T2", -22, -38), at("T4", -26, -36), at("T7", -26, -46)), 9.0)
    lower = frame.tube(
        curve(at("T8", -18, -42, -10), at("T10", -22, -32), at("T12", -20, -17), at("L3", -18, -11)), 10.5
    )
    branches = [
        frame.tube(curve(at("T4", x0, -24, 4), at("T3", x0, -22), at("T1", x1, y1, 25)), r)
        for x0, x1, y1, r in ((-8, -24, -20, 5.5), (8, 20, -18, 4.5), (18, 30, -10, 5.0))
    ]
    veins = [
        frame.tube(curve(at("T4", -24, -36), at("T2", sign * 24, -40), at("T1", sign * 30, -28, 25)), 6.5)
        for sign in (-1, 1)
    ]
    vessels = (trunk, right, cava, lower, *veins, aorta, *branches)
    for vessel in vessels:
        frame.paint(vessel + 1.2, FAT_HU + 30)
    heart = np.minimum(_heart(frame, plan), -below)
    frame.paint(heart, 46 + 3 * frame.coarse + 5 * frame.fine)
    frame.paint(np.minimum(heart - 10, frame.coarse * 6 + 5), fluid)  # chambers
    frame.paint(np.minimum(0.8 - np.abs(heart - 4 - 3 * frame.coarse), frame.coarse * 3), -20.0)  # fat in the grooves
    for vessel in vessels:
        frame.paint(vessel, fluid)
    plaque = np.minimum(np.minimum(aorta + 0.3, 1.6 - aorta), (frame.coarse - 2.3 + 1.5 * plan.calcium) * 3)
    frame.paint(plaque, 420.0)
    gullet = frame.tube(curve(at("T1", 4, -10, 30), at("T4", 3, -9), at("T8", 4, -11), at("T11", 16, -22), step=3), 7.0)
    frame.paint(gullet, 35.0)
    frame.paint(gullet - 4.5, -300.0)
    trachea = curve(at("T1", 0, -24, 40), at("T3", -2, -22), at("T5", -3, -20, 2), step=3)
    airways = [frame.tube(trachea, 9.0)]
    airways += [
        frame.tube(curve(at("T5", -3, -20, 2), at("T6", sign * 20, -17, 4), at("T7", sign * 36, -14, 6), step=2), 5.5)
        for sign in (-1, 1)
    ]
    for airway in airways:
        frame.paint(airway + 1.8, 35.0)
        frame.paint(airway, -990.0)


def draw_breasts(frame: Frame, size: float) -> None:
    """Glandular tissue in the fat before the chest of a woman: two lenses that grow out of the skin's outline."""
    marks = frame.marks
    if not size or frame.trunk is None:
        return
    mx, my, a, b = frame.trunk
    for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
        rib = frame.subject.points_of(f"rib_{side}_6")
        edge = rib[:, 0].min() if sign < 0 else rib[:, 0].max()
        center = np.array([mx + 0.62 * (edge - mx), my - 0.74 * b, marks.level["T6"] - 10])
        radius = 66 * np.sqrt(size)
        mound = ellipsoid(frame.x, frame.y, frame.z, center, (radius, 14 * size + 0.26 * b, radius))
        outside = np.minimum(mound, -frame.cavity - 12)
        frame.skin = np.maximum(frame.skin, outside)
        frame.fat = np.where(outside > 0, np.maximum(frame.fat, outside + 1), frame.fat)
