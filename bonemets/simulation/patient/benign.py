"""Benign hot spots, the hard negatives: worn joints, fractures old and new.

Frequencies: angle of Louis 63.5 % (PubMed 16424686); medial clavicle 42 % below 30 years and bilateral hot patellae
15 % (10.1097/00003072-198201000-00008); osteoarthritis of the hand rises from 40 to a plateau at 60, at the thumb's
base and the patella more in women (PubMed 10405944). Degenerative uptake is 1.8-2.1 times normal on average (SUVmax
12.6 ± 9.0 against 7.1 ± 2.0, 10.1007/s12149-019-01410-4). The other frequencies and all sizes are chosen by eye.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bonemets.simulation.patient.spots import Anatomy, Spot, describe, lumps
from bonemets.simulation.skeleton.anatomy import BONE_IDS, SIDES


def _per_side(probability: float, kind: str, bone: str, facing: str) -> list[tuple[float, str, str, str]]:
    return [(probability, kind, f"{bone}_{side}", f"{facing}_{side}" if facing else "") for side in SIDES]


_JOINTS: list[tuple[float, str, str, str]] = [
    *_per_side(0.22, "acromioclavicular", "clavicle", "scapula"),
    *_per_side(0.20, "glenohumeral", "humerus", "scapula"),
    *[(0.22, "sternoclavicular", f"clavicle_{side}", "sternum") for side in SIDES],
    *_per_side(0.28, "knee", "femur", "tibia"),
    *_per_side(0.18, "knee", "tibia", "femur"),
    *_per_side(0.14, "patella", "patella", ""),
    *_per_side(0.10, "hip", "femur", "hip"),
    *[(0.08, "sacroiliac", f"hip_{side}", "sacrum") for side in SIDES],
    *_per_side(0.12, "ankle", "talus", "tibia"),
    *_per_side(0.08, "forefoot", "metatarsal_1", "foot_proximal_phalanx_1"),
    *_per_side(0.16, "thumb_base", "metacarpal_1", "trapezium"),
    *_per_side(0.08, "wrist", "radius", "scaphoid"),
    *_per_side(0.05, "elbow", "ulna", "humerus"),
    *[(0.14, "facet_joint", f"L{i}", f"L{i + 1}") for i in range(2, 5)],
    (0.20, "facet_joint", "L5", "sacrum"),
    *[(0.03, "facet_joint", f"T{i}", f"T{i + 1}") for i in range(6, 12)],
    *[(0.07, "cervical_spondylosis", f"C{i}", f"C{i + 1}") for i in range(3, 7)],
    (0.18, "dental", "mandible", ""),
    (0.16, "dental", "skull", ""),
]
"""(probability at 65 years, kind, bone, bone that it faces)."""


def draw_benign(anatomy: Anatomy, patient: dict[str, Any], rng: np.random.Generator) -> list[Spot]:
    """Draw the patient's benign spots.

    Args:
        anatomy: the patient's bones and normal uptake.
        patient: sex and age.
        rng: random generator of this stage.

    Returns:
        The spots, numbered from 1.
    """
    spots: list[Spot] = []
    age = float(np.clip((patient["age_years"] - 25) / 40, 0.2, 1.3))
    wear = float(rng.lognormal(-0.1, 0.45)) * age  # some patients are worn all over

    def add(kind: str, bones: list[str], center: np.ndarray, radius: float, ratio: float, axes: np.ndarray) -> None:
        labels = [BONE_IDS[bone] for bone in bones]
        index, weight = lumps(anatomy, labels, center, radius, rng, axes=axes)
        if not len(index):
            return
        uptake = max(anatomy.mean_uptake(label) for label in labels)
        excess = uptake * (ratio - 1) * weight * anatomy.skeleton.volume[index]
        number = len(spots) + 1
        parameters = {"id": number, "kind": kind, "radius_mm": round(1000 * radius, 2)}
        parameters |= describe(anatomy, labels[0], index, weight, ratio)
        spots.append(Spot(number, index, excess.astype(np.float32), parameters))

    for probability, kind, bone, facing in _JOINTS:
        if rng.uniform() >= min(probability * wear, 0.6):
            continue
        near = anatomy.joint_points(bone, facing) if facing else _free_points(anatomy, bone)
        if len(near):
            center = anatomy.points[rng.choice(near)].astype(np.float64)
            ratio = float(
                1.3 + rng.lognormal(np.log(0.8), 0.6) * (1.6 if kind in ("dental", "thumb_base", "knee") else 1)
            )
            add(
                kind,
                [bone, facing] if facing else [bone],
                center,
                rng.uniform(0.005, 0.012),
                ratio,
                rng.lognormal(0, 0.3, 3),
            )
    if rng.uniform() < 0.55:  # angle of Louis: a band across the sternum
        sternum = anatomy.points[anatomy.skeleton.points_of("sternum")]
        height = np.percentile(sternum[:, 2], 72)
        center = np.array([sternum[:, 0].mean(), sternum[np.abs(sternum[:, 2] - height) < 0.01, 1].mean(), height])
        add("angle_of_louis", ["sternum"], center, 0.010, float(rng.uniform(1.2, 1.9)), np.array([2.5, 2.0, 0.7]))
    if rng.uniform() < 0.10:
        _rib_fractures(anatomy, rng, add)
    if rng.uniform() < 0.05 * age:
        _compression_fracture(anatomy, rng, add)
    if rng.uniform() < 0.05:
        _healed_fracture(anatomy, rng, add)
    return spots


_Add = Callable[[str, list[str], np.ndarray, float, float, np.ndarray], None]


def _free_points(anatomy: Anatomy, bone: str) -> np.ndarray:
    """Where a spot may sit in a bone without a named joint: the tooth-bearing edge of the jaws, else anywhere."""
    part = anatomy.skeleton.points_of(bone)
    x, y, z = anatomy.skeleton.rest[part].T
    keep = np.ones(len(x), bool)
    if bone == "mandible":
        keep = (y < 0.165) & (z > 1.575)
    elif bone == "skull":
        keep = (y < 0.160) & (z < 1.615)
    return np.flatnonzero(keep) + part.start


def _rib_fractures(anatomy: Anatomy, rng: np.random.Generator, add: _Add) -> None:
    """Two to four neighboring ribs broken in one line, as after a fall."""
    side, first = str(rng.choice(SIDES)), int(rng.integers(3, 9))
    sign = -1 if side == "right" else 1
    share = rng.uniform(0.45, 0.97)  # along the curve of the rib, in lateral extent
    front = rng.uniform() < 0.6
    for rib in range(first, first + int(rng.integers(1, 5))):
        name = f"rib_{side}_{rib}"
        points = anatomy.points[anatomy.skeleton.points_of(name)]
        lateral = sign * points[:, 0]
        middle = np.median(points[:, 1])
        half = np.flatnonzero((points[:, 1] < middle) if front else (points[:, 1] >= middle))
        target = lateral.min() + share * np.ptp(lateral)
        center = points[half[np.argmin(np.abs(lateral[half] - target))]].astype(np.float64)
        ratio = float(rng.lognormal(np.log(4.5), 0.4))
        add("rib_fracture", [name], center, float(rng.uniform(0.005, 0.008)), ratio, np.ones(3))


def _compression_fracture(anatomy: Anatomy, rng: np.random.Generator, add: _Add) -> None:
    """A collapsed vertebra: a hot band across the whole body."""
    bone = str(rng.choice(["T7", "T8", "T11", "T12", "L1", "L2", "L3"], p=[0.08, 0.1, 0.14, 0.26, 0.24, 0.1, 0.08]))
    points = anatomy.points[anatomy.skeleton.points_of(bone)]
    center = points.mean(axis=0).astype(np.float64)
    center[1] -= 0.012
    add("compression_fracture", [bone], center, 0.012, float(rng.uniform(2.0, 4.5)), np.array([2.6, 2.4, 0.75]))


def _healed_fracture(anatomy: Anatomy, rng: np.random.Generator, add: _Add) -> None:
    """An old fracture of a limb bone: mildly raised uptake over some length."""
    bone = f"{rng.choice(['radius', 'clavicle', 'humerus', 'tibia', 'fibula', 'femur'])}_{rng.choice(SIDES)}"
    points = anatomy.points[anatomy.skeleton.points_of(bone)]
    center = points[rng.integers(len(points))].astype(np.float64)
    ratio = float(rng.uniform(1.6, 3.2))
    add("healed_fracture", [bone], center, 0.014, ratio, np.array([1.5, 1.5, float(rng.uniform(1.0, 2.2))]))
