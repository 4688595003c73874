"""How the patient lies: size and proportions, posture, curvature of the spine, rotation on the table.

Every bone stays rigid up to an affine map, so a pose is one 3x4 matrix per bone and moving the skeleton costs one
multiplication per point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bonemets.simulation.patient.world import NEMA, World
from bonemets.simulation.skeleton.anatomy import BONE_IDS, BONES, MIDPLANE_X, REGIONS
from bonemets.simulation.skeleton.kinematics import product, rotation, turned
from bonemets.simulation.skeleton.pose_draws import draw_curvature, draw_joint_angles, draw_proportions, vary_posture
from bonemets.simulation.skeleton.skeleton import Skeleton

_HIP_Z, _SHOULDER_Z, _NECK_Z = 0.925, 1.475, 1.505
"""Heights of the hip joints, the shoulder joints and the top of T1 in the rest pose (meters)."""
_HIP_X, _SHOULDER_X = 0.084, 0.165
"""Distances of the hip and shoulder joints from the mid-plane in the rest pose (meters)."""
_SPINE_Y, _HEAD_Y = 0.235, 0.222
"""Depth of the thoracic spine and of the joint between neck and head in the rest pose (meters)."""

_GIRDLE = {"clavicles", "scapulae"}
_ARM = {"humeri", "forearms", "hands"}
_LEG = {"femora", "lower_legs", "feet"}


Affine = tuple[np.ndarray, np.ndarray]
"""Matrix (3, 3) and offset (3,)."""


@dataclass(frozen=True)
class Pose:
    """One affine map per bone.

    Attributes:
        matrix: (N + 1, 3, 3) and ``offset`` (N + 1, 3): from the frame of the bone's body to the patient's coordinates
            (meters; x to the patient's left with 0 on the image's middle column, y to the back, z to the head).
        parameters: everything that was drawn.
    """

    matrix: np.ndarray
    offset: np.ndarray
    parameters: dict[str, Any]

    def apply(self, points: np.ndarray, bones: np.ndarray) -> np.ndarray:
        """Move points (P, 3), sorted by their ``bones`` (P,); explicit sums, so no BLAS decides the last bit."""
        moved = np.empty_like(points, dtype=np.float32)
        edges = np.searchsorted(bones, np.arange(len(self.matrix) + 1))
        for label in range(1, len(self.matrix)):
            part = points[edges[label] : edges[label + 1]]
            m, t = self.matrix[label].astype(np.float32), self.offset[label].astype(np.float32)
            for axis in range(3):
                moved[edges[label] : edges[label + 1], axis] = (
                    part[:, 0] * m[axis, 0] + part[:, 1] * m[axis, 1] + part[:, 2] * m[axis, 2] + t[axis]
                )
        return moved


def draw_pose(
    skeleton: Skeleton,
    patient: dict[str, Any],
    rng: np.random.Generator,
    world: World = NEMA,
    extra: np.random.Generator | None = None,
) -> Pose:
    """Draw one patient's proportions and posture.

    Ranges are chosen by eye against the NEMA NM1 scan unless a source is named at the constant.

    Args:
        skeleton: the bones.
        patient: what `bonemets.simulation.patient.patient.draw_patient` returns (sex, age_years, height_m, bmi).
        rng: random generator of this stage.
        world: lengths of head and neck, and how often the posture is unusual.
        extra: random generator of what worlds add.

    Returns:
        The pose and its parameters.
    """
    angles = draw_joint_angles(patient, rng)
    if extra is not None and extra.uniform() < world.posture:
        vary_posture(angles, extra)
    size = draw_proportions(patient, rng)
    size |= {"neck": world.neck, "head": size["head"] * world.head}
    curve = draw_curvature(patient, rng)
    rotations, positions = skeleton.tree.poses(angles)
    matrix = rotations[skeleton.bone_body].copy()
    offset = positions[skeleton.bone_body].copy()
    thickness = {side: float(rng.normal(1.0, 0.03)) for side in ("right", "left")}
    shoulder_lift = {side: float(rng.normal(0.0, 0.006)) for side in ("right", "left")}
    neck = {
        "turn": float(rng.normal(0, np.radians(5))),
        "tilt": float(rng.normal(0, np.radians(2.5))),
        "nod": float(rng.normal(np.radians(2), np.radians(4))),
    }
    table = {"roll": float(rng.normal(0, np.radians(2.5))), "tilt": float(rng.normal(0, np.radians(0.8)))}
    pelvic_tilt = float(rng.normal(0, np.radians(1.0)))
    shift = float(rng.normal(0, 0.006))
    middle = np.array([MIDPLANE_X, _SPINE_Y, 0.0])
    turn_table = product(rotation(np.array([0.0, 0, 1]), table["roll"]), rotation(np.array([0.0, 1, 0]), table["tilt"]))
    for label, bone in BONES.items():
        region, side = REGIONS[bone], -1 if "_right" in bone else 1
        steps = [*_resize(bone, region, side, size, thickness), _shear(bone, skeleton, size, curve)]
        if region in _GIRDLE | _ARM:
            steps.append(_lift(region, side, shoulder_lift["right" if side < 0 else "left"], size))
        if region in ("skull", "cervical_spine"):
            steps.append(_turn_neck(bone, neck, size, curve))
        if region in {"pelvis", "sacrum"} | _LEG:
            pivot = np.array([0.0, 0.0, size["leg"] * _HIP_Z])
            steps.append(_about(rotation(np.array([0.0, 1, 0]), pelvic_tilt), pivot))
        steps.append(_about(turn_table, np.array([0.0, 0.0, size["leg"] * _HIP_Z])))
        offset[label] -= middle
        for m, t in steps:
            matrix[label], offset[label] = product(m, matrix[label]), turned(m, offset[label]) + t
        offset[label, 0] += shift
    parameters = {
        "joint_angles_rad": angles,
        "scale": size,
        "spine_curve_mm": {name: 1000 * value for name, value in curve.items()},
        "bone_thickness": thickness,
        "shoulder_lift_mm": {side: 1000 * value for side, value in shoulder_lift.items()},
        "neck_rad": neck,
        "table_rad": table,
        "pelvic_tilt_rad": pelvic_tilt,
        "lateral_shift_mm": 1000 * shift,
    }
    return Pose(matrix, offset, parameters)


def _resize(bone: str, region: str, side: int, size: dict[str, float], thickness: dict[str, float]) -> list[Affine]:
    """Scale a bone about the joint that it hangs on, in coordinates with the mid-plane and the thoracic spine at 0."""
    hip, top = size["leg"] * _HIP_Z, size["leg"] * _HIP_Z + size["trunk"] * (_NECK_Z - _HIP_Z)
    build = (size["chest_width"] + size["pelvis_width"]) / 2
    zero = np.zeros(3)

    def scaled(x: float, y: float, z: float, anchor: np.ndarray, target: np.ndarray) -> Affine:
        matrix = np.diag([x, y, z])
        return matrix, target - turned(matrix, anchor)

    if region == "skull":
        joint = np.array([0.0, _HEAD_Y - _SPINE_Y, 1.60])
        target = np.array([0.0, joint[1], top + (1.60 - _NECK_Z) * size["neck"] * (size["head"] + size["trunk"]) / 2])
        tall = 1.06 * size["head"]  # the model measures 195 mm from vertex to chin, men about 230 mm with soft tissue
        return [scaled(size["head_width"], size["head_depth"], tall, joint, target)]
    if region == "cervical_spine":
        z = size["neck"] * (size["head"] + size["trunk"]) / 2
        return [scaled(size["spine_width"], size["spine_width"], z, np.array([0, 0, _NECK_Z]), np.array([0, 0, top]))]
    if region in _LEG:
        anchor = np.array([side * _HIP_X, 0.0, 0.0])
        target = np.array([side * _HIP_X * size["pelvis_width"], 0.0, 0.0])
        width = size["limb"] * thickness["right" if side < 0 else "left"]
        return [scaled(size["limb"] if region == "feet" else width, size["limb"], size["leg"], anchor, target)]
    if region in _ARM:
        anchor = np.array([side * _SHOULDER_X, 0.0, _SHOULDER_Z])
        target = np.array(
            [side * _SHOULDER_X * size["shoulder_width"], 0.0, hip + size["trunk"] * (_SHOULDER_Z - _HIP_Z)]
        )
        return [scaled(size["limb"], size["limb"], size["arm"], anchor, target)]
    if region in ("pelvis", "sacrum"):
        scale = (size["pelvis_width"], build, (size["trunk"] + size["leg"]) / 2)
    elif region in _GIRDLE:
        scale = (size["shoulder_width"], build, size["trunk"])
    elif bone[0] in "TL" and bone[1:].isdigit():
        stretch = 1.15 if bone[0] == "L" else 1.0  # the model's lumbar discs are wider than real ones
        center = np.array([0.0, 0.0, _VERTEBRA_Z.get(bone, 0.0)])
        target = np.array([0.0, 0.0, hip + size["trunk"] * (center[2] - _HIP_Z)])
        return [scaled(size["spine_width"], size["spine_width"], size["trunk"] * stretch, center, target)]
    else:
        scale = (size["chest_width"], size["chest_depth"], size["trunk"])
    return [scaled(*scale, np.array([0.0, 0.0, _HIP_Z]), zero + np.array([0.0, 0.0, hip]))]


_VERTEBRA_Z = {"L1": 1.212, "L2": 1.182, "L3": 1.154, "L4": 1.1195, "L5": 1.0815}
"""Heights of the lumbar vertebrae's centers, about which they are stretched (thoracic ones are not)."""


