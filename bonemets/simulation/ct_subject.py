"""The body that the patient's bone scan was made of, for cutting it into CT slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bonemets.simulation.benign import draw_benign
from bonemets.simulation.body import Body, build_body
from bonemets.simulation.lesions import draw_lesions, draw_status, raise_axial_uptake
from bonemets.simulation.patient import draw_patient, generators
from bonemets.simulation.pose import Pose, draw_pose
from bonemets.simulation.skeleton import Skeleton
from bonemets.simulation.spots import Anatomy, Spot
from bonemets.simulation.uptake import draw_uptake


@dataclass(frozen=True, eq=False)
class Subject:
    """A posed body with its lesions; the same as in the bone scan of the same seed and patient.

    Attributes:
        seed, number: what it was drawn from.
        skeleton: the bones.
        person: sex, age, height, weight.
        pose: where the bones are.
        points: (P, 3) float32, the skeleton's points in mm (x to the left, y to the back, z to the head).
        body: the soft-tissue outline (meters).
        lesions: metastases; ``benign``: benign spots.
    """

    seed: int
    number: int
    skeleton: Skeleton
    person: dict[str, Any]
    pose: Pose
    points: np.ndarray
    body: Body
    lesions: list[Spot]
    benign: list[Spot]

    def points_of(self, *bones: str) -> np.ndarray:
        """Posed points (n, 3) in mm of the named bones."""
        return np.concatenate([self.points[self.skeleton.points_of(bone)] for bone in bones])

    def center(self, *bones: str) -> np.ndarray:
        """Mean position in mm of the named bones' points."""
        return np.asarray(np.mean([self.points_of(bone).mean(axis=0, dtype=np.float64) for bone in bones], axis=0))

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator for the CT's own draws, apart from all that the scan uses."""
        return np.random.default_rng([self.seed, self.number, 1000 + purpose])


def draw_subject(skeleton: Skeleton, seed: int, patient: int) -> Subject:
    """Draw the body and the lesions of a patient, as :func:`bonemets.simulation.simulate_study` does.

    Args:
        skeleton: the bones.
        seed: seed of the cohort, at least 0.
        patient: number of the patient, from 1.

    Returns:
        The subject.

    Raises:
        ValueError: if ``seed`` or ``patient`` is out of range.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if patient < 1:
        raise ValueError(f"patient must be at least 1, got {patient}")
    rng = generators(seed, patient)
    person = draw_patient(rng["patient"])
    status = draw_status(rng["lesions"])
    pose = draw_pose(skeleton, person, rng["pose"])
    points = pose.apply(skeleton.position, skeleton.bone)
    body = build_body(skeleton, pose, points, person, rng["body"])
    concentration, _ = draw_uptake(skeleton, person, rng["uptake"])
    anatomy = Anatomy(skeleton, points, concentration)
    if status["superscan"]:
        anatomy = Anatomy(skeleton, points, raise_axial_uptake(anatomy, rng["lesions"]))
    lesions = draw_lesions(anatomy, status, rng["lesions"])
    benign = draw_benign(anatomy, person, rng["benign"])
    return Subject(seed, patient, skeleton, person, pose, points * np.float32(1000), body, lesions, benign)
