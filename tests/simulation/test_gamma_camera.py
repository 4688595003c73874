from __future__ import annotations

import numpy as np
import pytest
from water_box import ACQUISITION, CENTER, FRONT, box_scene

from bonemets.simulation.bone_scan.camera import acquire, collimator_fwhm, detect, project_view
from bonemets.simulation.patient.grid import COLUMNS, PIXEL


def test_collimator_resolution():
    # Sorenson and Phelps' formula worked out by hand for h = 1.5 mm, Le = 34.3 mm, Ri = 3.8 mm
    assert collimator_fwhm(0.10) == pytest.approx(np.sqrt(3.8**2 + (1.5 * 134.3 / 34.3) ** 2) / 1000)
    assert collimator_fwhm(0.10) * 1000 == pytest.approx(7.0, abs=0.05)
    assert collimator_fwhm(0.18) * 1000 == pytest.approx(10.1, abs=0.1)


@pytest.mark.parametrize("depth", [0.02, 0.08, 0.15])
def test_point_source_is_attenuated_and_scattered(depth):
    point = CENTER + [0, FRONT + depth, 0]
    for anterior, path in ((True, depth), (False, 0.20 - depth)):
        view = project_view(box_scene(point[None]), anterior, ACQUISITION)
        primary = np.exp(-15.0 * path)
        assert view.transmission[0] == pytest.approx(primary, rel=1e-4)
        # scatter adds 3.5 % of the primary per cm of depth
        assert view.image.sum() == pytest.approx(primary * (1 + 3.5 * path), rel=0.01)


def test_blur_grows_with_distance():
    widths = []
    for depth in (0.005, 0.165):
        scene = box_scene((CENTER + [0, FRONT + depth, 0])[None])
        image = project_view(scene, True, ACQUISITION).image.astype(np.float64)
        profile = image[500] - np.median(image[500, 100:110])
        x = np.arange(COLUMNS) - 128
        near = np.abs(x) < 6
        widths.append(2.3548 * PIXEL * np.sqrt((profile[near] * x[near] ** 2).sum() / profile[near].sum()))
    assert widths[0] == pytest.approx(collimator_fwhm(0.025), rel=0.25)
    assert widths[1] > 1.5 * widths[0]


def test_uniform_slab_matches_the_integral():
    view = project_view(box_scene(CENTER[None], activity=0.0, soft=1.0), True, ACQUISITION)
    analytic = 1e6 * PIXEL**2 * (1 - np.exp(-15.0 * 0.20)) / 15.0
    middle = view.image[480:520, 120:140]
    # the scattered share of a deep slab is large but bounded; the primary alone is a lower limit
    assert analytic < middle.mean() < 1.45 * analytic


def test_points_off_the_image_are_dropped_not_piled_up_on_the_border():
    points = np.stack([CENTER, CENTER + [0.40, 0, 0]])
    scene = box_scene(points)
    assert scene.pixel[1] == -1
    view = project_view(scene, True, ACQUISITION)
    assert view.transmission[1] == 0
    assert view.image[:, -3:].sum() < 1e-6


def test_counts_and_field_of_view():
    scene = box_scene(CENTER[None], activity=5.0, soft=1.0)
    views = (project_view(scene, True, ACQUISITION), project_view(scene, False, ACQUISITION))
    expected, scanned, _ = acquire(views, ACQUISITION)
    assert expected[..., 0].sum() == pytest.approx(2.0e6, rel=1e-3)
    assert (expected[~scanned] == 0).all()
    assert scanned.sum() == 600 * 230
    counts = detect(expected, ACQUISITION, np.random.default_rng(0))
    assert counts.dtype == np.uint16
    assert counts[..., 0].sum() == pytest.approx(2.0e6, rel=0.02)
    flat = np.s_[450:550, 80:120, 0]
    assert ((counts[flat] - expected[flat]) ** 2).mean() == pytest.approx(expected[flat].mean(), rel=0.1)


def test_row_blending_keeps_the_total_and_lowers_the_noise():
    expected = np.full((400, 200, 2), 20.0, np.float32)
    plain = detect(expected, ACQUISITION, np.random.default_rng(1)).astype(float)
    blended = detect(expected, ACQUISITION | {"row_blending": 0.02}, np.random.default_rng(1)).astype(float)
    assert blended[2:-2].mean() == pytest.approx(plain[2:-2].mean(), rel=0.002)
    assert blended[2:-2].var() < 0.97 * plain[2:-2].var()


def test_decay_during_the_scan():
    scene = box_scene(CENTER[None], activity=0.0, soft=1.0)
    views = (project_view(scene, True, ACQUISITION), project_view(scene, False, ACQUISITION))
    expected, _, _ = acquire(views, ACQUISITION | {"background_per_pixel": 0.0})
    rows = expected[:, 100:150, 0].mean(axis=1)
    minutes = 300 * PIXEL * 100 / 12.0
    assert rows[650] / rows[350] == pytest.approx(0.5 ** (minutes / 360.6), rel=1e-3)
