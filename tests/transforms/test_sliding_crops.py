from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer

from bonemets.errors import InputError
from bonemets.transforms import SlidingCropsd, all_crops


def scan(rows: int = 1024, columns: int = 256) -> dict:
    image = torch.arange(rows * columns, dtype=torch.float32).reshape(1, rows, columns)
    return {"image": image, "label": torch.zeros(1, rows, columns, dtype=torch.uint8), "patient": "p"}


def test_seven_crops_of_the_papers_size() -> None:
    item = scan()
    crops = SlidingCropsd(keys=["image", "label"])(item)
    assert len(crops) == 7
    for number, crop in enumerate(crops):
        assert torch.equal(crop["image"], item["image"][:, 128 * number : 128 * number + 256])
        assert crop["label"].shape == (1, 256, 256)
        assert crop["patient"] == "p"
    assert item["image"].shape == (1, 1024, 256)


@pytest.mark.parametrize("shape", [(1000, 256), (300, 300), (100, 60), (256, 257)])
def test_positions_are_those_of_inference(shape: tuple[int, int]) -> None:
    """Also where the scan is no multiple of the stride, or smaller than a crop."""
    seen: list[torch.Tensor] = []

    def network(windows: torch.Tensor) -> torch.Tensor:
        seen.extend(windows)
        return windows

    item = scan(*shape)
    SlidingWindowInferer(roi_size=(256, 256), sw_batch_size=1, overlap=0.5)(item["image"][None], network)
    crops = SlidingCropsd(keys=["image", "label"])(item)
    assert len(crops) == len(seen)
    assert all(torch.equal(crop["image"], window) for crop, window in zip(crops, seen, strict=True))


def test_empty_crops_can_be_left_out() -> None:
    item = scan()
    item["label"][0, 700, 10] = 1
    item["label"][0, 100, 10] = 2  # to ignore: no lesion
    crops = SlidingCropsd(keys=["image", "label"], empty_crops=False)(item)
    assert [int(crop["image"][0, 0, 0]) // 256 for crop in crops] == [512, 640]
    assert all(1 in crop["label"] for crop in crops)
    assert SlidingCropsd(keys=["image", "label"], empty_crops=False)(scan()) == []


def test_the_affine_moves_along() -> None:
    item = {"image": MetaTensor(scan()["image"], affine=torch.diag(torch.tensor([-2.0, 3.0, 1.0, 1.0])))}
    crops = SlidingCropsd(keys="image", size=(128, 64), stride=(128, 64))(item)
    assert len(crops) == 32
    assert crops[5]["image"].affine[:2, 3].tolist() == [-256.0, 192.0]


def test_one_list_of_crops_of_all_scans() -> None:
    assert all_crops([[{"a": 1}, {"a": 2}], [], [{"a": 3}]]) == [{"a": 1}, {"a": 2}, {"a": 3}]
    with pytest.raises(InputError, match="none of the 2 training images shows a lesion"):
        all_crops([[], []])


@pytest.mark.parametrize("wrong", [{"size": (256,)}, {"size": (0, 256)}, {"stride": (128, -1)}])
def test_wrong_sizes_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SlidingCropsd(keys="image", **wrong)


def test_same_crops_every_time() -> None:
    item = scan()
    item["image"] = torch.from_numpy(np.random.default_rng(0).random((1, 700, 256), dtype=np.float32))
    item["label"] = torch.zeros(1, 700, 256)
    first, second = (SlidingCropsd(keys=["image", "label"])(item) for _ in range(2))
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, second, strict=True))
