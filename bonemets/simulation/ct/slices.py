"""Axial CT slices in Hounsfield units of the patients whose bone scans are simulated.

The same posed skeleton, body outline and lesions as in the scan of the same seed and patient are cut at chosen heights.
What is drawn and how it compares with a real CT: docs/explanation/ct-simulation.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from bonemets.simulation.ct.abdomen import PHASES, draw_abdomen, draw_abdomen_plan
from bonemets.simulation.ct.bones import BoneCutter, trabecular_hu
from bonemets.simulation.ct.chest import abdomen_below_diaphragm, draw_breasts, draw_chest, draw_chest_plan
from bonemets.simulation.ct.frame import ARM_MM, CHEST_WALL, Frame, cavity, outline, section
from bonemets.simulation.ct.head import draw_head_and_neck
from bonemets.simulation.ct.landmarks import Landmarks
from bonemets.simulation.ct.lesions import Deposit, DepositSlice, draw_deposits
from bonemets.simulation.ct.levels import choose_levels
from bonemets.simulation.ct.plane import SIZE, Plane, Waves, grain, paint
from bonemets.simulation.ct.subject import CTSubject, ct_subject
from bonemets.simulation.ct.wall import MuscleBellies, draw_beside_spine, draw_canal, draw_discs, draw_wall, empty_slice
from bonemets.simulation.patient.grid import PIXEL
from bonemets.simulation.patient.organs import draw_organs
from bonemets.simulation.patient.patient import generators
from bonemets.simulation.skeleton.anatomy import bones_of
from bonemets.simulation.skeleton.skeleton import Skeleton

CT_VERSION = "1"
"""Raised whenever the same seed gives other slices than before."""

SLICES, SPACING_MM, THICKNESS_MM = 24, 5.0, 2.5
ARMS_RAISED_SHARE = 0.8
"""Patients lie in a CT with raised arms unless they cannot: then the arms are left out below the shoulders."""


@dataclass
class SimulatedCT:
    """Slices of one patient, sorted from feet to head.

    Arrays are (K, 512, 512) as displayed: rows from anterior to posterior, columns from the patient's right to left.

    Attributes:
        hu: int16 Hounsfield units.
        label: uint8, 1 in a metastasis.
        lesions: uint16, number of the lesion, the same as in the bone scan's maps.
        bones: uint8, the bone (:data:`bonemets.simulation.BONES`), 0 for none.
        origin: (K, 3) position in mm of the first pixel's center: to the left of the bone scan's middle column, to the
            back, and to the head from its first row, so that slices and scan lie in one frame of reference.
        pixel: pixel size in mm; ``thickness`` of a slice in mm.
        parameters: everything that was drawn; can be written as JSON.
    """

    hu: np.ndarray
    label: np.ndarray
    lesions: np.ndarray
    bones: np.ndarray
    origin: np.ndarray
    pixel: float
    thickness: float
    parameters: dict[str, Any] = field(default_factory=dict)


class CTScanner:
    """Everything about one patient that slices share; :meth:`cut` makes one slice.

    Args:
        subject: the patient.
    """

    def __init__(self, subject: CTSubject) -> None:
        self.subject = subject
        self.marks = Landmarks(subject)
        rng = subject.rng(0)
        self.phase = PHASES[int(rng.uniform() < 0.4)]
        self.arms = bool(rng.uniform() >= ARMS_RAISED_SHARE)
        self.trabecular = trabecular_hu(subject.person["age_years"], rng)
        self.muscle = float(rng.normal(47, 4) - 0.12 * max(subject.person["age_years"] - 50, 0) - 2 * self.marks.fat)
        self.bulk = float(np.clip(rng.normal(0.96 if subject.person["sex"] == "F" else 1.05, 0.07), 0.8, 1.25))
        self.noise = float(rng.uniform(10, 15) * (1 + 0.12 * np.clip(self.marks.fat, -1, 3)))
        self.ripple, self.bend = Waves(rng, 90, 260), (Waves(rng, 45, 130), Waves(rng, 45, 130))
        self.bones = BoneCutter(subject, self.trabecular, rng)
        low, high = subject.points.min(axis=0) - 40, subject.points.max(axis=0) + 40
        self.bellies = MuscleBellies(rng, low, high)
        chest = subject.points_of(*CHEST_WALL)
        self.chest = draw_chest_plan(self.marks, chest, subject.person["age_years"], rng)
        width, front = self._belly()
        female = subject.person["sex"] == "F"
        self.abdomen = draw_abdomen_plan(self.marks, width, front, female, _bladder_size(subject), rng)
        self.lesions = draw_deposits(subject, subject.lesions, False, subject.rng(1))
        self.benign = draw_deposits(subject, subject.benign, True, subject.rng(2))
        self.pixel, self.x0, self.y0 = self._field_of_view()

    def _trunk(self) -> Any:
        return next(part for part in self.subject.body.parts if part.name == "trunk")

    def _belly(self) -> tuple[float, float]:
        """Half-width of the abdominal cavity and depth of its front wall's inner side at L3, in mm."""
        place = section(self._trunk(), self.subject.body.top, self.marks.level["L3"])
        if place is None:
            raise ValueError("the body's trunk does not reach L3")
        _, y, a, b = place
        layer = 1000 * self._trunk().fat
        return a - layer - 16, y - b + layer + 10

    def _field_of_view(self) -> tuple[float, float, float]:
        """Pixel size (0.74 to 0.98 mm, as the trunk is wide) and the middle of the slices."""
        trunk = self._trunk()
        parts = [trunk]
        if self.arms:
            parts += [part for part in self.subject.body.parts if part.name.startswith(("upper_arm", "forearm"))]
        # the shoulders may be cut off at the sides, as in a clinical chest CT
        low = [part.rows >= (self.subject.body.top - self.marks.level["T4"] / 1000) / PIXEL for part in parts]
        left = min(float((part.x - part.a)[rows].min()) for part, rows in zip(parts, low, strict=True)) * 1000
        right = max(float((part.x + part.a)[rows].max()) for part, rows in zip(parts, low, strict=True)) * 1000
        pixel = round(float(np.clip((right - left + 30) / SIZE, 0.74, 0.977)), 3)
        middle = (float((trunk.y - trunk.b).min()) + float((trunk.y + trunk.b).max())) * 500
        return pixel, (left + right) / 2, middle + 22

    def levels(self, count: int, spacing: float) -> list[float]:
        """Heights of the slices to cut (see :func:`bonemets.simulation.ct.levels.choose_levels`)."""
        return choose_levels(self.subject, self.lesions, self.marks, count, spacing, THICKNESS_MM, self.hidden)

    def hidden(self, z: float) -> set[str]:
        """Bones that are not in a slice at height ``z`` because the arms are raised."""
        if self.arms:
            return set()
        below = bones_of("humeri") if z < self.marks.shoulder - ARM_MM else []
        return {*bones_of("forearms", "hands"), *below}

    def cut(self, z: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, Plane]:
        """Cut one slice.

        Args:
            z: height of its middle in the patient's coordinates, mm.

        Returns:
            HU (512, 512) int16, lesion numbers uint16, bones uint8, and where the pixels lie.
        """
        plane = Plane(self.x0, self.y0, z, self.pixel)
        rng = np.random.default_rng([self.subject.seed, self.subject.number, 2000, round(10 * z) + 100000])
        fine, coarse = grain(rng, 1.1), grain(rng, 6.0)
        bones = self.bones.cut(plane, THICKNESS_MM, (fine, coarse), self.hidden(z))
        rough = (fine, grain(rng, 2.6), grain(rng, 3.4))
        spots = DepositSlice([*self.lesions, *self.benign], plane, THICKNESS_MM, bones, rough)
        bend = (self.bend[0].on(plane), self.bend[1].on(plane))
        frame = Frame(
            subject=self.subject,
            marks=self.marks,
            plane=plane,
            bones=bones,
            hu=empty_slice(),
            x=plane.x + 3.0 * bend[0],
            y=plane.y + 3.0 * bend[1],
            fine=fine,
            coarse=coarse,
            bend=bend[0],
        )
        self._draw_table(frame)
        self._draw_soft_tissue(frame)
        spots.harden()
        frame.hu += bones.cover * (bones.hu - frame.hu)
        spots.dissolve(frame.hu)
        image = ndimage.gaussian_filter(frame.hu, 0.6 / self.pixel) + self._noise(frame, rng)
        label = np.where(bones.cover > 0.5, bones.label, 0).astype(np.uint8)
        return np.clip(np.round(image), -1024, 3071).astype(np.int16), spots.instances, label, plane

    def _draw_soft_tissue(self, frame: Frame) -> None:
        outline(frame, self.ripple, self.arms)
        cavity(frame)
        draw_breasts(frame, self.subject.body.parameters["breast"])
        draw_wall(frame, self.bellies, self.muscle)
        below = abdomen_below_diaphragm(frame, self.chest)
        draw_head_and_neck(frame, self.phase.blood)
        draw_abdomen(frame, self.abdomen, self.phase, below)
        draw_chest(frame, self.chest, self.phase.blood, below)
        draw_beside_spine(frame, self.muscle, self.bulk)
        draw_canal(frame)
        draw_discs(frame, self.bones.disc(frame.plane, frame.spine))

    def _draw_table(self, frame: Frame) -> None:
        """A mattress on a curved carbon-fiber shell with a foam core."""
        x = frame.plane.x - np.float32(self.x0)
        top = 1000 * self.subject.body.table + 3 - x * x / 1900
        depth = frame.plane.y - top
        wide = np.float32(225) - np.abs(x)
        for low, high, value in ((0, 11, -880.0), (11, 13, 30.0), (13, 30, -955.0), (30, 31.6, -60.0)):
            paint(frame.hu, np.minimum(np.minimum(depth - low, high - depth), wide), value, self.pixel)

    def _noise(self, frame: Frame, rng: np.random.Generator) -> np.ndarray:
        """Correlated noise: more in the middle of the body, streaks across shoulders and hips."""
        marks, z = self.marks, frame.z
        texture = grain(rng, 0.75) * 0.85 + grain(rng, 1.7) * 0.45
        strength = self.noise * (0.45 + 0.6 * np.clip(frame.skin / 110, 0, 1))
        across = max(
            float(np.exp(-(((z - height) / 45) ** 2)))
            for height in (marks.shoulder - 20, marks.femoral_head["left"][2])
        )
        if across > 0.1:
            streaks = ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE), dtype=np.float32), (0.7, 9.0))
            texture = texture + np.float32(0.28 * across) * streaks / streaks.std()
        return np.asarray(strength * texture, np.float32)


