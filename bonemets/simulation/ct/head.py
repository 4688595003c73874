"""Brain, face and neck: enough for the lesions of skull and cervical spine to lie in something like a head."""

from __future__ import annotations

import numpy as np

from bonemets.simulation.ct.frame import Frame, curve
from bonemets.simulation.ct.plane import ellipse, ellipsoid
from bonemets.simulation.ct.wall import FAT_HU


def draw_head_and_neck(frame: Frame, blood: float) -> None:
    """Draw what lies above the chest.

    Args:
        frame: the slice.
        blood: HU of blood.
    """
    marks, z = frame.marks, frame.z
    skull = marks.skull
    base = float(np.percentile(skull[:, 2], 22))
    if z > base - 60:
        _draw_head(frame, base)
    if z < marks.chin + 45 and z > marks.level["T2"]:
        _draw_neck(frame, blood)


def _draw_head(frame: Frame, base: float) -> None:
    z, skull = frame.z, frame.marks.skull
    near = skull[np.abs(skull[:, 2] - z) < 6]
    if len(near) < 30:
        return
    low, high = np.percentile(near[:, :2], 1, axis=0), np.percentile(near[:, :2], 99, axis=0)
    middle = (low + high) / 2
    brow = float(np.percentile(skull[:, 2], 45))
    if z > base:
        back = ellipse(
            frame.x, frame.y, (middle[0], middle[1]), ((high - low)[0] / 2 - 4, (high - low)[1] / 2 - 4), 2.2
        )
        if z < brow:  # below the brow the face takes the front half
            back = np.minimum(back, frame.y - np.float32(low[1] + 0.42 * (high[1] - low[1])))
        folds = np.abs(frame.coarse) * 4 - 0.8 + np.clip(back - 12, 0, 30) * 0.4
        frame.paint(back, 12.0)
        frame.paint(np.minimum(back - 2.5, folds), 34 + 3 * frame.coarse)
        for sign in (-1, 1):
            frame.paint(ellipse(frame.x, frame.y, (middle[0] + sign * 9, middle[1]), (5, 22)), 8.0)
    if z < brow:
        front = float(low[1])
        for sign in (-1, 1):
            eye = np.array([middle[0] + sign * 31, front + 16, brow - 14])
            frame.paint(ellipsoid(frame.x, frame.y, z, eye, (16, 20, 15)), FAT_HU)
            frame.paint(ellipsoid(frame.x, frame.y, z, eye + [0, -6, 0], (12, 12, 12)), 8.0)
            sinus = np.array([middle[0] + sign * 24, front + 26, brow - 48])
            frame.paint(ellipsoid(frame.x, frame.y, z, sinus, (14, 16, 18)), -980.0)
        airway = np.array([middle[0], front + 34, brow - 42])
        frame.paint(ellipsoid(frame.x, frame.y, z, airway, (9, 26, 24)) + 1.5 * frame.coarse, -960.0)
        tongue = np.array([middle[0], front + 32, frame.marks.chin + 32])
        frame.paint(ellipsoid(frame.x, frame.y, z, tongue, (22, 28, 20)), 50 + 5 * frame.coarse)


def _draw_neck(frame: Frame, blood: float) -> None:
    points = frame.subject.points_of(*(f"C{i}" for i in range(2, 8)), "T1")
    near = points[np.abs(points[:, 2] - frame.z) < 14]
    if not len(near):
        return
    x, front = float(near[:, 0].mean()), float(np.percentile(near[:, 1], 4))
    center = np.array([x, front, frame.z])

    def tube(dx: float, dy: float, radius: float) -> np.ndarray:
        place = center + [dx, dy, 0]
        return frame.tube(curve(place - [0, 0, 9], place + [0, 0, 9], step=3), radius)

    for sign in (-1, 1):
        frame.paint(tube(sign * 27, -12, 9.0) + 2, FAT_HU + 15)
        frame.paint(tube(sign * 24, -10, 4.0), blood)
        frame.paint(tube(sign * 32, -10, 6.0), blood)
        if frame.z < frame.marks.chin - 25:
            frame.paint(ellipse(frame.x, frame.y, (x + sign * 16, front - 20), (9, 12)), 105.0)  # thyroid: iodine
    frame.paint(tube(2, -6, 6.0), 38.0)
    frame.paint(tube(0, -22, 11.0), 60.0)
    frame.paint(tube(0, -22, 8.5), -990.0)
