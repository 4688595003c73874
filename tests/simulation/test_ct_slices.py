"""CT slices: tissues in Hounsfield units at their places, the scan's own lesions, the same bytes for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bonemets.simulation import BONES, load_skeleton, simulate_study
from bonemets.simulation.ct import slices as ct_slices
from bonemets.simulation.ct.bones import trabecular_hu
from bonemets.simulation.ct.levels import LESION_SHARE
from bonemets.simulation.ct.plane import SIZE, Plane, Waves, ellipsoid, paint
from bonemets.simulation.ct.slices import CTScanner, SimulatedCT, simulate_ct
from bonemets.simulation.ct.subject import CTSubject, ct_subject
from bonemets.simulation.patient.lesions import draw_status
from bonemets.simulation.patient.patient import generators
from bonemets.simulation.skeleton.anatomy import BONE_IDS

SEED = 0


def _first_patient(wanted) -> int:
    """Number of the first patient whose number of lesions is as wanted."""
    return next(n for n in range(1, 500) if wanted(draw_status(generators(SEED, n)["lesions"])["lesions"]))


WITH_LESIONS, WITHOUT = _first_patient(lambda count: 12 <= count < 30), _first_patient(lambda count: count == 0)


@pytest.fixture(scope="module")
def subject() -> CTSubject:
    return ct_subject(load_skeleton(), SEED, WITH_LESIONS)


@pytest.fixture(scope="module")
def scanner(subject: CTSubject) -> CTScanner:
    return CTScanner(subject)


@pytest.fixture(scope="module")
def series() -> SimulatedCT:
    return simulate_ct(load_skeleton(), SEED, WITH_LESIONS, slices=4)


def test_subject_is_the_patient_of_the_scan(subject):
    study = simulate_study(load_skeleton(), SEED, WITH_LESIONS)
    views = {"anterior", "posterior"}
    of_scan = [{k: v for k, v in record.items() if k not in views} for record in study.parameters["lesions"]]
    of_ct = [{k: v for k, v in spot.parameters.items() if k not in views} for spot in subject.lesions]
    assert of_ct == of_scan
    assert subject.person == study.parameters["patient"]
    assert subject.body.parameters == study.parameters["body"]


@pytest.mark.parametrize(("seed", "patient"), [(-1, 1), (0, 0)])
def test_subject_refuses_what_is_out_of_range(seed, patient):
    with pytest.raises(ValueError, match="must be at least"):
        ct_subject(load_skeleton(), seed, patient)


def test_series_has_shapes_types_and_ascending_levels(series):
    assert series.hu.shape == series.label.shape == series.lesions.shape == series.bones.shape == (4, SIZE, SIZE)
    assert (series.hu.dtype, series.label.dtype) == (np.int16, np.uint8)
    assert (series.lesions.dtype, series.bones.dtype) == (np.uint16, np.uint8)
    heights = series.origin[:, 2]
    assert (np.diff(heights) > 0).all()
    np.testing.assert_allclose(np.diff(heights) / 5.0, np.round(np.diff(heights) / 5.0), atol=1e-3)
    assert 0.74 <= series.pixel <= 0.98
    assert series.hu.min() >= -1024


def test_series_has_slices_with_and_without_lesions(series):
    with_lesion = (series.label > 0).any(axis=(1, 2))
    assert with_lesion.sum() == round(LESION_SHARE * 4)
    assert np.array_equal(series.label > 0, series.lesions > 0)
    assert series.parameters["lesion_pixels"] == [int(image.sum()) for image in series.label]


def test_patient_without_metastases_has_empty_labels():
    ct = simulate_ct(load_skeleton(), SEED, WITHOUT, slices=2)
    assert len(ct.hu) == 2
    assert not ct.label.any()


def test_same_seed_same_bytes_and_another_seed_another_patient(series):
    again = simulate_ct(load_skeleton(), SEED, WITH_LESIONS, slices=4)
    for name in ("hu", "label", "lesions", "bones", "origin"):
        assert np.array_equal(getattr(series, name), getattr(again, name)), name
    assert series.parameters == again.parameters
    other = CTScanner(ct_subject(load_skeleton(), SEED + 1, WITH_LESIONS))
    assert round(other.trabecular, 1) != series.parameters["trabecular_l1_hu"]


def test_a_slice_does_not_depend_on_the_slices_cut_before(scanner, subject):
    z = scanner.marks.level["L2"]
    scanner.cut(z + 40)
    first = scanner.cut(z)[0]
    assert np.array_equal(first, CTScanner(subject).cut(z)[0])


@pytest.mark.parametrize(("slices", "spacing"), [(0, 5.0), (3, 1.0)])
def test_series_refuses_what_is_out_of_range(slices, spacing):
    with pytest.raises(ValueError, match="must be at least"):
        simulate_ct(load_skeleton(), SEED, WITHOUT, slices=slices, spacing=spacing)


def test_lesions_lie_where_the_scan_has_them(series, subject):
    """Every labelled pixel is near a point of its own lesion."""
    for k, image in enumerate(series.lesions):
        for number in np.unique(image[image > 0]):
            rows, columns = np.nonzero(image == number)
            x = series.origin[k, 0] + columns.mean() * series.pixel
            y = series.origin[k, 1] + rows.mean() * series.pixel
            z = series.origin[k, 2] + 1000 * subject.body.top - 1.13
            points = subject.points[subject.lesions[number - 1].index]
            near = points[np.abs(points[:, 2] - z) < 5]
            assert np.sqrt((near[:, 0] - x) ** 2 + (near[:, 1] - y) ** 2).min() < 8


def test_blastic_lesions_are_dense_and_lytic_ones_are_soft(scanner, subject):
    means = {"blastic": [], "lytic": []}
    for deposit in scanner.lesions[:12]:
        if deposit.kind not in means:
            continue
        z = float(np.average(deposit.points[:, 2], weights=deposit.weight))
        if subject.lesions[deposit.id - 1].parameters["bone"] in scanner.hidden(z):
            continue
        hu, lesions, _, _ = scanner.cut(z)
        core = ndimage.binary_erosion(lesions == deposit.id, iterations=2)
        if core.sum() >= 10:
            means[deposit.kind].append(float(hu[core].mean()))
    assert len(means["blastic"]) >= 2
    assert len(means["lytic"]) >= 1
    assert min(means["blastic"]) > 330
    assert np.median(means["lytic"]) < 250
    assert np.mean(means["blastic"]) - np.mean(means["lytic"]) > 250


def test_tissues_have_their_attenuation(scanner):
    marks = scanner.marks
    hu, _, bones, plane = scanner.cut(marks.level["L3"])
    x, y, _ = marks.spine(plane.z)
    body = (plane.x - x) ** 2 + (plane.y - y) ** 2 < 8**2
    assert (bones[body] == BONE_IDS["L3"]).mean() > 0.9
    assert abs(hu[body].mean() - scanner.trabecular) < 50
    assert hu[bones == BONE_IDS["L3"]].max() > 450  # cortex
    muscle = (np.abs(np.abs(plane.x - x) - 28) < 6) & (np.abs(plane.y - marks.spine_back(plane.z) + 18) < 6)
    assert abs(np.median(hu[muscle]) - scanner.muscle) < 12
    assert abs(hu[:20, :20].mean() + 1000) < 10  # air
    fat = (hu > -130) & (hu < -80)
    assert 0.02 < fat.mean() < 0.5


def test_chest_has_lungs_on_both_sides_and_trachea_in_the_middle(scanner):
    hu, _, _, plane = scanner.cut(scanner.marks.level["T5"])
    x, _, front = scanner.marks.spine(plane.z)
    lung = (hu > -950) & (hu < -700)
    area = plane.pixel**2 / 100
    assert lung[:, plane.x[0] < x - 20].sum() * area > 40  # cm²
    assert lung[:, plane.x[0] > x + 20].sum() * area > 40
    airway = (np.abs(plane.x - x) < 45) & (plane.y < front) & (plane.y > front - 45) & (hu < -800)
    assert airway.sum() * area > 1


def test_liver_lies_on_the_patients_right_which_is_on_the_left_of_the_image(scanner):
    hu, _, _, plane = scanner.cut(scanner.marks.level["T11"])
    x = scanner.marks.spine(plane.z)[0]
    solid = ndimage.uniform_filter((np.abs(hu - scanner.phase.liver) < 40).astype(np.float32), 25) > 0.9
    assert solid[:, plane.x[0] < x - 15].sum() > 2 * solid[:, plane.x[0] > x + 60].sum()
    assert plane.x[0, 0] < plane.x[0, -1]  # columns run from the right to the left of the patient
    assert plane.y[0, 0] < plane.y[-1, 0]  # rows run from the front to the back


@pytest.mark.parametrize("arms", [False, True])
def test_bones_of_raised_arms_are_left_out_below_the_shoulders(subject, monkeypatch, arms):
    monkeypatch.setattr(ct_slices, "ARMS_RAISED_SHARE", 0.0 if arms else 1.0)
    scanner = CTScanner(subject)
    _, _, bones, _ = scanner.cut(scanner.marks.level["T8"])
    names = {BONES[int(label)] for label in np.unique(bones) if label}
    assert "T8" in names
    assert bool({"humerus_right", "humerus_left"} & names) == arms


def test_disc_between_two_vertebrae_is_soft(scanner):
    marks = scanner.marks
    gap = (marks.level["L3"] + marks.level["L4"]) / 2
    centers = []
    for z in (marks.level["L3"], gap):
        hu, _, _, plane = scanner.cut(z)
        x, y, _ = marks.spine(z)
        centers.append(hu[(plane.x - x) ** 2 + (plane.y - y) ** 2 < 5**2].mean())
    assert centers[1] < centers[0]
    assert 40 < centers[1] < 160


def test_trabecular_bone_loses_25_hu_in_ten_years():
    rng = np.random.default_rng(0)
    young = np.mean([trabecular_hu(40, rng) for _ in range(4000)])
    old = np.mean([trabecular_hu(50, rng) for _ in range(4000)])
    assert young - old == pytest.approx(25, abs=2.5)


def test_plane_window_covers_a_box_and_misses_what_is_outside():
    plane = Plane(0.0, 0.0, 0.0, 0.8)
    rows, columns = plane.window(np.array([10.0, -20.0]), np.array([12.0, -16.0]), 1.0)
    assert plane.x[0, columns][0] <= 9.0 <= 13.0 <= plane.x[0, columns][-1]
    assert plane.y[rows, 0][0] <= -21.0 <= -15.0 <= plane.y[rows, 0][-1]
    assert plane.window(np.array([900.0, 0.0]), np.array([910.0, 1.0]), 1.0) is None


def test_waves_are_one_function_in_space():
    """Planes that are shifted by whole pixels, or lie close together, see the same values."""
    waves = Waves(np.random.default_rng(3), 30, 60)
    image = waves.on(Plane(0.0, 0.0, 11.0, 0.9))
    shifted = waves.on(Plane(9.0, -18.0, 11.0, 0.9))
    np.testing.assert_allclose(shifted[20:, :-10], image[:-20, 10:], atol=2e-3)
    near, far = waves.on(Plane(0.0, 0.0, 11.5, 0.9)), waves.on(Plane(0.0, 0.0, 51.0, 0.9))
    assert np.abs(near - image).mean() < 0.1 < np.abs(far - image).mean()
    assert image.std() == pytest.approx(1, abs=0.25)


def test_paint_has_half_cover_on_the_edge():
    image = np.zeros((1, 3), np.float32)
    paint(image, np.array([[-2.0, 0.0, 2.0]], np.float32), 100.0, 0.8)
    np.testing.assert_allclose(image, [[0, 50, 100]])


def test_section_of_an_ellipsoid_has_its_area():
    plane = Plane(0.0, 0.0, 12.0, 0.5)
    inside = ellipsoid(plane.x, plane.y, plane.z, np.array([3.0, -4.0, 0.0]), (40.0, 30.0, 20.0)) > 0
    assert inside.sum() * 0.25 == pytest.approx(np.pi * 40 * 30 * (1 - 0.6**2), rel=0.01)
    assert not (ellipsoid(plane.x, plane.y, 25.0, np.zeros(3), (40.0, 30.0, 20.0)) > 0).any()
