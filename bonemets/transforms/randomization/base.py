"""What the transforms of domain randomization share: arrays out of dictionaries, the body's frame, hot shapes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_data_type, convert_to_dst_type
from numpy.typing import NDArray

Range = tuple[float, float]


class RandomizedView(RandomizableTransform, MapTransform):
    """A random change of the counts of one view, with what is known of it: label map and map of the bones.

    A subclass implements `change`. Everything random comes from ``self.R``, so that MONAI's seeding rules.

    Args:
        image_key: key of the counts, (1, H, W), before normalization.
        label_key: key of the label map (0 background, 1 lesion, 2 ignore), (1, H, W).
        bones_key: key of the map of the bones (0: none), (1, H, W); see `bonemets simulate`.
        prob: probability that a view is changed.
    """

    def __init__(
        self, image_key: str = "image", label_key: str = "label", bones_key: str = "bones", prob: float = 1.0
    ) -> None:
        MapTransform.__init__(self, [image_key])
        RandomizableTransform.__init__(self, prob)
        self.image_key, self.label_key, self.bones_key = image_key, label_key, bones_key

    def change(
        self, counts: NDArray[np.float32], label: NDArray[np.uint8], bones: NDArray[np.uint8], data: Mapping
    ) -> tuple[NDArray, NDArray]:
        """Change the counts and the label map, all (H, W); ``data`` is the dictionary that they come from."""
        raise NotImplementedError

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Change what is under the keys; label map and bones may be missing."""
        result = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return result
        image = result[self.image_key]
        counts = convert_data_type(image, np.ndarray, dtype=np.float32)[0][0]
        label, bones = (
            convert_data_type(result[key], np.ndarray, dtype=np.uint8)[0][0]
            if key in result
            else np.zeros(counts.shape, np.uint8)
            for key in (self.label_key, self.bones_key)
        )
        counts, label = self.change(counts.copy(), label.copy(), bones, result)
        result[self.image_key] = convert_to_dst_type(np.maximum(counts, 0)[None], image, dtype=np.float32)[0]
        if self.label_key in result:
            result[self.label_key] = convert_to_dst_type(label[None], result[self.label_key], dtype=np.uint8)[0]
        return result

    def between(self, limits: Range) -> float:
        """A number between two limits, uniform."""
        return float(self.R.uniform(*limits))

    def log_between(self, limits: Range) -> float:
        """A number between two positive limits, uniform in its logarithm."""
        return float(np.exp(self.R.uniform(*np.log(limits))))


@dataclass(frozen=True)
class Frame:
    """Where the body lies in a view.

    Args:
        top: first row of the skeleton.
        height: its rows.
        middle: column of the midline.
        reference: 90th percentile of the counts on bone, about the level of hot normal bone.
    """

    top: int
    height: int
    middle: float
    reference: float

    def row(self, share: float) -> float:
        """The row at a share of the height: 0 the vertex, 1 the toes."""
        return self.top + share * self.height


def body_frame(counts: NDArray, bones: NDArray) -> Frame | None:
    """The frame of a view, read from the map of its bones; None where there is none.

    The midline is the median column of the bones between 20 and 45 % of the height: rib cage and spine.
    """
    rows = np.flatnonzero(bones.any(axis=1))
    if len(rows) < 10:
        return None
    top, height = int(rows[0]), int(rows[-1] - rows[0])
    columns = np.nonzero(bones[top + height // 5 : top + 9 * height // 20])[1]
    if not len(columns):
        return None
    return Frame(top, height, float(np.median(columns)), float(np.percentile(counts[bones > 0], 90)))


def grid(shape: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Row and column of every pixel, as open grids."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return rows.astype(np.float32), columns.astype(np.float32)


def super_ellipse(
    shape: tuple[int, ...], center: Range, radii: Range, angle: float = 0.0, power: float = 2.0
) -> NDArray[np.bool_]:
    """A filled super-ellipse: ``|v / ry|^power + |u / rx|^power < 1``, turned by ``angle`` (radians)."""
    rows, columns = grid(shape)
    y, x = rows - np.float32(center[0]), columns - np.float32(center[1])
    v, u = np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x
    return np.asarray(np.abs(v / radii[0]) ** power + np.abs(u / radii[1]) ** power < 1)


def gaussian_spot(shape: tuple[int, ...], center: Range, sigmas: Range, angle: float = 0.0) -> NDArray[np.float32]:
    """A Gaussian of height 1, turned by ``angle`` (radians)."""
    rows, columns = grid(shape)
    y, x = rows - np.float32(center[0]), columns - np.float32(center[1])
    v, u = np.cos(angle) * y - np.sin(angle) * x, np.sin(angle) * y + np.cos(angle) * x
    return np.asarray(np.exp(-(v**2) / (2 * sigmas[0] ** 2) - u**2 / (2 * sigmas[1] ** 2)), np.float32)
