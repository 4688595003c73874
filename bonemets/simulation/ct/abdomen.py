"""Organs of abdomen and pelvis: liver, spleen, kidneys, stomach, bowel with gas, bladder, rectum, vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bonemets.simulation.ct.frame import Frame, curve
from bonemets.simulation.ct.landmarks import Landmarks
from bonemets.simulation.ct.plane import ellipse, ellipsoid
from bonemets.simulation.ct.wall import FAT_HU
from bonemets.simulation.skeleton.anatomy import SIDES


@dataclass(frozen=True)
class Phase:
    """Attenuation in HU of what contrast medium changes."""

    name: str
    blood: float
    liver: float
    spleen: float
    kidney: float


PHASES = (
    Phase("unenhanced", 42, 54, 48, 32),
    Phase("portal venous", 150, 108, 118, 175),
)


@dataclass(frozen=True)
class Abdomen:
    """A patient's organs: curves of the bowel with radii and contents, kidneys, bladder (mm)."""

    loops: list[tuple[np.ndarray, float, float]]
    colon: list[tuple[np.ndarray, float]]
    kidneys: dict[str, tuple[np.ndarray, float]]
    bladder: tuple[np.ndarray, float]
    female: bool
    stomach_gas: float
    liver: float


def draw_abdomen_plan(
    marks: Landmarks, width: float, front: float, female: bool, bladder: float, rng: np.random.Generator
) -> Abdomen:
    """Draw a patient's abdomen.

    Args:
        marks: landmarks.
        width: half-width of the abdominal cavity in mm.
        front: depth y of the inner side of the front wall.
        female: sex.
        bladder: size of the bladder, 0.45 to 1.15, as in the bone scan.
        rng: random generator.

    Returns:
        The plan that every slice of the patient follows.
    """
    at = marks.at
    loops = []
    for _ in range(30):
        steps = rng.normal(size=(11, 3)) * np.array([40, 24, 26])
        start = np.array(
            [
                marks.middle + rng.uniform(-0.55, 0.55) * width,
                front + rng.uniform(28, 62),
                rng.uniform(marks.sacrum_top - 70, marks.level["L2"]),
            ]
        )
        line = start + np.cumsum(steps, axis=0) * 0.8
        line[:, 0] = np.clip(line[:, 0], marks.middle - 0.68 * width, marks.middle + 0.68 * width)
        line[:, 1] = np.clip(line[:, 1], front + 16, front + 85)
        line[:, 2] = np.clip(line[:, 2], marks.sacrum_top - 85, marks.level["L1"] - 8)
        loops.append((curve(*line, step=4.5), float(rng.uniform(9.5, 14.5)), float(rng.uniform(0, 1))))
    w, low = width, float(rng.uniform(0, 40))
    y = front + 60
    ascending = curve(
        np.array([marks.middle - 0.62 * w, front + 42, marks.sacrum_top - 25]),
        at("L4", -0.72 * w, 4),
        at("L2", -0.74 * w, 0),
    )
    transverse = curve(
        at("L2", -0.74 * w, 0), np.array([marks.middle - 0.45 * w, front + 24, marks.level["L3"] + 20 - low]),
        np.array([marks.middle, front + 20, marks.level["L3"] - low]),
        np.array([marks.middle + 0.5 * w, front + 26, marks.level["L2"] - 8]), at("T12", 0.76 * w, -14, -6),
    )  # fmt: skip
    descending = curve(
        at("T12", 0.76 * w, -14, -6), at("L2", 0.82 * w, 6), at("L4", 0.80 * w, 2),
        np.array([marks.middle + 0.66 * w, front + 55, marks.sacrum_top - 20]),
    )  # fmt: skip
    rectum = marks.pelvis + np.array([0, 42, -62])
    sigmoid = curve(
        np.array([marks.middle + 0.66 * w, front + 55, marks.sacrum_top - 20]),
        np.array([marks.middle + 0.35 * w, y, marks.sacrum_top - 62]), marks.pelvis + np.array([12, -8, -4]),
        marks.pelvis + np.array([0, 34, -14]), rectum, marks.pelvis + np.array([0, 34, -105]),
    )  # fmt: skip
    colon = [(ascending, 22.0), (transverse, 19.0), (descending, 14.5), (sigmoid, 14.0)]
    kidneys = {}
    for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
        middle = (at("L1") + at("L2")) / 2 + [sign * 66, 14, 6 - 14 * (sign < 0)] + rng.normal(0, 5, 3)
        kidneys[side] = (middle, float(rng.normal(1.0, 0.07)))
    size = bladder
    place = marks.pelvis + np.array([0, -30, -52 + 18 * size])
    return Abdomen(
        loops, colon, kidneys, (place, size), female, float(rng.uniform(0.2, 0.9)), float(rng.normal(1, 0.08))
    )