def _bladder_size(subject: CTSubject) -> float:
    """How full the bladder was in the bone scan."""
    organs = generators(subject.seed, subject.number)["organs"]
    _, drawn = draw_organs(subject.skeleton, subject.points / 1000, subject.person, False, organs)
    return float(drawn["bladder"]["size"])


def simulate_ct(
    skeleton: Skeleton, seed: int, patient: int, *, slices: int = SLICES, spacing: float = SPACING_MM
) -> SimulatedCT:
    """Simulate a patient's CT slices. The same arguments give the same bytes, in any process and order.

    Args:
        skeleton: what :func:`bonemets.simulation.load_skeleton` returned.
        seed: seed of the cohort, at least 0.
        patient: number of the patient in the cohort, from 1.
        slices: number of slices.
        spacing: slices lie on a grid of this spacing in mm.

    Returns:
        The slices.

    Raises:
        ValueError: if an argument is out of range.
    """
    if slices < 1:
        raise ValueError(f"slices must be at least 1, got {slices}")
    if spacing < THICKNESS_MM:
        raise ValueError(f"spacing must be at least the slice thickness of {THICKNESS_MM} mm, got {spacing}")
    scanner = CTScanner(ct_subject(skeleton, seed, patient))
    levels = scanner.levels(slices, spacing)
    shape = (len(levels), SIZE, SIZE)
    hu, lesions, bones = np.empty(shape, np.int16), np.empty(shape, np.uint16), np.empty(shape, np.uint8)
    origin = np.empty((len(levels), 3))
    top = 1000 * (scanner.subject.body.top - PIXEL / 2)
    for i, z in enumerate(levels):
        hu[i], lesions[i], bones[i], plane = scanner.cut(z)
        origin[i] = float(plane.x[0, 0]), float(plane.y[0, 0]), z - top
    return SimulatedCT(
        hu=hu,
        label=(lesions > 0).astype(np.uint8),
        lesions=lesions,
        bones=bones,
        origin=np.round(origin, 3),
        pixel=scanner.pixel,
        thickness=THICKNESS_MM,
        parameters=_parameters(scanner, levels, lesions, spacing),
    )


def _parameters(scanner: CTScanner, levels: list[float], lesions: np.ndarray, spacing: float) -> dict[str, Any]:
    return {
        "ct_version": CT_VERSION,
        "pixel_mm": scanner.pixel,
        "thickness_mm": THICKNESS_MM,
        "spacing_mm": spacing,
        "levels_mm": [round(z - 1000 * (scanner.subject.body.top - PIXEL / 2), 3) for z in levels],
        "lesion_pixels": [int((image > 0).sum()) for image in lesions],
        "contrast": scanner.phase.name,
        "arms_raised": not scanner.arms,
        "trabecular_l1_hu": round(scanner.trabecular, 1),
        "muscle_hu": round(scanner.muscle, 1),
        "noise_hu": round(scanner.noise, 2),
        "lesions": [_lesion_record(deposit, lesions) for deposit in scanner.lesions],
    }


def _lesion_record(deposit: Deposit, lesions: np.ndarray) -> dict[str, Any]:
    return deposit.record() | {"slices": [i for i, image in enumerate(lesions) if (image == deposit.id).any()]}
