"""Who lies on the table: posed bones, body, uptake, metastases and benign spots, the same for bone scan and CT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bonemets.simulation.patient.benign import draw_benign
from bonemets.simulation.patient.body import Body, build_body
from bonemets.simulation.patient.lesions import draw_lesions, draw_status, raise_axial_uptake
from bonemets.simulation.patient.patient import draw_patient, generators
from bonemets.simulation.patient.spots import Anatomy, Spot
from bonemets.simulation.patient.uptake import draw_uptake
from bonemets.simulation.patient.uptake_parts import vary_parts
from bonemets.simulation.patient.warp import warp_skeleton
from bonemets.simulation.patient.world import NEMA, World
from bonemets.simulation.skeleton.pose import Pose, draw_pose
from bonemets.simulation.skeleton.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Subject:
    """A posed body with its uptake and lesions.

    Attributes:
        seed, number: what it was drawn from.
        rng: the random generator of each stage, as far as this part of the simulation has used it.
        skeleton: the bones.
        person: sex, age, height, weight.
        status: number of lesions and whether it is a superscan.
        pose: where the bones are.
        points: (P, 3) float32, the skeleton's points in meters (x to the left, y to the back, z to the head).
        body: the soft-tissue outline.
        anatomy: points with their concentration, raised all over in a superscan.
        normal_concentration: (P,) the concentration without that.
        uptake: the parameters that were drawn for it.
        lesions: metastases; ``benign``: benign spots.
    """

    seed: int
    number: int
    rng: dict[str, np.random.Generator]
    skeleton: Skeleton
    person: dict[str, Any]
    status: dict[str, Any]
    pose: Pose
    points: np.ndarray
    body: Body
    anatomy: Anatomy
    normal_concentration: np.ndarray
    uptake: dict[str, Any]
    lesions: list[Spot]
    benign: list[Spot]


def draw_subject(skeleton: Skeleton, seed: int, patient: int, world: World = NEMA) -> Subject:
    """Draw one patient.

    Args:
        skeleton: what :func:`bonemets.simulation.load_skeleton` returned.
        seed: seed of the cohort, at least 0.
        patient: number of the patient in the cohort, from 1.
        world: what patients are drawn from.

    Raises:
        ValueError: if ``seed`` or ``patient`` is out of range.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    if patient < 1:
        raise ValueError(f"patient must be at least 1, got {patient}")
    rng = generators(seed, patient)
    person = draw_patient(rng["patient"], world)
    status = draw_status(rng["lesions"])
    pose = draw_pose(skeleton, person, rng["pose"], world, rng["world"])
    points = pose.apply(skeleton.position, skeleton.bone)
    body = build_body(skeleton, pose, points, person, rng["body"], _top_margin(world, rng["world"]))
    if world.warp_mm:
        points, pose.parameters["warp"] = warp_skeleton(skeleton, points, world.warp_mm, rng["world"])
    concentration, uptake = draw_uptake(skeleton, person, rng["uptake"], world)
    if world.parts or world.parts_sigma:
        uptake["parts"] = vary_parts(skeleton, concentration, world, rng["world"])
    anatomy = Anatomy(skeleton, points, concentration)
    if status["superscan"]:
        anatomy = Anatomy(skeleton, points, raise_axial_uptake(anatomy, rng["lesions"]))
    lesions = draw_lesions(anatomy, status, rng["lesions"])
    benign = draw_benign(anatomy, person, rng["benign"])
    return Subject(
        seed,
        patient,
        rng,
        skeleton,
        person,
        status,
        pose,
        points,
        body,
        anatomy,
        concentration,
        uptake,
        lesions,
        benign,
    )


def _top_margin(world: World, rng: np.random.Generator) -> float | None:
    """Distance from the vertex to the first row in meters; None: as the body's stage draws it."""
    if world.top_margin_m is None:
        return None
    return float(np.clip(rng.lognormal(np.log(world.top_margin_m), 0.55), 0.015, 0.20))
