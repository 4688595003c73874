"""One simulated patient: from the seed to counts, masks and parameters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import ndimage

from bonemets.simulation.bone_scan.camera import Scene, acquire, detect, draw_acquisition, project_view
from bonemets.simulation.bone_scan.truth import bone_map, outline_diffuse, outline_spots
from bonemets.simulation.patient.grid import pixel_of
from bonemets.simulation.patient.organs import draw_organs, draw_soft_tissue
from bonemets.simulation.patient.spots import Spot
from bonemets.simulation.patient.subject import draw_subject
from bonemets.simulation.patient.world import NEMA, World
from bonemets.simulation.skeleton.skeleton import Skeleton

SIMULATION_VERSION = "1"
"""Raised whenever the same seed gives another patient than before."""

VIEWS = ("anterior", "posterior")


@dataclass
class SimulatedStudy:
    """A whole-body bone scan with its truth.

    All arrays are (1024, 256, 2): rows from head to feet, views anterior and posterior as the camera displays them (the
    patient's right on the left of the anterior and on the right of the posterior view).

    Attributes:
        counts: uint16.
        expected: float32, noise-free counts.
        lesions: uint16, numbers of the lesions that are visible in that view.
        hidden: uint16, numbers of the lesions that nobody could see in that view, or only suspect; in a superscan also
            ``parameters["status"]["diffuse_label"]`` where the skeleton is raised all over.
        bones: uint8, the bone (:data:`bonemets.simulation.BONES`) that contributes most in that pixel, 0 for none.
        benign: uint16, numbers of the benign hot spots that are visible in that view.
        parameters: everything that was drawn; can be written as JSON.
    """

    counts: np.ndarray
    expected: np.ndarray
    lesions: np.ndarray
    hidden: np.ndarray
    bones: np.ndarray
    benign: np.ndarray
    parameters: dict[str, Any] = field(default_factory=dict)


def target_label(study: SimulatedStudy) -> np.ndarray:
    """Labels for training and evaluation: 0 background, 1 lesion, 2 ignore (hidden, unless a visible lesion is there).

    Returns:
        (1024, 256, 2) uint8.
    """
    label = np.where(study.hidden > 0, 2, 0)
    return np.where(study.lesions > 0, 1, label).astype(np.uint8)


def simulate_study(skeleton: Skeleton, seed: int, patient: int, world: World = NEMA) -> SimulatedStudy:
    """Simulate one patient. The same arguments give the same bytes, in any process and order.

    Args:
        skeleton: what :func:`bonemets.simulation.load_skeleton` returned.
        seed: seed of the cohort, at least 0.
        patient: index of the patient in the cohort, from 1.
        world: what patients and scans are drawn from.

    Returns:
        The study.

    Raises:
        ValueError: if ``seed`` or ``patient`` is out of range.
    """
    subject = draw_subject(skeleton, seed, patient, world)
    person, status, rng, points, body = subject.person, subject.status, subject.rng, subject.points, subject.body
    anatomy, lesions, benign = subject.anatomy, subject.lesions, subject.benign
    diffuse: Spot | None = None
    if status["superscan"]:
        excess = (anatomy.concentration - subject.normal_concentration) * skeleton.volume
        diffuse = Spot(status["lesions"] + 1, np.flatnonzero(excess > 0), excess[excess > 0])
        status["diffuse_label"] = diffuse.id
    organs, organ_parameters = draw_organs(skeleton, points, person, status["superscan"], rng["organs"], world)
    soft, soft_parameters = draw_soft_tissue(body, skeleton, points, person, status["superscan"], rng["uptake"], world)

    activity = anatomy.concentration * skeleton.volume
    for spot in (*lesions, *benign):
        np.add.at(activity, spot.index, spot.excess)
    organ_points, organ_activity = organs.arrays()
    positions = np.concatenate([points, organ_points])
    scene = Scene(
        positions=positions,
        pixel=pixel_of(positions, body.top),
        activity=np.concatenate([np.maximum(activity, 0), organ_activity]).astype(np.float32),
        bone_volume=np.concatenate([skeleton.volume, np.zeros(len(organ_points), np.float32)]),
        soft=soft,
        body=body,
    )
    acquisition = draw_acquisition(body, rng["acquisition"], world)
    views = (project_view(scene, True, acquisition), project_view(scene, False, acquisition))
    if world.camera_blur:
        front, back = (replace(v, image=ndimage.gaussian_filter(v.image, world.camera_blur)) for v in views)
        views = (front, back)
    expected, scanned, scales = acquire(views, acquisition)
    counts = detect(expected, acquisition, rng["noise"])
    acquisition["counts"] = [float(expected[..., v].sum(dtype=np.float64)) for v in range(2)]

    maps: dict[str, list[np.ndarray]] = {"lesions": [], "hidden": [], "bones": [], "benign": []}
    for v, view in enumerate(views):
        visible, hidden, records = outline_spots(lesions, scene, view, expected[..., v], scanned, scales[v])
        if diffuse is not None:
            raised = outline_diffuse(diffuse, scene, view, expected[..., v], scales[v]) & scanned
            hidden[raised & (hidden == 0) & (visible == 0)] = diffuse.id
        seen, _, benign_records = outline_spots(benign, scene, view, expected[..., v], scanned, scales[v])
        bones = bone_map(skeleton, scene, view, anatomy.concentration)
        for name, image in (("lesions", visible), ("hidden", hidden), ("bones", bones * scanned), ("benign", seen)):
            maps[name].append(image)
        _note(lesions, records, VIEWS[v])
        _note(benign, benign_records, VIEWS[v])
    return SimulatedStudy(
        counts=_displayed(counts[..., 0], counts[..., 1]),
        expected=_displayed(expected[..., 0], expected[..., 1]),
        **{name: _displayed(*images) for name, images in maps.items()},
        parameters={
            "simulation_version": SIMULATION_VERSION,
            "world": world.name,
            "seed": seed,
            "patient_index": patient,
            "patient": person,
            "status": status,
            "pose": subject.pose.parameters,
            "body": body.parameters,
            "uptake": subject.uptake | organ_parameters | soft_parameters,
            "acquisition": acquisition,
            "lesions": [spot.parameters for spot in lesions],
            "benign": [spot.parameters for spot in benign],
        },
    )


def _note(spots: list[Spot], records: list[dict[str, Any]], view: str) -> None:
    for spot, record in zip(spots, records, strict=True):
        spot.parameters[view] = record


def _displayed(anterior: np.ndarray, posterior: np.ndarray) -> np.ndarray:
    """Both views as displayed: the posterior camera sees the patient mirrored."""
    return np.ascontiguousarray(np.stack([anterior, posterior[:, ::-1]], axis=-1))
