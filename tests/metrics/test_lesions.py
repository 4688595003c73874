"""Every expected number is worked out by hand from the drawing above it."""

from __future__ import annotations

import numpy as np
import pytest

from bonemets.metrics.lesions import LesionCounts, lesion_components, match_lesions


def draw(*rows: str) -> np.ndarray:
    """A label map from a drawing: '.' background, digits as they are."""
    return np.array([[0 if c == "." else int(c) for c in row] for row in rows], dtype=np.uint8)


def test_diagonal_pixels_are_one_lesion():
    labels, count = lesion_components(draw("1..", ".1.", "...", "1.1"))
    assert count == 3
    assert labels[0, 0] == labels[1, 1]


def test_components_want_one_view():
    with pytest.raises(ValueError, match="one view"):
        lesion_components(np.zeros((4, 4, 2)))


def test_one_hit_one_miss_one_false_positive():
    truth = draw("11....", "11....", "......", "....11")
    found = draw(
        ".1....", ".1....", "....1.", "......"
    )  # touches lesion 1; the other is diagonal to lesion 2, no overlap
    counts = match_lesions(found, truth)
    assert counts == LesionCounts(images=1, lesions=2, detected=1, findings=2, false_positives=1)
    assert counts.sensitivity == 0.5
    assert counts.precision == 0.5
    assert counts.f1 == 0.5


def test_one_blob_over_a_cluster_finds_all_at_any_overlap_but_one_at_iou():
    truth = draw("11.11", "11.11")
    found = draw("11111", "11111")  # IoU with each lesion is 4/10
    assert match_lesions(found, truth).detected == 2
    assert match_lesions(found, truth).false_positives == 0
    at_iou = match_lesions(found, truth, iou_threshold=0.4)
    assert (at_iou.detected, at_iou.false_positives) == (1, 0)
    beyond = match_lesions(found, truth, iou_threshold=0.41)
    assert (beyond.detected, beyond.false_positives, beyond.f1) == (0, 1, 0.0)


def test_two_findings_on_one_lesion():
    truth = draw("11111")
    found = draw("11.11")  # 2 pixels each: IoU 2/5 each
    assert match_lesions(found, truth).false_positives == 0
    at_iou = match_lesions(found, truth, iou_threshold=0.4)
    assert (at_iou.detected, at_iou.findings, at_iou.false_positives) == (1, 2, 1)


def test_pairing_prefers_more_pairs_over_the_best_pair():
    # Lesion A is columns 0-3, lesion B columns 4-5, told apart by number though they touch.
    truth = draw("1111111")
    instances = np.array([[1, 1, 1, 1, 2, 2, 2]])
    found = np.zeros((2, 7), dtype=np.uint8)
    truth, instances = np.vstack([truth, np.zeros_like(truth)]), np.vstack([instances, np.zeros_like(instances)])
    found[0, :1] = 1  # IoU with A 1/4
    found[0, 2:5] = 1  # IoU with A 2/5, with B 1/5
    counts = match_lesions(found, truth, instances=instances, iou_threshold=0.2)
    assert (counts.detected, counts.false_positives) == (
        2,
        0,
    )  # greedy by IoU would pair A with the second and lose one


def test_a_finding_mostly_on_ignore_does_not_count():
    truth = draw("222...", "......")
    mostly = draw("1111..", "......")  # 3 of 4 pixels on ignore
    half = draw(".1111.", "......")  # 2 of 4: not mostly
    assert match_lesions(mostly, truth) == LesionCounts(images=1, ignored=1)
    assert np.isnan(match_lesions(mostly, truth).f1)
    assert match_lesions(half, truth).false_positives == 1


def test_ignored_pixels_do_not_enter_the_overlap():
    truth = draw("1122..")
    found = draw("1111..")  # without the ignored pixels this is exactly the lesion
    counts = match_lesions(found, truth, iou_threshold=1.0)
    assert (counts.lesions, counts.detected, counts.findings, counts.ignored) == (1, 1, 1, 0)


def test_instances_tell_touching_lesions_apart_and_may_have_gaps():
    truth = draw("1111", "....")
    instances = np.array([[3, 3, 7, 7], [0, 0, 0, 0]])
    found = draw("1...", "....")
    assert match_lesions(found, truth).lesions == 1
    counts = match_lesions(found, truth, instances=instances)
    assert (counts.lesions, counts.detected) == (2, 1)


def test_empty_cases():
    nothing = np.zeros((5, 5))
    assert match_lesions(nothing, nothing) == LesionCounts(images=1)
    assert np.isnan(match_lesions(nothing, nothing).sensitivity)
    missed = match_lesions(nothing, draw("1....", *["....."] * 4), iou_threshold=0.5)
    assert (missed.sensitivity, missed.f1) == (0.0, 0.0)
    assert np.isnan(LesionCounts().false_positives_per_image)


def test_counts_add_up_over_images():
    total = LesionCounts(1, 4, 2, 3, 1) + LesionCounts(1, 0, 0, 2, 2, 5)
    assert total == LesionCounts(2, 4, 2, 5, 3, 5)
    assert total.sensitivity == 0.5
    assert total.precision == pytest.approx(0.4)
    assert total.f1 == pytest.approx(2 * 0.5 * 0.4 / 0.9)
    assert total.false_positives_per_image == 1.5


@pytest.mark.parametrize("threshold", [-0.1, 1.1])
def test_bad_threshold(threshold):
    with pytest.raises(ValueError, match=r"not in 0\.\.1"):
        match_lesions(np.zeros((2, 2)), np.zeros((2, 2)), iou_threshold=threshold)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must agree"):
        match_lesions(np.zeros((2, 2)), np.zeros((2, 3)))


def test_matches_a_slow_count_on_random_masks():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth, found = (rng.random((24, 24)) < 0.12).astype(int), rng.random((24, 24)) < 0.12
        lesions, n = lesion_components(truth)
        findings, m = lesion_components(found)
        detected = sum(bool(found[lesions == i].any()) for i in range(1, n + 1))
        false = sum(not truth[findings == j].any() for j in range(1, m + 1))
        counts = match_lesions(found, truth)
        assert (counts.lesions, counts.detected, counts.findings, counts.false_positives) == (n, detected, m, false)
