"""Landmarks of a patient by which a CT's outline and organs are placed."""

from __future__ import annotations

import numpy as np

from bonemets.simulation.ct.bones import SPINE, vertebral_body
from bonemets.simulation.ct.subject import CTSubject
from bonemets.simulation.skeleton.anatomy import SIDES


class Landmarks:
    """Positions in mm that organs are placed by."""

    def __init__(self, subject: CTSubject) -> None:
        bodies = [vertebral_body(subject, bone) for bone in SPINE]
        self.level = {bone: float(body[2]) for bone, body in zip(SPINE, bodies, strict=True)}
        order = np.argsort([body[2] for body in bodies])
        sacrum, hips = subject.points_of("sacrum"), subject.points_of("hip_right", "hip_left")
        self._spine = np.concatenate([_sacral_stations(sacrum), np.array(bodies)[order]])
        self._spinous = np.concatenate([subject.points_of(bone)[::3] for bone in (*SPINE, "sacrum")])
        self.sacrum_top, self.sacrum_bottom = float(sacrum[:, 2].max()), float(sacrum[:, 2].min())
        self.crest, self.pubis = float(hips[:, 2].max()), float(hips[:, 2].min())
        self.middle = float((hips[:, 0].min() + hips[:, 0].max()) / 2)
        self.pelvis = subject.center("hip_right", "hip_left")
        self.symphysis = hips[np.abs(hips[:, 0] - self.middle) < 12].mean(axis=0)
        self.femoral_head = {side: _femoral_head(subject.points_of(f"femur_{side}"), self.middle) for side in SIDES}
        self.chin = float(subject.points_of("mandible")[:, 2].min())
        self.skull = subject.points_of("skull")
        self.shoulder = float(subject.points_of("humerus_right", "humerus_left")[:, 2].max())
        self.fat = float(subject.body.parameters["fat"])

    def spine(self, z: float) -> tuple[float, float, float]:
        """Lateral position, depth of the middle and of the front of the vertebral bodies at a height."""
        table = self._spine
        return tuple(float(np.interp(z, table[:, 2], table[:, i])) for i in (0, 1, 3))  # type: ignore[return-value]

    def spine_back(self, z: float) -> float:
        """Depth y of the tips of the spinous processes around a height."""
        near = self._spinous[np.abs(self._spinous[:, 2] - z) < 22]
        return float(near[:, 1].max()) if len(near) else self.spine(z)[1] + 45

    def at(self, bone: str, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
        """A point beside the front of a vertebral body: ``x`` to the left, ``y`` to the back, ``z`` up, in mm."""
        height = self.level[bone]
        lateral, _, front = self.spine(height)
        return np.array([lateral + x, front + y, height + z])


def _sacral_stations(sacrum: np.ndarray) -> np.ndarray:
    """The sacrum's middle (x, y), height and front y at four heights, ascending, to continue the lumbar spine."""
    heights = np.linspace(sacrum[:, 2].min() + 6, sacrum[:, 2].max() - 12, 4)
    x = (sacrum[:, 0].min() + sacrum[:, 0].max()) / 2
    stations = []
    for z in heights:
        near = sacrum[(np.abs(sacrum[:, 2] - z) < 6) & (np.abs(sacrum[:, 0] - x) < 14)]
        stations.append((x, near[:, 1].mean(), z, np.percentile(near[:, 1], 3)))
    return np.array(stations)


def _femoral_head(points: np.ndarray, middle: float) -> np.ndarray:
    top = points[points[:, 2] > points[:, 2].max() - 60]
    medial = np.argsort(np.abs(top[:, 0] - middle))[: max(len(top) // 4, 1)]
    return np.asarray(top[medial].mean(axis=0))
