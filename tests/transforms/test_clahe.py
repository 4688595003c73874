from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bonemets.transforms import Clahe, Clahed


def slow_clahe(levels: np.ndarray, limit: float, tiles: tuple[int, int]) -> np.ndarray:
    """CLAHE as it is described, pixel by pixel; sides are multiples of the tiles."""
    height, width = levels.shape[0] // tiles[0], levels.shape[1] // tiles[1]
    area = height * width
    maps = {}
    for row in range(tiles[0]):
        for column in range(tiles[1]):
            counts = [0] * 256
            for value in levels[row * height : (row + 1) * height, column * width : (column + 1) * width].ravel():
                counts[value] += 1
            highest = max(int(limit * area / 256), 1)
            excess = sum(max(count - highest, 0) for count in counts)
            counts = [min(count, highest) + excess // 256 for count in counts]
            rest = excess % 256
            for level in range(0, 256, max(256 // rest, 1) if rest else 256):
                if rest > 0:
                    counts[level] += 1
                    rest -= 1
            maps[row, column] = np.cumsum(counts) / area
    result = np.zeros(levels.shape)
    for y in range(levels.shape[0]):
        for x in range(levels.shape[1]):
            down, across = y / height - 0.5, x / width - 0.5
            for row, by_row in ((np.floor(down), 1 - down % 1), (np.floor(down) + 1, down % 1)):
                for column, by_column in ((np.floor(across), 1 - across % 1), (np.floor(across) + 1, across % 1)):
                    tile = (int(np.clip(row, 0, tiles[0] - 1)), int(np.clip(column, 0, tiles[1] - 1)))
                    result[y, x] += by_row * by_column * maps[tile][levels[y, x]]
    return result


@pytest.mark.parametrize("limit", [1.0, 2.0, 40.0])
@pytest.mark.parametrize("tiles", [(2, 2), (4, 3), (1, 1)])
def test_equals_the_description(limit: float, tiles: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.linspace(0, 1, 48), np.linspace(0, 0.5, 60)) / 1.5
    levels = np.rint(255 * np.clip(smooth + rng.normal(0, 0.02, smooth.shape), 0, 1)).astype(int)
    levels[10:30, 20:40] = 17
    result = Clahe(limit, tiles)((levels / 255).astype(np.float32)[None])
    assert np.allclose(result[0], slow_clahe(levels, limit, tiles), atol=1e-5)


def test_raises_contrast_within_the_limit() -> None:
    rng = np.random.default_rng(1)
    image = (0.5 + 0.01 * rng.standard_normal((1, 128, 128))).astype(np.float32)
    weak, strong = (Clahe(limit)(image).std() / image.std() for limit in (2.0, 8.0))
    # What is cut off is spread over all levels, which adds at most 1 to the slope.
    assert 1 < weak < 3.01
    assert weak < strong < 9.01


def test_sides_that_tiles_do_not_fit() -> None:
    image = np.random.default_rng(2).random((2, 101, 122, 3), dtype=np.float32)
    result = Clahe()(image)
    assert result.shape == image.shape
    assert result.min() >= 0
    assert result.max() <= 1 + 1e-6
    # Every channel and slice by itself.
    assert np.array_equal(result[1:, :, :, 2], Clahe()(image[1:, :, :, 2]))


def test_dictionary_keeps_the_metadata() -> None:
    image = MetaTensor(torch.rand(1, 32, 32), meta={"format": "dicom"})
    result = Clahed("image")({"image": image, "label": 1})
    assert result["image"].meta["format"] == "dicom"
    assert result["label"] == 1
    assert torch.allclose(result["image"], Clahe()(image))


@pytest.mark.parametrize("arguments", [{"clip_limit": 0.5}, {"tiles": (8,)}, {"tiles": (0, 8)}])
def test_arguments(arguments: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Clahe(**arguments)
    with pytest.raises(ValueError, match="img"):
        Clahe()(np.zeros((8, 8), np.float32))