def draw_abdomen(frame: Frame, plan: Abdomen, phase: Phase, below: np.ndarray) -> None:
    """Draw the organs between the diaphragm and the pelvic floor.

    Args:
        frame: the slice.
        plan: the patient's abdomen.
        phase: attenuation of blood and organs.
        below: distance below the diaphragm in this slice.
    """
    marks, z = frame.marks, frame.z
    if frame.trunk is None or z < marks.pubis - 30 or z > marks.level["T8"] + 25:
        return
    inside = np.minimum(frame.cavity, below)
    frame.paint(inside, FAT_HU + 4 + 5 * frame.coarse)
    vessels = np.minimum(inside - 14, (frame.fine - 2.35) * 2.0)
    frame.paint(np.minimum(vessels, -frame.bones.distance - 6), 20.0)  # mesenteric vessels cut across
    _draw_upper(frame, plan, phase, inside)
    _draw_bowel(frame, plan, inside)
    _draw_kidneys(frame, plan, phase)
    _draw_iliac_vessels(frame, phase)
    _draw_pelvis(frame, plan)


def _draw_upper(frame: Frame, plan: Abdomen, phase: Phase, inside: np.ndarray) -> None:
    marks, z = frame.marks, frame.z
    sx, sy, front = frame.spine
    mx, my, a, b = frame.trunk or (0.0, 0.0, 1.0, 1.0)
    level = marks.level
    if z > level["L4"] - 10:
        heights = [level[bone] for bone in ("L4", "L3", "L2", "L1", "T12", "T10")]
        ahead = np.interp(z, heights, np.array([-1.05, -0.70, -0.42, -0.12, 0.22, 0.46]) * plan.liver) * a
        behind = np.interp(z, heights, [-1.05, -0.75, -0.55, -0.40, -0.20, -0.14]) * a
        top, bottom = my - 0.75 * b, sy + 25
        t = np.clip((frame.y - np.float32(top)) / np.float32(bottom - top), 0, 1)
        edge = np.float32(mx) + np.float32(ahead) + t * np.float32(behind - ahead)
        liver = np.minimum(inside - 2.5, (edge - frame.x) * np.float32(0.8))
        spared = ellipse(frame.x, frame.y, (sx, sy - 4), (34, 40))  # spine, crura and great vessels
        liver = np.minimum(liver, -spared)
        kidney, size = plan.kidneys["right"]
        liver = np.minimum(liver, -(ellipsoid(frame.x, frame.y, z, kidney, (36 * size, 34 * size, 62 * size))))
        organ = phase.liver + 3 * frame.coarse + 5 * frame.fine
        frame.paint(liver, organ)
        branches = np.minimum(0.05 - np.abs(frame.coarse - 0.55), liver / 40 - 0.15) * 14
        frame.paint(branches, phase.liver + (22 if phase.blood > 100 else -13))
        gall = ellipsoid(frame.x, frame.y, z, np.array([mx - 0.38 * a, my - 0.38 * b, level["L1"] - 8]), (15, 22, 30))
        frame.paint(gall + 1.5, FAT_HU + 50)
        frame.paint(gall, 9 + 4 * frame.fine)
    spleen = ellipsoid(
        frame.x, frame.y, z, np.array([mx + 0.70 * a, sy + 2, level["T12"] + 12]), (0.24 * a, 44.0, 56.0)
    )
    spleen = np.minimum(spleen, inside - 2.5)
    frame.paint(spleen + 2, FAT_HU)
    frame.paint(spleen, phase.spleen + 3 * frame.coarse + 5 * frame.fine)
    stomach = ellipsoid(
        frame.x, frame.y, z, np.array([mx + 0.34 * a, my - 0.36 * b, level["T12"] + 10]), (0.36 * a, 0.42 * b, 58.0)
    )
    stomach = np.minimum(stomach, inside - 4)
    _hollow(frame, stomach, 4.5, plan.stomach_gas, my - 0.50 * b)
    pancreas = frame.tube(curve(marks.at("L2", -28, -32), marks.at("L1", 6, -36), marks.at("T12", 58, -22, -8)), 10.0)
    pancreas = np.minimum(pancreas + 1.5 * frame.coarse, inside - 8)
    frame.paint(pancreas, 38 + 8 * frame.fine + (50 if phase.blood > 100 else 0))
    for sign in (-1.0, 1.0):  # crura of the diaphragm and adrenals
        if level["L2"] < z < level["T11"]:
            crus = ellipse(frame.x, frame.y, (sx + sign * 15, front - 4), (6, 15))
            frame.paint(np.minimum(crus, -frame.bones.distance - 1), 48.0)


