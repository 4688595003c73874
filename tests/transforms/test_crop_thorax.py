from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from pydicom.data import get_testdata_file

from bonemets.data import read_planar
from bonemets.transforms import CropThorax, CropThoraxd, NormalizeCounts, body_mask, find_shoulders


def standing_body(top: int = 40, rows: int = 1024, columns: int = 256, seed: int = 0) -> tuple[np.ndarray, int]:
    """Counts of a head, a neck, a trunk with arms and two legs; and the row at which the shoulders begin."""
    counts = np.full((rows, columns), 0.3)
    middle = columns // 2
    shoulders = top + 110
    counts[top : top + 85, middle - 38 : middle + 38] = 10
    counts[top + 85 : shoulders, middle - 25 : middle + 25] = 10
    counts[shoulders : shoulders + 250, middle - 95 : middle + 95] = 8
    counts[shoulders + 250 : shoulders + 600, middle - 60 : middle - 15] = 6
    counts[shoulders + 250 : shoulders + 600, middle + 15 : middle + 60] = 6
    counts[top:shoulders, middle - 8 : middle + 8] = 25
    counts[shoulders + 230 : shoulders + 250, middle - 12 : middle + 12] = 400
    return np.random.default_rng(seed).poisson(counts).astype(np.float32), shoulders


@pytest.mark.parametrize("top", [5, 40, 180])
def test_finds_the_shoulders_wherever_the_patient_lies(top: int) -> None:
    counts, shoulders = standing_body(top)
    assert find_shoulders(counts) == pytest.approx(shoulders, abs=5)
    assert find_shoulders(NormalizeCounts()(counts[None])[0]) == pytest.approx(shoulders, abs=5)
    assert find_shoulders(20 * counts) == find_shoulders(counts)


def test_body_mask_is_the_body() -> None:
    counts, _ = standing_body()
    truth = standing_body()[0] > 3
    overlap = (body_mask(counts) & truth).sum() / truth.sum()
    assert overlap > 0.95
    assert body_mask(counts)[:, :20].mean() < 0.01
    assert not body_mask(np.zeros((50, 50))).any()


def test_crops_image_and_label_alike() -> None:
    counts, shoulders = standing_body()
    label = np.zeros_like(counts)
    label[shoulders + 50, 100] = 1
    item = {"image": torch.from_numpy(counts)[None], "label": torch.from_numpy(label)[None]}
    result = CropThoraxd(keys=["image", "label"])(item)
    assert result["image"].shape == result["label"].shape == (1, 256, 256)
    start = find_shoulders(counts) - 16
    assert torch.equal(result["image"], item["image"][:, start : start + 256])
    assert result["label"][0, shoulders + 50 - start, 100] == 1


def test_the_affine_moves_along() -> None:
    counts, _ = standing_body()
    affine = np.diag([-2.0, 3.0, 1.0, 1.0])
    image = MetaTensor(torch.from_numpy(counts)[None], affine=torch.from_numpy(affine))
    result = CropThorax()(image)
    start = find_shoulders(counts) - 16
    assert result.affine[0, 3] == pytest.approx(-2.0 * start)


def test_other_sizes() -> None:
    counts, _ = standing_body(columns=220)
    assert CropThorax()(torch.from_numpy(counts)[None]).shape == (1, 256, 256)
    assert CropThorax(size=(128, 96))(torch.from_numpy(counts)[None]).shape == (1, 128, 96)
    study = torch.from_numpy(np.stack([counts, counts[:, ::-1]], axis=-1).copy())[None]
    assert CropThorax()(study).shape == (1, 256, 256, 2)
    trunk = counts[150:390]
    assert find_shoulders(trunk) is None
    assert CropThorax()(torch.from_numpy(trunk.copy())[None]).shape == (1, 256, 256)
    with pytest.raises(ValueError, match="size"):
        CropThorax(size=(256,))


def test_a_short_field_of_view_stays_inside() -> None:
    counts, shoulders = standing_body()
    image = torch.from_numpy(counts[: shoulders + 160].copy())[None]
    result = CropThorax()(image)
    assert torch.equal(result, image[:, -256:])


def test_real_scan() -> None:
    path = get_testdata_file("JPEG-LL.dcm")
    if path is None:
        pytest.skip("NEMA's scan is not installed; pip install pydicom-data")
    counts = read_planar(path).pixels[..., 0]
    # Read off the picture: the shoulders rise between rows 180 and 195, the skull's top is at row 88.
    assert 178 <= find_shoulders(counts) <= 195
    assert 0.3 < body_mask(counts).mean() < 0.5
    crop = CropThorax()(torch.from_numpy(counts.copy())[None])
    assert crop.shape == (1, 256, 256)
