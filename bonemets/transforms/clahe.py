"""Contrast-limited adaptive histogram equalization, which MONAI lacks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_data_type, convert_to_dst_type
from numpy.typing import NDArray

LEVELS = 256


class Clahe(Transform):
    """Contrast-limited adaptive histogram equalization (CLAHE) of images in 0..1.

    Zuiderveld, "Contrast limited adaptive histogram equalization", Graphics Gems IV (1994), with OpenCV's details: the
    image is cut into tiles; each tile's histogram of 256 levels is clipped, what was cut off is spread over all levels,
    and its running sum is the tile's gray-level map; a pixel's value is interpolated between the maps of the four tiles
    around it. So contrast rises where an image is flat, but never by more than the limit, which keeps noise down.

    It is written here since OpenCV (150 MB installed) would come for this alone, and scikit-image's version stretches
    each image to its own extremes before and after, so that a Hounsfield unit would mean another gray in every slice.

    Deviations:
        - OpenCV rounds maps and results to 8 bits; here they stay fractions. Up to one level of 255 apart.
        - A side that no whole number of tiles fits is mirrored beyond its end; OpenCV then extends the other side too,
          by a whole tile.

    Args:
        clip_limit: largest count of a level, in multiples of the mean count; 1 leaves almost no change of contrast.
        tiles: tiles along the rows and along the columns.

    Raises:
        ValueError: if an argument is not allowed.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, clip_limit: float = 2.0, tiles: Sequence[int] = (8, 8)) -> None:
        if clip_limit < 1:
            raise ValueError(f"clip_limit must be at least 1, got {clip_limit}")
        if len(tiles) != 2 or min(tiles) < 1:
            raise ValueError(f"tiles must be two positive numbers, got {tuple(tiles)}")
        self.clip_limit = float(clip_limit)
        self.tiles = (int(tiles[0]), int(tiles[1]))

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Equalize (C, H, W), or (C, H, W, K), every channel and slice by itself; values outside 0..1 are clipped."""
        array, *_ = convert_data_type(img, np.ndarray, dtype=np.float32)
        if array.ndim not in (3, 4):
            raise ValueError(f"img must be (C, H, W) or (C, H, W, K), got {tuple(array.shape)}")
        planes = np.moveaxis(array.reshape(*array.shape[:3], -1), 3, 1).reshape(-1, *array.shape[1:3])
        equalized = np.stack([self.equalize(plane) for plane in planes])
        equalized = np.moveaxis(equalized.reshape(array.shape[0], -1, *array.shape[1:3]), 1, 3)
        result, *_ = convert_to_dst_type(equalized.reshape(array.shape), img, dtype=np.float32)
        return result

    def equalize(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Equalize one plane, (H, W)."""
        levels = np.rint(np.clip(plane, 0, 1) * (LEVELS - 1)).astype(np.intp)
        size = [-(-length // count) for length, count in zip(levels.shape, self.tiles, strict=True)]
        maps = self._maps(levels, size)
        (upper, lower, down), (left, right, across) = (
            _neighbors(length, tile, count) for length, tile, count in zip(levels.shape, size, self.tiles, strict=True)
        )
        upper, lower, down = upper[:, None], lower[:, None], down[:, None]
        top = maps[upper, left, levels] * (1 - across) + maps[upper, right, levels] * across
        bottom = maps[lower, left, levels] * (1 - across) + maps[lower, right, levels] * across
        return np.asarray(top * (1 - down) + bottom * down, np.float32)

    def _maps(self, levels: NDArray[np.intp], size: Sequence[int]) -> NDArray[np.float32]:
        """The gray-level map of every tile, (tile rows, tile columns, levels) in 0..1."""
        rows, columns = self.tiles
        missing = [(0, tile * count - n) for tile, count, n in zip(size, self.tiles, levels.shape, strict=True)]
        padded = np.pad(levels, missing, mode="reflect" if min(levels.shape) > 1 else "edge")
        tile = np.add.outer(np.arange(padded.shape[0]) // size[0] * columns, np.arange(padded.shape[1]) // size[1])
        counts = np.bincount((tile * LEVELS + padded).ravel(), minlength=rows * columns * LEVELS)
        counts = counts.reshape(rows * columns, LEVELS)
        area = size[0] * size[1]
        limit = max(int(self.clip_limit * area / LEVELS), 1)
        excess = np.maximum(counts - limit, 0).sum(axis=1)
        counts = np.minimum(counts, limit) + (excess // LEVELS)[:, None]
        for histogram, rest in zip(counts, excess % LEVELS, strict=True):
            if rest:
                histogram[:: max(LEVELS // rest, 1)][:rest] += 1
        return np.asarray(counts.cumsum(axis=1) / area, np.float32).reshape(rows, columns, LEVELS)


class Clahed(MapTransform):
    """Dictionary-based `Clahe`.

    Args:
        keys: keys of the images.
        clip_limit: see `Clahe`.
        tiles: see `Clahe`.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = Clahe.backend

    def __init__(
        self,
        keys: KeysCollection,
        clip_limit: float = 2.0,
        tiles: Sequence[int] = (8, 8),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = Clahe(clip_limit, tiles)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Equalize the images under the keys."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key])
        return result


def _neighbors(length: int, tile: int, count: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Per pixel along one side: the tiles whose centers are before and after it, and the weight of the latter."""
    place = (np.arange(length) / tile - 0.5).astype(np.float32)
    before = np.floor(place)
    weight = place - before
    index = before.astype(np.intp)
    return np.clip(index, 0, count - 1), np.clip(index + 1, 0, count - 1), weight
