"""What the simulator knows of its patients' bones, for making and measuring the atlas of bone names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bonemets.anatomy.regions import REGIONS, SIDES
from bonemets.simulation.patient.spots import Spot
from bonemets.simulation.patient.subject import Subject
from bonemets.simulation.skeleton.anatomy import BONES, MIDPLANE_X
from bonemets.simulation.skeleton.anatomy import REGIONS as BONE_REGIONS
from bonemets.simulation.skeleton.skeleton import Skeleton

NONE = len(REGIONS)
"""Number of what has no name: costal cartilage."""

_NUMBER = {(region.name, region.side): number for number, region in enumerate(REGIONS)}
_WHOLE = {
    "cervical_spine": "cervical spine",
    "lumbar_spine": "lumbar spine",
    "sacrum": "sacrum",
    "clavicles": "clavicle",
    "scapulae": "scapula",
    "forearms": "forearm",
    "hands": "hand",
    "lower_legs": "lower leg",
    "feet": "foot",
}
"""Regions of the simulator that are one region here."""
_SKULL_BASE_Z, _MANUBRIUM_Z, _HIP_JOINT_Z = 1.645, 1.43, 0.94
"""Heights in the model's rest pose (meters): brow and skull base, angle of the sternum, roof of the hip socket."""
_HUMERUS_HEAD, _FEMUR_HEAD, _KNEE = 0.25, 0.22, 0.82
"""Parts of a long bone's length, from its upper end: to below the surgical neck, to below the lesser trochanter, and
from where the femur widens."""


def point_regions(skeleton: Skeleton) -> NDArray[np.uint8]:
    """Number of the region (index into `REGIONS`) of each of the skeleton's points; `NONE` for costal cartilage."""
    numbers = np.full(len(skeleton.bone), NONE, np.uint8)
    for label, bone in BONES.items():
        part = skeleton.points_of(label)
        numbers[part] = _regions_of(bone, skeleton.rest[part, 2])
    return numbers


def _regions_of(bone: str, z: NDArray[np.floating]) -> NDArray[np.intp] | int:
    """Regions of a bone's points, from their height in the rest pose."""
    region = BONE_REGIONS[bone]
    side = next((side for side in SIDES if side in bone), "")
    from_top = (z.max() - z) / np.ptp(z)
    if region in _WHOLE and not bone.startswith("patella"):
        return _NUMBER[_WHOLE[region], side]
    if bone == "skull":
        return np.where(z > _SKULL_BASE_Z, _NUMBER["skull vault", ""], _NUMBER["face or skull base", ""])
    if region == "thoracic_spine":
        return _NUMBER["thoracic spine T1-T6" if int(bone[1:]) <= 6 else "thoracic spine T7-T12", ""]
    if region == "ribs":
        number = int(bone.rsplit("_", 1)[1])
        return _NUMBER["rib 1-4" if number <= 4 else "rib 5-8" if number <= 8 else "rib 9-12", side]
    if region == "sternum":
        return np.where(z > _MANUBRIUM_Z, _NUMBER["manubrium", ""], _NUMBER["body of sternum", ""])
    if region == "pelvis":
        return np.where(z > _HIP_JOINT_Z, _NUMBER["ilium", side], _NUMBER["ischium or pubis", side])
    if region == "humeri":
        return np.where(from_top < _HUMERUS_HEAD, _NUMBER["proximal humerus", side], _NUMBER["humeral shaft", side])
    if region == "femora":
        shaft = np.where(from_top > _KNEE, _NUMBER["distal femur", side], _NUMBER["femoral shaft", side])
        return np.where(from_top < _FEMUR_HEAD, _NUMBER["proximal femur", side], shaft)
    if region == "costal_cartilage":
        return NONE
    return _NUMBER[bone.split("_")[0], side]  # mandible, patella


