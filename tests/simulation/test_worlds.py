"""Worlds: what patients and scans are drawn from."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from bonemets.errors import InputError
from bonemets.simulation import SimulatedStudy, load_skeleton, simulate_study
from bonemets.simulation.cohort import default_world
from bonemets.simulation.patient.uptake_parts import part_weights, vary_parts
from bonemets.simulation.patient.warp import warp_skeleton
from bonemets.simulation.patient.world import HOSPITAL, NEMA, WORLDS, World, find_world
from bonemets.simulation.skeleton.anatomy import BONES
from bonemets.simulation.skeleton.skeleton import Skeleton

NEMA_DIGEST = "cd02591adc2338c2"  # of the simulator that knew no worlds


@pytest.fixture(scope="module")
def skeleton() -> Skeleton:
    return load_skeleton()


@pytest.fixture(scope="module")
def studies(skeleton: Skeleton) -> dict[str, SimulatedStudy]:
    return {world.name: simulate_study(skeleton, 3, 2, world) for world in (NEMA, HOSPITAL)}


def test_every_world_is_found_by_its_name_and_others_are_refused() -> None:
    assert all(find_world(name).name == name for name in WORLDS)
    with pytest.raises(InputError, match="'moon'; choose one of nema, hospital"):
        find_world("moon")


def test_scans_are_of_the_hospital_and_ct_slices_of_the_nema_world() -> None:
    assert [default_world(modality) for modality in ("nm", "ct", "both")] == ["hospital", "nema", "nema"]


def test_the_nema_world_is_what_cohorts_were_before_worlds_had_names(studies: dict[str, SimulatedStudy]) -> None:
    digest = hashlib.sha256(studies["nema"].counts.tobytes()).hexdigest()
    assert digest.startswith(NEMA_DIGEST)
    assert studies["nema"].parameters["world"] == "nema"


def test_the_hospital_s_patients_have_less_soft_tissue_against_bone(studies: dict[str, SimulatedStudy]) -> None:
    def contrast(study: SimulatedStudy) -> float:
        counts, bones = study.expected[..., 1], study.bones[..., 1]
        spine = np.isin(bones, [label for label, name in BONES.items() if name in ("L1", "L2", "L3", "L4")])
        body = (bones == 0) & (counts > 0.1 * np.percentile(counts[bones > 0], 50))
        return float(np.median(counts[spine]) / np.median(counts[body]))

    assert contrast(studies["hospital"]) > 1.4 * contrast(studies["nema"])


def test_parts_get_the_world_s_factors_and_nothing_else_changes(skeleton: Skeleton) -> None:
    concentration = np.ones(len(skeleton.bone), np.float32)
    world = World(parts={"iliac_crest": 3.0})
    factors = vary_parts(skeleton, concentration, world, np.random.default_rng(0))
    assert factors["iliac_crest"] == 3.0
    assert factors["face"] == 1.0
    changed = {BONES[int(label)] for label in np.unique(skeleton.bone[concentration > 1.01])}
    assert changed == {"hip_right", "hip_left"}
    assert 2.0 < concentration.max() <= 3.0


def test_every_part_is_on_its_bones(skeleton: Skeleton) -> None:
    of = {"vertebral_arch": "TL", "iliac_crest": "h", "face": "sm", "scapula_behind": "s", "knee": "ftp"}
    for name, (index, weight) in part_weights(skeleton).items():
        assert len(index), name
        assert 0 < weight.min() <= weight.max() <= 1, name
        if name in of:
            assert {BONES[int(label)][0] for label in np.unique(skeleton.bone[index])} <= set(of[name]), name


def test_a_warp_moves_every_patient_s_skeleton_otherwise_but_smoothly(skeleton: Skeleton) -> None:
    points = skeleton.rest.copy()
    one, record = warp_skeleton(skeleton, points, 4.0, np.random.default_rng(1))
    other, _ = warp_skeleton(skeleton, points, 4.0, np.random.default_rng(2))
    moved = 1000 * np.abs(one - points)[:, 0]
    assert 0.5 < np.sqrt(np.mean(moved**2)) < 12  # mm
    assert not np.allclose(one, other)
    assert record["amplitude_mm"] == 4.0
    ribs = skeleton.points_of("rib_right_5")  # neighbors stay neighbors
    steps = np.linalg.norm(np.diff(one[ribs], axis=0), axis=1) - np.linalg.norm(np.diff(points[ribs], axis=0), axis=1)
    assert np.percentile(np.abs(steps), 95) < 0.0015


def test_the_picture_s_first_row_and_the_blur_follow_the_world(skeleton: Skeleton) -> None:
    near = simulate_study(skeleton, 3, 2, replace(HOSPITAL, top_margin_m=0.02))
    far = simulate_study(skeleton, 3, 2, replace(HOSPITAL, top_margin_m=0.10, camera_blur=2.0))

    def top(study: SimulatedStudy) -> int:
        return int(np.flatnonzero(study.bones[..., 0].any(axis=1))[0])

    assert top(far) - top(near) > 20

    def sharpness(study: SimulatedStudy) -> float:
        image = study.expected[..., 1]
        return float(np.abs(np.diff(image, axis=0)).sum() / image.sum())

    assert sharpness(far) < 0.9 * sharpness(near)
