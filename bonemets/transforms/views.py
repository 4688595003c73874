"""Work on one view of a scan after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from monai.config import NdarrayOrTensor
from monai.utils import convert_data_type, convert_to_dst_type
from numpy.typing import NDArray


def map_views(img: NdarrayOrTensor, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> NdarrayOrTensor:
    """Apply a function to each view of a scan.

    Args:
        img: (1, H, W), or (1, H, W, V).
        function: takes one view, (H, W) float32, and returns one of the same shape.

    Returns:
        The views together, float32, of the shape and kind of `img`.

    Raises:
        ValueError: if `img` has another shape.
    """
    counts, *_ = convert_data_type(img, np.ndarray, dtype=np.float32)
    if counts.ndim not in (3, 4) or counts.shape[0] != 1:
        raise ValueError(f"img must be (1, H, W) or (1, H, W, V), got {tuple(counts.shape)}")
    views = np.moveaxis(counts[0].reshape(*counts.shape[1:3], -1), 2, 0)
    mapped = np.stack([function(view) for view in views], axis=-1).reshape(counts.shape)
    result, *_ = convert_to_dst_type(mapped, img, dtype=np.float32)
    return result
