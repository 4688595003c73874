"""Agreement, calibration, FROC, bootstrap and paired tests against scikit-learn, SciPy and hand-worked cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score

from bonemets.errors import InputError
from bonemets.metrics.calibration import brier_score, calibration_counts, expected_calibration_error
from bonemets.metrics.comparison.comparison import compare_paired, compare_patients, holm
from bonemets.metrics.comparison.intervals import percentile_interval, resampling_weights
from bonemets.metrics.evaluation.agreement import agreement, area_under_curve
from bonemets.metrics.froc import confident_findings, froc_counts, sensitivity_at
from bonemets.metrics.lesions import overlap_lesions


def test_auc_matches_scikit_learn_also_when_resampled():
    rng = np.random.default_rng(0)
    positive, scores = rng.random(40) < 0.4, rng.integers(0, 12, 40).astype(float)  # with ties
    weights = resampling_weights(40, 20, seed=3)
    assert area_under_curve(scores, positive)[0] == pytest.approx(roc_auc_score(positive, scores))
    for row, value in zip(weights, area_under_curve(scores, positive, weights), strict=True):
        assert value == pytest.approx(roc_auc_score(positive, scores, sample_weight=row))
    assert np.isnan(area_under_curve(scores, np.ones(40, dtype=bool))[0])


def test_agreement_by_hand():
    found = agreement(np.array([3.0, 5.0, 7.0]), np.array([2.0, 5.0, 5.0]))  # differences 1, 0, 2
    assert found.bias[0] == pytest.approx(1)
    assert found.upper[0] == pytest.approx(1 + 1.96)  # their standard deviation is 1
    assert found.lower[0] == pytest.approx(1 - 1.96)
    assert found.absolute_error[0] == pytest.approx(1)
    # Lin: 2 s_xy / (s_x² + s_y² + (mean difference)²) with 1/n: 2·2 / (8/3 + 2 + 1)
    assert found.concordance[0] == pytest.approx(4 / (8 / 3 + 2 + 1))


def test_weighted_agreement_is_that_of_the_drawn_list():
    rng = np.random.default_rng(1)
    measured, true = rng.gamma(2, 5, 25), rng.gamma(2, 5, 25)
    weights = resampling_weights(25, 5, seed=0)
    drawn = agreement(measured, true, weights)
    for index, row in enumerate(weights.astype(int)):
        x, y = np.repeat(measured, row), np.repeat(true, row)
        difference = x - y
        assert drawn.bias[index] == pytest.approx(difference.mean())
        assert drawn.upper[index] == pytest.approx(difference.mean() + 1.96 * difference.std(ddof=1))
        covariance = np.cov(x, y, ddof=0)
        lin = 2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + difference.mean() ** 2)
        assert drawn.concordance[index] == pytest.approx(lin)


def test_calibration_against_scikit_learn_and_by_hand():
    probability = np.array([0.0, 0.04, 0.2, 0.25, 0.9, 1.0, 0.5])
    truth = np.array([0, 0, 0, 1, 1, 1, 2])
    counts = calibration_counts(probability, truth, bins=10)
    assert counts.pixels.sum() == 6  # the ignored pixel is not there
    assert brier_score(counts.squared_error, counts.pixels) == pytest.approx(
        brier_score_loss(truth[:6], probability[:6])
    )
    # bins 0: mean .02 against 0 (2 pixels); 2: .225 against .5 (2); 9: .95 against 1 (2)
    expected = (2 * 0.02 + 2 * 0.275 + 2 * 0.05) / 6
    assert expected_calibration_error(counts.pixels, counts.probability, counts.lesion) == pytest.approx(expected)
    assert calibration_counts(probability, truth, above=0.1).pixels.sum() == 4


def test_froc_by_hand():
    truth, probability = np.zeros((20, 20), dtype=np.uint8), np.zeros((20, 20))
    truth[2:4, 2:4], truth[10:12, 10:12], truth[16:18, 2:4] = 1, 1, 2
    probability[2:4, 2:4] = 0.9  # found at 0.8
    probability[10:12, 10:12] = 0.3  # found only at 0.2
    probability[5, 15] = 0.6  # false from 0.5 downwards
    probability[16:18, 2:4] = 0.95  # on ignored pixels: never counts
    counts = froc_counts(probability, truth, thresholds=np.array([0.2, 0.5, 0.8]))
    assert counts.lesions == 2
    assert counts.detected.tolist() == [2, 1, 1]
    assert counts.false_positives.tolist() == [1, 1, 0]
    rates = sensitivity_at(counts.detected / 2, counts.false_positives, (0.5, 1.0))
    assert rates.tolist() == [0.5, 1.0]


def test_a_finding_keeps_its_outline_at_every_confidence():
    truth, probability = np.zeros((30, 30), dtype=np.uint8), np.zeros((30, 30))
    truth[5:15, 5:15] = 1
    probability[5:15, 5:15] = 0.6
    probability[9, 9] = 0.99  # one sure pixel in a hundred: alone it would be below an IoU of 0.1
    probability[20:25, 5:15] = 0.2  # a second hot spot, less sure
    probability[26:28, 20:22] = 0.55  # a false one
    findings, confidence = confident_findings(probability, [0.1, 0.3], 0.5)
    assert confidence.tolist() == [0.99, 0.55, 0.2]
    assert [int((findings == label).sum()) for label in (1, 2, 3)] == [100, 4, 50]
    counts = froc_counts(probability, truth, thresholds=np.array([0.1, 0.5, 0.9]))
    assert counts.detected.tolist() == [1, 1, 1]
    assert counts.false_positives.tolist() == [2, 1, 0]


def test_one_giant_component_finds_nothing_in_the_froc():
    truth = np.zeros((40, 40), dtype=np.uint8)
    truth[5:8, 5:8] = 1
    counts = froc_counts(np.full((40, 40), 0.4), truth, thresholds=np.array([0.3, 0.5]))
    assert counts.detected.tolist() == [0, 0]
    assert counts.false_positives.tolist() == [1, 0]


def test_sensitivity_is_zero_where_every_threshold_makes_more_mistakes():
    assert sensitivity_at(np.array([0.9, 0.5]), np.array([8.0, 3.0]), (1.0, 3.0, 10.0)).tolist() == [0, 0.5, 0.9]


def test_bootstrap_interval_covers_like_the_t_interval():
    values = np.random.default_rng(2).normal(0.6, 0.1, 80)
    weights = resampling_weights(80, 4000, seed=0)
    assert np.array_equal(weights.sum(axis=1), np.full(4000, 80))
    assert np.array_equal(weights, resampling_weights(80, 4000, seed=0))
    low, high = percentile_interval(weights @ values / 80)
    expected = stats.t.interval(0.95, 79, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.003)


def test_interval_without_enough_values():
    assert np.isnan(percentile_interval(np.array([np.nan, np.nan, 0.5]))).all()
    assert percentile_interval(np.array([0.2, 0.2, np.nan])) == (0.2, 0.2)
    with pytest.raises(ValueError, match="patients=0"):
        resampling_weights(0, 10)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    corrected = holm([0.02, float("nan"), 0.5])
    assert corrected[0] == pytest.approx(0.04)  # two tests, not three
    assert np.isnan(corrected[1])


def test_paired_comparison_matches_scipy():
    rng = np.random.default_rng(4)
    dice = rng.uniform(0.3, 0.9, 30)
    better = {"dice": [*dice + rng.normal(0.05, 0.03, 30)], "same": [*dice]}
    tests = compare_paired({"dice": [*dice], "same": [*dice]}, better, resamples=500)
    p = stats.wilcoxon(np.array(better["dice"]) - dice).pvalue
    assert tests[0].p == pytest.approx(p)
    assert tests[0].p_holm == pytest.approx(2 * p)
    assert 0 < tests[0].low < tests[0].difference < tests[0].high
    assert (tests[1].difference, tests[1].p) == (0, 1)
    with pytest.raises(ValueError, match="different metrics"):
        compare_paired({"dice": [1]}, {"iou": [1]})
    with pytest.raises(ValueError, match="2 patients"):
        compare_paired({"dice": [1, 2]}, {"dice": [1]})


def test_compare_patients_reads_tables_and_leaves_out_who_has_no_value(tmp_path):
    first, second, third = (tmp_path / f"{name}.csv" for name in "abc")
    first.write_text("patient,dice\np1,0.5\np2,\np3,0.25\n")
    second.write_text("patient,dice\np3,0.75\np1,0.75\np2,0.9\n")
    third.write_text("patient,dice\np1,0.5\n")
    (test,) = compare_patients(first, second, ["dice"])
    assert (test.patients, test.difference) == (2, 0.375)
    with pytest.raises(InputError, match="different patients"):
        compare_patients(first, third, ["dice"])
    with pytest.raises(InputError, match="is not a patients.csv"):
        compare_patients(first, second, ["iou"])


@pytest.mark.parametrize(
    ("seed", "pairs", "false", "missed", "segmentation", "panoptic"),
    [
        (0, 20, 33, 41, 0.681216934221025, 0.2390234856915877),
        (1, 23, 38, 37, 0.6707058704427713, 0.25497909124270646),
        (2, 26, 25, 28, 0.6639146715123782, 0.32879583732041584),
        (3, 28, 27, 35, 0.6740846383759099, 0.31990457414449963),
    ],
)
def test_panoptic_quality_is_that_of_panoptica(seed, pairs, false, missed, segmentation, panoptic):
    """Reference: panoptica 2.1.7 on the same 8-connected components, matched one to one at IoU 0.5."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.normal(size=(200, 120)), 3) for _ in range(2)]
    match = overlap_lesions(smooth[0] + 0.5 * smooth[1] > 0.1, smooth[0] > 0.1).match(0.5)
    counts = match.counts
    assert (counts.detected, counts.false_positives, counts.lesions - counts.detected) == (pairs, false, missed)
    assert match.iou_sum / pairs == pytest.approx(segmentation)
    assert match.iou_sum / (pairs + (false + missed) / 2) == pytest.approx(panoptic)