def _hollow(frame: Frame, outside: np.ndarray, wall: float, gas: float, level: float) -> None:
    """A hollow organ: wall, fluid, and gas above a level that is horizontal, since the patient lies supine."""
    frame.paint(outside, 42 + 4 * frame.fine)
    lumen = outside - wall
    frame.paint(lumen, 14 + 8 * frame.coarse)
    if gas > 0.35:
        frame.paint(np.minimum(lumen, np.float32(level) - frame.y), -985.0)


def _draw_bowel(frame: Frame, plan: Abdomen, inside: np.ndarray) -> None:
    marks = frame.marks
    sx, sy, front = frame.spine
    free = np.minimum(inside - 3, -ellipse(frame.x, frame.y, (sx, sy - 2), (46, 46)))
    for line, radius, gas in plan.loops:
        if np.abs(line[:, 2] - frame.z).min() > radius:
            continue
        loop = np.minimum(frame.tube(line, radius), free)
        if frame.z > marks.level["L3"]:  # the upper abdomen belongs to liver and stomach
            loop = np.minimum(loop, -np.abs(frame.hu - FAT_HU) + 55)
        frame.paint(loop + 1.2, FAT_HU)
        frame.paint(loop, 40 + 4 * frame.fine)
        frame.paint(loop - 2.6, 18 + 9 * frame.coarse)
        if gas > 0.72:
            frame.paint(np.minimum(loop - 2.6, np.float32(line[:, 1].mean() - 4) - frame.y), -960.0)
    for line, radius in plan.colon:
        if np.abs(line[:, 2] - frame.z).min() > radius + 4:
            continue
        colon = np.minimum(frame.tube(line, radius) + 2.2 * frame.coarse, frame.cavity - 3)
        frame.paint(colon + 1.0, FAT_HU)
        frame.paint(colon, 38 + 4 * frame.fine)
        stool = -25 + 32 * frame.coarse + 38 * frame.fine
        frame.paint(colon - 2.4, stool)
        near = line[np.abs(line[:, 2] - frame.z) < radius]
        bubbles = np.minimum(colon - 3.5, (frame.fine - 0.9) * 1.6)
        frame.paint(bubbles, -520.0)
        if len(near):
            frame.paint(np.minimum(colon - 2.6, np.float32(near[:, 1].min() - 0.25 * radius) - frame.y), -975.0)


