"""The body that the patient's bone scan was made of, for cutting it into CT slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bonemets.simulation.patient.body import Body
from bonemets.simulation.patient.spots import Spot
from bonemets.simulation.patient.subject import draw_subject
from bonemets.simulation.skeleton.pose import Pose
from bonemets.simulation.skeleton.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class CTSubject:
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


def ct_subject(skeleton: Skeleton, seed: int, patient: int) -> CTSubject:
    """Draw the body and the lesions of a patient, as :func:`bonemets.simulation.simulate_study` does.

    Args:
        skeleton: the bones.
        seed: seed of the cohort, at least 0.
        patient: number of the patient, from 1.

    Raises:
        ValueError: if ``seed`` or ``patient`` is out of range.
    """
    drawn = draw_subject(skeleton, seed, patient)
    points = drawn.points * np.float32(1000)
    return CTSubject(seed, patient, skeleton, drawn.person, drawn.pose, points, drawn.body, drawn.lesions, drawn.benign)
