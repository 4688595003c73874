from __future__ import annotations

import numpy as np
import pytest

from bonemets.simulation.patient.benign import draw_benign
from bonemets.simulation.patient.lesions import SITE_SHARE, draw_lesions, draw_status
from bonemets.simulation.patient.patient import draw_patient, generators
from bonemets.simulation.patient.spots import Anatomy, lumps
from bonemets.simulation.patient.uptake import draw_uptake, relative_pattern
from bonemets.simulation.skeleton.anatomy import BONES, REGIONS


@pytest.fixture(scope="module")
def anatomy(skeleton) -> Anatomy:
    concentration, _ = draw_uptake(skeleton, {"sex": "M", "age_years": 60}, np.random.default_rng(0))
    return Anatomy(skeleton, skeleton.rest, concentration)


def test_stages_have_their_own_random_numbers():
    first, again, other = generators(1, 2), generators(1, 2), generators(1, 3)
    values = {stage: rng.uniform() for stage, rng in first.items()}
    assert len(set(values.values())) == len(values)
    assert values == {stage: rng.uniform() for stage, rng in again.items()}
    assert not set(values.values()) & {rng.uniform() for rng in other.values()}


def test_patients_follow_table_2():
    people = [draw_patient(generators(0, i)["patient"]) for i in range(1, 801)]
    ages = np.array([person["age_years"] for person in people])
    assert ages.mean() == pytest.approx(58.2, abs=1.0)
    assert ages.std() == pytest.approx(9.9, abs=1.0)
    assert 29 <= ages.min() <= ages.max() <= 81
    assert np.mean([person["sex"] == "F" for person in people]) == pytest.approx(0.39, abs=0.05)
    for person in people:
        assert person["weight_kg"] / person["height_m"] ** 2 == pytest.approx(person["bmi"], abs=0.15)


def test_share_of_patients_without_metastases_and_spread_of_counts():
    drawn = [draw_status(generators(0, i)["lesions"]) for i in range(1, 2001)]
    assert np.mean([not status["metastases"] for status in drawn]) == pytest.approx(0.30, abs=0.03)
    assert 0.005 < np.mean([status["superscan"] for status in drawn]) < 0.04
    counts = np.array([status["lesions"] for status in drawn if status["metastases"]])
    assert counts.min() == 1
    assert counts.max() > 20
    assert np.mean(counts <= 3) == pytest.approx(0.50, abs=0.05)


def test_lesions_prefer_red_marrow_and_sometimes_cluster(anatomy):
    spots = []
    for i in range(25):
        status = {"lesions": 12, "superscan": False}
        spots += draw_lesions(anatomy, status, np.random.default_rng(i))
    region = [spot.parameters["region"] for spot in spots]
    axial = ("thoracic_spine", "lumbar_spine", "sacrum", "pelvis", "ribs", "sternum", "cervical_spine")
    assert np.mean([r in axial for r in region]) > 0.8
    assert set(region) <= set(SITE_SHARE) | {"costal_cartilage", "skull", "forearms", "hands", "feet"}
    together = [spot for spot in spots if spot.parameters["cluster"] != spot.parameters["id"]]
    assert 0.1 < len(together) / len(spots) < 0.6
    kinds = [spot.parameters["kind"] for spot in spots]
    assert 0.005 < np.mean([kind == "photopenic" for kind in kinds]) < 0.08
    for spot in spots:
        labels = np.unique(anatomy.skeleton.bone[spot.index])
        assert [BONES[int(label)] for label in labels] == [spot.parameters["bone"]]
        assert (spot.excess.sum() < 0) == (spot.parameters["kind"] == "photopenic")


def test_lump_lies_within_reach_and_has_a_soft_border(anatomy):
    part = anatomy.skeleton.points_of("hip_left")
    center = anatomy.points[part].mean(axis=0) + [0.03, 0, 0.03]
    center = anatomy.points[part][np.argmin(np.square(anatomy.points[part] - center).sum(axis=1))].astype(float)
    label = int(anatomy.skeleton.bone[part.start])
    index, weight = lumps(anatomy, [label], center, 0.010, np.random.default_rng(0), axes=np.ones(3))
    distance = np.sqrt(np.square(anatomy.points[index] - center).sum(axis=1))
    assert distance.max() < 0.010 * np.sqrt(1.3) + 1e-6
    assert (weight[distance < 0.008] == 1).all()
    assert 0 < weight.min() < 0.2


def test_benign_spots_grow_with_age(anatomy):
    numbers = []
    for age in (35, 75):
        person = {"sex": "M", "age_years": age}
        numbers.append(np.mean([len(draw_benign(anatomy, person, np.random.default_rng(i))) for i in range(60)]))
    assert numbers[1] > 1.5 * numbers[0]


def test_benign_kinds_include_fracture_lines_and_joints(anatomy):
    person = {"sex": "F", "age_years": 70}
    spots = [s for i in range(80) for s in draw_benign(anatomy, person, np.random.default_rng(i))]
    kinds = {spot.parameters["kind"] for spot in spots}
    assert {
        "knee",
        "facet_joint",
        "sternoclavicular",
        "rib_fracture",
        "compression_fracture",
        "healed_fracture",
    } <= kinds
    assert all(spot.excess.sum() > 0 for spot in spots)


def test_uptake_differs_between_patients_and_fades_with_age_in_the_spine(skeleton):
    _, joint = relative_pattern(skeleton)
    assert joint.max() > 0.5
    lumbar = skeleton.mask_of([name for name in REGIONS if REGIONS[name] == "lumbar_spine"])
    means = [
        draw_uptake(skeleton, {"sex": "M", "age_years": age}, np.random.default_rng(4))[0][lumbar].mean()
        for age in (30, 58, 80)
    ]
    assert means == sorted(means, reverse=True)
    values = [
        draw_uptake(skeleton, {"sex": "M", "age_years": 58}, np.random.default_rng(i))[0].mean() for i in range(6)
    ]
    assert np.std(values) / np.mean(values) > 0.05