def region_of_spot(spot: Spot, regions: NDArray[np.uint8]) -> int:
    """The region that holds most of what a lesion adds (or takes)."""
    return int(np.bincount(regions[spot.index], np.abs(spot.excess), NONE + 1).argmax())


@dataclass(frozen=True)
class Places:
    """Rows and columns of a patient's points in the anterior view, in mm from its upper middle."""

    skeleton: Skeleton
    row: NDArray[np.floating]
    column: NDArray[np.floating]

    @classmethod
    def of(cls, subject: Subject) -> Places:
        """Project a patient."""
        row = 1000 * (subject.body.top - subject.points[:, 2])
        return cls(subject.skeleton, row, 1000 * subject.points[:, 0])

    def center(self, *bones: str) -> tuple[float, float]:
        """Mean row and column of some bones, each bone counting once."""
        parts = [self.skeleton.points_of(bone) for bone in bones]
        return (
            float(np.mean([self.row[part].mean() for part in parts])),
            float(np.mean([self.column[part].mean() for part in parts])),
        )

    def lowest(self, *bones: str) -> float:
        """The row that any of some bones reaches down to."""
        return max(float(self.row[self.skeleton.points_of(bone)].max()) for bone in bones)

    def half_width(self, right: str, left: str) -> float:
        """Half the distance between the outer edges of two bones (or of one, given twice)."""
        edges = [self.column[self.skeleton.points_of(bone)] for bone in (left, right)]
        return float(edges[0].max() - edges[1].min()) / 2

    def head(self, bone: str) -> tuple[float, float]:
        """Mean row and column of the upper 3 cm of a femur or humerus; of a femur, the half that faces the middle."""
        part = self.skeleton.points_of(bone)
        rest = self.skeleton.rest[part]
        top = np.flatnonzero(rest[:, 2] > rest[:, 2].max() - 0.03)
        if bone.startswith("femur"):
            lateral = np.abs(rest[top, 0] - MIDPLANE_X)
            top = top[lateral <= np.median(lateral)]
        return float(self.row[part][top].mean()), float(self.column[part][top].mean())


def landmarks(places: Places) -> NDArray[np.floating]:
    """The knots of one patient: row, middle and half width in mm, from the top of the head to the toes, (10, 3)."""
    skull = places.half_width("skull", "skull")
    top = float(places.row[places.skeleton.points_of("skull")].min())
    toes = {side: [f"foot_distal_phalanx_{ray}_{side}" for ray in range(1, 6)] for side in SIDES}
    knots = [(top, places.center("skull")[1], skull), (*places.center("C5"), skull)]
    shoulders = [places.head(f"humerus_{side}") for side in SIDES]
    knots.append((_mean(shoulders, 0), places.center("T1", "T2")[1], _half(shoulders)))
    knots.append((*places.center("T7"), places.half_width("rib_right_7", "rib_left_7")))
    knots.append((*places.center("L1"), places.half_width("rib_right_10", "rib_left_10")))
    knots.append((*places.center("L5"), places.half_width("hip_right", "hip_left")))
    hips = [places.head(f"femur_{side}") for side in SIDES]
    knots.append((_mean(hips, 0), _mean(hips, 1), _half(hips)))
    knees = [(places.lowest(f"femur_{side}"), places.center(f"patella_{side}")[1]) for side in SIDES]
    knots.append((_mean(knees, 0), _mean(knees, 1), _half(knees)))
    ankles = [places.center(f"talus_{side}") for side in SIDES]
    knots.append((_mean(ankles, 0), _mean(ankles, 1), _half(ankles)))
    feet = [(places.lowest(*toes[side]), places.center(*toes[side])[1]) for side in SIDES]
    knots.append((max(row for row, _ in feet), _mean(feet, 1), _half(feet)))
    return np.array(knots)


def _mean(pair: list[tuple[float, float]], part: int) -> float:
    return (pair[0][part] + pair[1][part]) / 2


def _half(pair: list[tuple[float, float]]) -> float:
    return abs(pair[0][1] - pair[1][1]) / 2
