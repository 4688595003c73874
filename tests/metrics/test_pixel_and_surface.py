"""Pixel and outline metrics against scikit-learn and MONAI, and the rule that ignored pixels have no influence."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from bonemets.metrics import pixel
from bonemets.metrics.pixel import count_pixels
from bonemets.metrics.surface import surface_distances


def random_case(seed: int, ignore: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a label of blobs that overlap in part."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.normal(size=(60, 50)), 3) for _ in range(3)]
    truth = (smooth[0] > 0.08).astype(np.uint8)
    if ignore:
        truth[smooth[1] > 0.1] = 2
    return smooth[0] + 0.5 * smooth[2] > 0.08, truth


@pytest.mark.parametrize("seed", range(3))
def test_pixel_metrics_match_scikit_learn(seed):
    prediction, truth = random_case(seed, ignore=True)
    counts = count_pixels(prediction, truth)
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    y, x = truth[truth != 2], prediction[truth != 2].astype(int)
    assert (tn, fp, fn, tp) == tuple(sk.confusion_matrix(y, x).ravel())
    assert pixel.dice(tp, fp, fn) == pytest.approx(sk.f1_score(y, x))
    assert pixel.iou(tp, fp, fn) == pytest.approx(sk.jaccard_score(y, x))
    assert pixel.precision(tp, fp) == pytest.approx(sk.precision_score(y, x))
    assert pixel.recall(tp, fn) == pytest.approx(sk.recall_score(y, x))
    assert pixel.macro_dice(tp, fp, fn, tn) == pytest.approx(sk.f1_score(y, x, average="macro"))
    assert pixel.mean_iou(tp, fp, fn, tn) == pytest.approx(sk.jaccard_score(y, x, average="macro"))
    assert pixel.mean_pixel_accuracy(tp, fp, fn, tn) == pytest.approx(sk.balanced_accuracy_score(y, x))
    assert pixel.mean_precision(tp, fp, fn, tn) == pytest.approx(sk.precision_score(y, x, average="macro"))


def test_a_hand_worked_image():
    # 2 right, 1 too many, 2 missed, 3 right background; the ninth pixel is ignored.
    counts = count_pixels(np.array([1, 1, 1, 0, 0, 0, 0, 0, 1]), np.array([1, 1, 0, 1, 1, 0, 0, 0, 2]))
    assert (counts.tp, counts.fp, counts.fn, counts.tn) == (2, 1, 2, 3)
    assert pixel.dice(2, 1, 2) == pytest.approx(4 / 7)
    assert pixel.macro_dice(2, 1, 2, 3) == pytest.approx((4 / 7 + 6 / 9) / 2)
    assert pixel.mean_iou(2, 1, 2, 3) == pytest.approx((2 / 5 + 3 / 6) / 2)


def test_macro_dice_of_the_ct_paper_follows_from_its_miou():
    """Full model: mIoU 83.97, Dice printed 90.50. With a background IoU of .995 the lesion's Dice is .813."""
    lesion_iou = 2 * 0.8397 - 0.995
    lesion_dice, background_dice = (2 * v / (1 + v) for v in (lesion_iou, 0.995))
    assert lesion_dice == pytest.approx(0.813, abs=5e-4)
    assert (lesion_dice + background_dice) / 2 == pytest.approx(0.9050, abs=2e-4)


def test_nothing_to_count():
    assert pixel.dice(0, 0, 0) == 1
    assert pixel.dice(0, 3, 0) == 0
    assert np.isnan(pixel.dice(0, 0, 0, empty=float("nan")))
    assert np.isnan(pixel.precision(0, 0))
    assert np.isnan(pixel.recall(0, 0))
    assert pixel.macro_dice(0, 0, 0, 9) == 1


@pytest.mark.parametrize("seed", range(4))
def test_surface_metrics_match_monai(seed):
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    prediction, truth = random_case(seed)
    spacing = (2.26, 1.5)
    distances = surface_distances(prediction, truth, spacing)
    x, y = (torch.tensor(np.asarray(mask, dtype=np.float32))[None, None] for mask in (prediction, truth))
    for percentile in (95, 100):
        monai = compute_hausdorff_distance(x, y, include_background=True, percentile=percentile, spacing=spacing)
        assert distances.hausdorff(percentile) == pytest.approx(monai.item(), rel=1e-5)
    for tolerance in (0.0, 2.3, 5.0):
        monai = compute_surface_dice(x, y, [tolerance], include_background=True, spacing=spacing)
        assert distances.surface_dice(tolerance) == pytest.approx(monai.item(), rel=1e-5)


def test_surface_of_two_pixels_by_hand():
    prediction, truth = np.zeros((9, 9)), np.zeros((9, 9))
    prediction[2, 2], truth[5, 6] = 1, 1  # 3 rows of 2 mm and 4 columns of 2 mm apart: 10 mm
    distances = surface_distances(prediction, truth, (2.0, 2.0))
    assert distances.hausdorff(95) == pytest.approx(10)
    assert distances.surface_dice(9.9) == 0
    assert distances.surface_dice(10.0) == 1


def test_surface_of_empty_masks():
    nothing, something = np.zeros((5, 5)), np.eye(5)
    assert np.isnan(surface_distances(nothing, nothing).surface_dice(1))
    for one, other in ((nothing, something), (something, nothing)):
        assert np.isnan(surface_distances(one, other).hausdorff())
        assert surface_distances(one, other).surface_dice(100) == 0


@pytest.mark.parametrize("seed", range(3))
def test_ignored_pixels_have_no_influence(seed):
    from bonemets.metrics.calibration import calibration_counts

    prediction, truth = random_case(seed, ignore=True)
    other = np.where(truth == 2, ~prediction, prediction)
    assert (other != prediction).any()
    assert count_pixels(prediction, truth) == count_pixels(other, truth)
    one, two = surface_distances(prediction, truth), surface_distances(other, truth)
    assert (one.hausdorff(), one.surface_dice(1)) == (two.hausdorff(), two.surface_dice(1))
    first, second = (calibration_counts(p.astype(float), truth) for p in (prediction, other))
    assert np.array_equal(first.pixels, second.pixels)
    assert first.squared_error == second.squared_error


@pytest.mark.parametrize("function", [count_pixels, surface_distances])
def test_shapes_must_be_the_same(function):
    with pytest.raises(ValueError, match="must agree"):
        function(np.zeros((2, 2)), np.zeros((2, 3)))