def _curve_at(z: float, size: dict[str, float], curve: dict[str, float]) -> Affine:
    """Displacement of the spine (x, y, 0) at height ``z`` and its slope."""
    low = size["leg"] * 0.99
    high = size["leg"] * _HIP_Z + size["trunk"] * (1.51 - _HIP_Z)
    t = (z - low) / (high - low)
    inside = 0.0 < t < 1.0
    u, slope = float(np.clip(t, 0, 1)), 1 / (high - low)
    # two bows that begin and end upright, and a lean that grows evenly
    thoracic, lumbar = max(0.0, (u - 0.35) / 0.65), min(1.0, u / 0.6)
    dx = curve["thoracic"] * np.sin(np.pi * thoracic) ** 2 + curve["lumbar"] * np.sin(np.pi * lumbar) ** 2
    dx += curve["lean"] * u
    gx = curve["lean"]
    if u > 0.35:
        gx += curve["thoracic"] * np.sin(2 * np.pi * thoracic) * np.pi / 0.65
    if u < 0.6:
        gx += curve["lumbar"] * np.sin(2 * np.pi * lumbar) * np.pi / 0.6
    dy = curve["kyphosis"] * np.sin(np.pi * thoracic) ** 2
    gy = curve["kyphosis"] * np.sin(2 * np.pi * thoracic) * np.pi / 0.65 if u > 0.35 else 0.0
    return np.array([dx, dy, 0.0]), np.array([gx, gy, 0.0]) * slope * inside


