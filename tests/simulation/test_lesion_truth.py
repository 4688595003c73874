from __future__ import annotations

import numpy as np
import pytest
from water_box import ACQUISITION, CENTER, FRONT, box_scene

from bonemets.simulation import SimulatedStudy, target_label
from bonemets.simulation.bone_scan.camera import project_view
from bonemets.simulation.bone_scan.truth import MIN_CONTRAST, MIN_DETECTABILITY, outline_spots, project_spot
from bonemets.simulation.patient.spots import Spot

SCALE = 50.0


def ball(center: np.ndarray, radius: float = 0.008, count: int = 800) -> np.ndarray:
    rng = np.random.default_rng(5)
    points = rng.normal(size=(count, 3))
    return center + points / np.linalg.norm(points, axis=1, keepdims=True) * radius * rng.uniform(size=(count, 1)) ** (
        1 / 3
    )


def case(*activities: float, offset: float = 0.05, soft: float = 0.4):
    """Balls of the given total activities side by side, 3 cm deep, in a uniform background."""
    centers = [CENTER + [i * offset, FRONT + 0.03, 0] for i in range(len(activities))]
    scene = box_scene(np.concatenate([ball(center) for center in centers]), 0.0, soft)
    spots = []
    for i, activity in enumerate(activities):
        index = np.arange(800 * i, 800 * (i + 1))
        scene.activity[index] += max(activity, 0) / 800
        spots.append(Spot(i + 1, index, np.full(800, activity / 800, np.float32), {}))
    view = project_view(scene, True, ACQUISITION)
    return spots, scene, view, view.image * SCALE


def outline(spots, scene, view, expected):
    return outline_spots(spots, scene, view, expected, np.ones(expected.shape, bool), SCALE)


def test_own_projection_is_the_difference_that_the_spot_makes():
    spots, scene, view, expected = case(3.0)
    _, _, _, without = case(0.0)
    signal, window = project_spot(spots[0], scene, view, SCALE)
    difference = (expected - without)[window]
    peak = np.unravel_index(signal.argmax(), signal.shape)
    # the difference also holds a few percent of scatter
    assert difference[peak] == pytest.approx(signal[peak], rel=0.06)


def test_mask_is_where_the_spot_reaches_42_percent():
    spots, scene, view, expected = case(8.0)
    visible, hidden, records = outline(spots, scene, view, expected)
    signal, window = project_spot(spots[0], scene, view, SCALE)
    np.testing.assert_array_equal(visible[window] > 0, signal >= 0.42 * signal.max())
    assert records[0]["visible"]
    assert records[0]["area_px"] == (visible == 1).sum() > 10
    assert not hidden.any()
    assert records[0]["contrast"] >= MIN_CONTRAST
    assert records[0]["detectability"] >= MIN_DETECTABILITY


def test_faint_spot_is_hidden_and_so_is_a_spot_with_too_few_counts():
    spots, scene, view, expected = case(0.3)
    visible, hidden, records = outline(spots, scene, view, expected)
    assert not visible.any()
    assert hidden.any()
    assert not records[0]["visible"]
    spots, scene, view, expected = case(8.0)
    _, _, records = outline(spots, scene, view, expected)
    scarce = (2 / records[0]["detectability"]) ** 2  # so few counts that d' is 2
    _, _, records = outline_spots(spots, scene, view, expected * scarce, np.ones(expected.shape, bool), SCALE * scarce)
    assert records[0]["contrast"] >= MIN_CONTRAST
    assert records[0]["detectability"] == pytest.approx(2, rel=0.05)
    assert not records[0]["visible"]


def test_contrast_and_detectability_follow_their_formulas():
    spots, scene, view, expected = case(8.0)
    _, _, records = outline(spots, scene, view, expected)
    signal, window = project_spot(spots[0], scene, view, SCALE)
    mask = signal >= 0.42 * signal.max()
    background = (expected[window] - signal)[mask]
    assert records[0]["contrast"] == pytest.approx(signal.max() / background.mean(), rel=1e-3)
    assert records[0]["detectability"] == pytest.approx(signal[mask].sum() / np.sqrt(background.sum()), rel=1e-3)


def test_touching_spots_do_not_hide_each_other_and_share_pixels_by_strength():
    spots, scene, view, expected = case(8.0, 5.0, offset=0.012)
    visible, _, records = outline(spots, scene, view, expected)
    assert [record["visible"] for record in records] == [True, True]
    signals = []
    for spot in spots:
        full = np.zeros(expected.shape, np.float32)
        signal, window = project_spot(spot, scene, view, SCALE)
        full[window] = signal
        signals.append(full)
    both = (signals[0] >= 0.42 * signals[0].max()) & (signals[1] >= 0.42 * signals[1].max())
    assert both.any()
    np.testing.assert_array_equal(visible[both], np.where(signals[0] >= signals[1], 1, 2)[both])


def test_photopenic_spot_has_negative_contrast():
    spots, scene, view, expected = case(-5.0, soft=0.8)
    signal, window = project_spot(spots[0], scene, view, SCALE)
    assert signal.min() < 0
    expected = expected.copy()
    expected[window] += signal
    visible, _, records = outline(spots, scene, view, expected)
    assert records[0]["contrast"] < -0.25
    assert records[0]["visible"]
    assert visible.any()


def test_spot_outside_the_field_of_view_is_not_seen():
    spots, scene, view, expected = case(8.0)
    visible, hidden, records = outline_spots(spots, scene, view, expected, np.zeros(expected.shape, bool), SCALE)
    assert not visible.any()
    assert not hidden.any()
    assert not records[0]["visible"]


def test_target_label_ignores_hidden_lesions_but_not_under_visible_ones():
    empty = np.zeros((4, 4, 2), np.uint16)
    lesions, hidden = empty.copy(), empty.copy()
    lesions[1, 1, 0] = hidden[1, 1, 0] = hidden[2, 2, 1] = 3
    study = SimulatedStudy(empty, empty.astype(np.float32), lesions, hidden, empty.astype(np.uint8), empty)
    label = target_label(study)
    assert label.dtype == np.uint8
    assert label[1, 1, 0] == 1
    assert label[2, 2, 1] == 2
    assert (label > 0).sum() == 2
