from __future__ import annotations

import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file
from test_crop_thorax import standing_body

from bonemets.data import read_planar
from bonemets.simulation import load_skeleton, simulate_study
from bonemets.transforms import RemoveBladder, RemoveBladderd, find_bladder

TOP, SHOULDERS, HEIGHT = 40, 150, 710
BLADDER_ROW = SHOULDERS + round(0.315 * HEIGHT)


def body_with_spot(
    row: int = BLADDER_ROW, column: int = 128, size: tuple[int, int] = (9, 12), level: float = 90
) -> tuple:
    """Counts of a body of 710 rows without the hot spots of `standing_body`, with one ellipse; and the ellipse."""
    counts, _ = standing_body(TOP)
    counts[counts > 100] = 8
    middle = np.s_[SHOULDERS : SHOULDERS + 330, 100:156]
    counts[middle] = np.random.default_rng(1).poisson(10, counts[middle].shape)
    rows, columns = np.mgrid[: counts.shape[0], : counts.shape[1]]
    spot = ((rows - row) / size[0]) ** 2 + ((columns - column) / size[1]) ** 2 < 1
    counts[spot] = np.random.default_rng(2).poisson(level, int(spot.sum()))
    legs = np.s_[SHOULDERS + 330 : TOP + HEIGHT, 70:186]
    counts[legs] = np.random.default_rng(3).poisson(8, counts[legs].shape)
    return counts, spot


def test_finds_the_bladder_and_lowers_it_to_its_surroundings() -> None:
    counts, spot = body_with_spot()
    found = find_bladder(counts)
    assert (found & spot).sum() / (found | spot).sum() > 0.8
    without = RemoveBladder()(counts[None])[0]
    assert without[spot].max() < 12
    assert without[spot].mean() == pytest.approx(9, abs=1.5)
    assert (without <= counts).all()
    rows, columns = np.nonzero(without < counts)
    assert np.abs(rows - BLADDER_ROW).max() <= 9 + 14
    assert np.abs(columns - 128).max() <= 12 + 14


@pytest.mark.parametrize("dose", [0.5, 40])
def test_dose_changes_nothing(dose: float) -> None:
    counts, _ = body_with_spot()
    np.testing.assert_allclose(RemoveBladder()(dose * counts[None]), dose * RemoveBladder()(counts[None]), rtol=1e-4)


@pytest.mark.parametrize(
    "spot",
    [
        {"row": BLADDER_ROW - 60},  # lumbar spine
        {"row": BLADDER_ROW + 60},  # thigh
        {"column": 128 + 35},  # hip
        {"size": (5, 5)},  # too small
        {"size": (14, 7)},  # higher than wide, as sacrum and vertebrae
        {"size": (20, 40)},  # too large
        {"level": 14},  # hardly hotter than bone: not what the paper removes
    ],
)
def test_other_hot_spots_stay(spot: dict) -> None:
    counts, _ = body_with_spot(**spot)
    assert not find_bladder(counts).any()
    assert np.array_equal(RemoveBladder()(counts[None])[0], counts)


def test_views_on_their_own_and_labels_untouched() -> None:
    counts, _ = body_with_spot()
    plain, _ = body_with_spot(level=10)
    study = torch.from_numpy(np.stack([counts, plain], axis=-1))[None]
    item = {"image": study, "label": torch.ones(3)}
    result = RemoveBladderd(keys="image")(item)
    np.testing.assert_array_equal(result["image"][0, ..., 0].numpy(), RemoveBladder()(counts[None])[0])
    np.testing.assert_array_equal(result["image"][0, ..., 1].numpy(), plain)
    assert torch.equal(result["label"], item["label"])
    assert study[0, ..., 0].max() == counts.max()  # the input is not changed in place


@pytest.mark.parametrize("shape", [(1, 256, 256), (1, 30, 20)])
def test_pictures_without_head_or_pelvis_stay(shape: tuple[int, ...]) -> None:
    part = body_with_spot()[0][250 : 250 + shape[1], : shape[2]]
    assert np.array_equal(RemoveBladder()(part[None])[0], part)
    assert not RemoveBladder()(np.zeros(shape)).any()


def test_legs_outside_the_picture() -> None:
    """Head and neck tell the height then; those of this body are a little longer than most."""
    counts, spot = body_with_spot(row=BLADDER_ROW + 10)
    shown = slice(0, BLADDER_ROW + 150)
    assert (find_bladder(counts[shown]) & spot[shown]).any()


def test_real_scan() -> None:
    path = get_testdata_file("JPEG-LL.dcm")
    if path is None:
        pytest.skip("NEMA's scan is not installed; pip install pydicom-data")
    counts = read_planar(path).pixels[..., 0].astype(np.float32)
    rows, columns = np.nonzero(find_bladder(counts))
    # Read off the picture: the bladder lies in rows 408 to 430 and columns 128 to 154.
    assert (rows.min(), rows.max()) == (pytest.approx(410, abs=5), pytest.approx(428, abs=5))
    assert (columns.min(), columns.max()) == (pytest.approx(127, abs=5), pytest.approx(154, abs=5))
    lowered = RemoveBladder()(counts[None])[0] < counts
    assert lowered.sum() < 1600
    assert not lowered[:395].any()


def test_simulated_patients_keep_their_lesions() -> None:
    """Two patients of those that scripts/simulation/measure_bladder.py measures."""
    skeleton = load_skeleton()
    for patient in (2, 4):
        study = simulate_study(skeleton, 100, patient)
        counts = study.counts[..., 0].astype(np.float32)
        lowered = RemoveBladder()(counts[None])[0] < counts
        assert 300 < lowered.sum() < 2500
        assert not (lowered & (study.lesions[..., 0] > 0)).any()


def test_wrong_arguments_are_refused() -> None:
    for argument, value in (("contrast", 0), ("margin", -1)):
        with pytest.raises(ValueError, match=argument):
            RemoveBladder(**{argument: value})
    with pytest.raises(ValueError, match=r"img must be \(1, H, W\)"):
        RemoveBladder()(np.zeros((2, 50, 50)))