def _shear(bone: str, skeleton: Skeleton, size: dict[str, float], curve: dict[str, float]) -> Affine:
    """Follow the curved spine: the bone is moved with, and tilted like, the vertebra that it hangs on."""
    region = REGIONS[bone]
    if region in _LEG or region in ("pelvis", "sacrum"):
        return np.eye(3), np.zeros(3)
    anchor = bone
    if region == "ribs":
        anchor = "T" + bone.rsplit("_", 1)[1]
    elif region in _GIRDLE | _ARM or region in ("sternum", "costal_cartilage"):
        anchor = "T5"
    height = skeleton.centers[BONE_IDS[anchor]][2]
    z = size["leg"] * _HIP_Z + size["trunk"] * (height - _HIP_Z)
    move, slope = _curve_at(z, size, curve)
    if region in _ARM:
        slope = np.zeros(3)
    matrix = np.eye(3)
    matrix[:, 2] += slope
    return matrix, move - slope * z


def _lift(region: str, side: int, lift: float, size: dict[str, float]) -> Affine:
    """Raise one shoulder: the clavicle turns about its medial end, scapula and arm follow."""
    if region != "clavicles":
        return np.eye(3), np.array([0.0, 0.0, lift])
    matrix = np.eye(3)
    matrix[2, 0] = side * lift / (_SHOULDER_X * size["shoulder_width"])
    return matrix, np.zeros(3)


def _turn_neck(bone: str, neck: dict[str, float], size: dict[str, float], curve: dict[str, float]) -> Affine:
    """Turn, tilt and nod the head; the cervical vertebrae share the movement from C7 (one eighth) to C1 (all)."""
    share = 1.0 if REGIONS[bone] == "skull" else (8 - int(bone[1])) / 8
    base = size["leg"] * _HIP_Z + size["trunk"] * (_NECK_Z - _HIP_Z)
    move, _ = _curve_at(base + 1.0, size, curve)
    turn = rotation(np.array([0.0, 0, 1]), share * neck["turn"])
    turn = product(rotation(np.array([0.0, 1, 0]), share * neck["tilt"]), turn)
    turn = product(rotation(np.array([1.0, 0, 0]), share * neck["nod"]), turn)
    return _about(turn, move + np.array([0.0, _HEAD_Y - _SPINE_Y, base]))


def _about(matrix: np.ndarray, pivot: np.ndarray) -> Affine:
    return matrix, pivot - turned(matrix, pivot)