def _draw_kidneys(frame: Frame, plan: Abdomen, phase: Phase) -> None:
    for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
        middle, size = plan.kidneys[side]
        tilt = 0.22 * (frame.z - middle[2]) * sign  # upper poles lie nearer to the spine
        x = frame.x + np.float32(tilt)
        turn = np.radians(28) * sign
        dx, dy = x - np.float32(middle[0]), frame.y - np.float32(middle[1])
        u, v = dx * np.cos(turn) - dy * np.sin(turn), dx * np.sin(turn) + dy * np.cos(turn)
        center = np.array([0.0, 0.0, middle[2]])
        capsule = ellipsoid(u, v, frame.z, center, (37 * size, 33 * size, 66 * size))
        kidney = ellipsoid(u, v, frame.z, center, (25 * size, 29 * size, 54 * size)) + 0.8 * frame.coarse
        kidney = np.minimum(kidney, frame.cavity + 9)
        sinus = ellipsoid(u + sign * 13, v, frame.z, center, (14 * size, 10 * size, 26 * size))
        frame.paint(np.minimum(capsule, frame.cavity), FAT_HU)
        frame.paint(kidney, phase.kidney + 3 * frame.coarse + 5 * frame.fine)
        frame.paint(sinus, -70 + 25 * frame.coarse)
        frame.paint(np.minimum(sinus - 3, (frame.coarse + 0.2) * 4), 8.0 if phase.blood < 100 else 60.0)


def _draw_iliac_vessels(frame: Frame, phase: Phase) -> None:
    """Aortic bifurcation at L4, iliac and femoral vessels; arteries in front of veins."""
    marks, at = frame.marks, frame.marks.at
    for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
        head = marks.femoral_head[side]
        brim = np.array([0.5 * (marks.middle + head[0]) + sign * 8, head[1] - 4, marks.sacrum_top - 45])
        groin = head + np.array([-sign * 2, -48, 0])
        thigh = head + np.array([sign * 8, -40, -90])
        for y, x, radius, start in ((0, 0, 5.5, at("L4", 2, -10)), (11, -sign * 6, 7.0, at("L4", -12, -8))):
            line = curve(start, brim + [x, y, 0], groin + [x * 1.5, y * 0.6, 0], thigh + [x, y * 0.5, 0])
            vessel = frame.tube(line, radius)
            frame.paint(vessel + 0.8, -50.0)
            frame.paint(vessel, phase.blood + 4 * frame.fine)


def _draw_pelvis(frame: Frame, plan: Abdomen) -> None:
    marks, z = frame.marks, frame.z
    if z > marks.sacrum_top - 20:
        return
    place, size = plan.bladder
    bladder = ellipsoid(frame.x, frame.y, z, place, (48 * size, 38 * size, 44 * size))
    bladder = np.minimum(bladder, frame.cavity - 2)
    behind = place + np.array([0, 37 * size + 14, -8])
    if plan.female:
        uterus = ellipsoid(frame.x, frame.y, z, behind + [4, -2, 14], (26, 17, 30))
        frame.paint(np.minimum(uterus, frame.cavity - 4), 46 + 4 * frame.coarse)
    else:
        prostate = ellipsoid(frame.x, frame.y, z, place + [0, 10, -40 * size - 12], (22, 17, 18))
        seminal = ellipsoid(frame.x, frame.y, z, behind + [0, -4, -16], (30, 8, 10))
        for gland in (prostate, seminal):
            frame.paint(np.minimum(gland, frame.cavity - 2), 42 + 4 * frame.coarse)
    frame.paint(bladder + 3.2, 36.0)
    frame.paint(bladder, 7 + 3 * frame.fine)
    floor = marks.pelvis + np.array([0, 34, -84])
    anal = ellipsoid(frame.x, frame.y, z, floor + [0, 2, -18], (17, 17, 34))
    frame.paint(anal, 44 + 5 * frame.coarse)
