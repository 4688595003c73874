"""Forward kinematics of the skeleton: where every bone is, given the joint angles.

The tree of bodies and joints is read once from the MuJoCo model and kept in the skeleton's cache, so that a simulation
needs neither MuJoCo nor the 70 MB model at run time. Equations: MuJoCo documentation, "Computation", section
"Kinematic tree"; joint couplings: "XML reference", ``equality/joint`` (a quartic polynomial of the driving joint).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

HINGE, SLIDE = 3, 2
"""Joint types as MuJoCo numbers them (mjJNT_HINGE, mjJNT_SLIDE)."""

_ARRAYS = (
    "body_parent",
    "body_position",
    "body_rotation",
    "joint_body",
    "joint_type",
    "joint_axis",
    "joint_anchor",
    "joint_rest",
    "coupling_joints",
    "coupling_polynomials",
)


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotation matrix (3, 3) about a unit ``axis`` by ``angle`` radians (Rodrigues' formula)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * product(cross, cross)


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Product of two 3x3 matrices without BLAS, whose result may differ in the last bit between machines."""
    return np.asarray((a[:, :, None] * b[None, :, :]).sum(axis=1))


def turned(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A vector (3,) multiplied by a matrix (3, 3), without BLAS."""
    return np.asarray((matrix * vector[None, :]).sum(axis=1))


@dataclass(frozen=True)
class KinematicTree:
    """Bodies and joints, parents before children (meters, radians).

    Attributes:
        joint_names: names of the joints, in the order of the joint arrays.
        body_parent: (B,) index of the parent; body 0 is the world.
        body_position: (B, 3) and ``body_rotation`` (B, 3, 3): pose in the parent's frame.
        joint_body: (J,) body that the joint moves; several joints of one body act in their order.
        joint_type: (J,) HINGE or SLIDE.
        joint_axis: (J, 3) in the body's frame; ``joint_anchor`` (J, 3) likewise; ``joint_rest`` (J,) reference value.
        coupling_joints: (K, 2) driven joint and driving joint (-1: none).
        coupling_polynomials: (K, 5) coefficients, constant first.
    """

    joint_names: tuple[str, ...]
    body_parent: np.ndarray
    body_position: np.ndarray
    body_rotation: np.ndarray
    joint_body: np.ndarray
    joint_type: np.ndarray
    joint_axis: np.ndarray
    joint_anchor: np.ndarray
    joint_rest: np.ndarray
    coupling_joints: np.ndarray
    coupling_polynomials: np.ndarray

    @classmethod
    def from_mujoco(cls, model: Any) -> KinematicTree:
        """Read the tree from a ``mujoco.MjModel``."""
        import mujoco

        kinds = {int(mujoco.mjtJoint.mjJNT_HINGE): HINGE, int(mujoco.mjtJoint.mjJNT_SLIDE): SLIDE}
        joints = [j for j in range(model.njnt) if int(model.jnt_type[j]) in kinds]
        index = {j: i for i, j in enumerate(joints)}
        couplings = [e for e in range(model.neq) if model.eq_type[e] == mujoco.mjtEq.mjEQ_JOINT]
        rotations = np.zeros((model.nbody, 9))
        for body in range(model.nbody):
            mujoco.mju_quat2Mat(rotations[body], model.body_quat[body])
        return cls(
            joint_names=tuple(mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_JOINT, j) for j in joints),
            body_parent=model.body_parentid.copy(),
            body_position=model.body_pos.copy(),
            body_rotation=rotations.reshape(-1, 3, 3),
            joint_body=model.jnt_bodyid[joints],
            joint_type=np.array([kinds[int(model.jnt_type[j])] for j in joints]),
            joint_axis=model.jnt_axis[joints],
            joint_anchor=model.jnt_pos[joints],
            joint_rest=np.array([model.qpos0[model.jnt_qposadr[j]] for j in joints]),
            coupling_joints=np.array(
                [(index[model.eq_obj1id[e]], index.get(model.eq_obj2id[e], -1)) for e in couplings]
            ).reshape(-1, 2),
            coupling_polynomials=model.eq_data[couplings, :5],
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for the cache."""
        return {"joint_names": np.array(self.joint_names), **{name: getattr(self, name) for name in _ARRAYS}}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> KinematicTree:
        """Inverse of :meth:`arrays`."""
        names = tuple(str(name) for name in arrays["joint_names"])
        return cls(joint_names=names, **{name: arrays[name] for name in _ARRAYS})

    def joint_values(self, angles: Mapping[str, float]) -> np.ndarray:
        """All joint values: those given, the couplings that follow from them, and rest for the others.

        Raises:
            ValueError: if ``angles`` names a joint that the skeleton does not have.
        """
        values = self.joint_rest.copy()
        for name, angle in angles.items():
            if name not in self.joint_names:
                raise ValueError(f"angles must name joints of the skeleton, got {name!r}")
            values[self.joint_names.index(name)] = angle
        for (driven, driver), c in zip(self.coupling_joints, self.coupling_polynomials, strict=True):
            x = 0.0 if driver < 0 else values[driver] - self.joint_rest[driver]
            values[driven] = self.joint_rest[driven] + c[0] + x * (c[1] + x * (c[2] + x * (c[3] + x * c[4])))
        return values

    def poses(self, angles: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (B, 3, 3) and position (B, 3) of every body in the world for the given joint angles."""
        values = self.joint_values(angles)
        rotations, positions = np.zeros((len(self.body_parent), 3, 3)), np.zeros((len(self.body_parent), 3))
        rotations[0] = np.eye(3)
        joints: dict[int, list[int]] = {}
        for joint, body in enumerate(self.joint_body):
            joints.setdefault(int(body), []).append(joint)
        for body in range(1, len(self.body_parent)):
            parent = self.body_parent[body]
            position = positions[parent] + turned(rotations[parent], self.body_position[body])
            turn = product(rotations[parent], self.body_rotation[body])
            for j in joints.get(body, []):
                move = values[j] - self.joint_rest[j]
                if self.joint_type[j] == SLIDE:
                    position = position + turned(turn, self.joint_axis[j]) * move
                else:
                    anchor = position + turned(turn, self.joint_anchor[j])
                    turn = product(turn, rotation(self.joint_axis[j], move))
                    position = anchor - turned(turn, self.joint_anchor[j])
            rotations[body], positions[body] = turn, position
        return rotations, positions
