"""The bladder out of a whole-body bone scan."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.transforms.body import body_mask, find_shoulders
from bonemets.transforms.views import map_views

# Where the middle of a bladder lies, as shares of the body's height: below the shoulders, and beside the midline, which
# is read from the rows between ILIAC_ROW and the bladder's first. In 100 simulated patients it lay at 0.287 to 0.338
# and within 0.010; in the NEMA NM1 scan at 0.306 and 0.008.
ILIAC_ROW = 0.24
BLADDER_ROWS = (0.286, 0.345)
FROM_MIDLINE = 0.015
# What it looks like where it rises more than half above its surroundings: square roots of its area, and its longer
# side, as shares of the body's height (9 to 33 and 47 pixels of 2.26 mm in 1.77 m). Sacral lesions are often higher
# than wide, or several that run together.
AREA_ROOT = (0.0115, 0.042)
LONGEST_SIDE = 0.06
# From the top of the head to the shoulders is this share of the body's height (feet that point down included).
HEAD_AND_NECK = 0.138


def find_bladder(view: NDArray, contrast: float = 2.0) -> NDArray[np.bool_]:
    """Find the filled bladder in one view, from the body's outline and the counts.

    It is the hottest spot on the midline of the lower pelvis, if that spot is clearly hotter than normal bone, as large
    as a bladder, and not higher than wide.

    Args:
        view: counts as displayed, (H, W), rows head to feet, anterior or posterior.
        contrast: how many times as hot as hot normal bone (90th percentile of the body's pixels) it must be.

    Returns:
        (H, W), the outline halfway between its peak and its surroundings; all False where no bladder is found, such as
        in views without head and shoulders, by which it is looked for.
    """
    nothing = np.zeros(view.shape, dtype=bool)
    body, shoulders = body_mask(view), find_shoulders(view)
    if shoulders is None:
        return nothing
    body_rows = np.flatnonzero(ndimage.median_filter(body.sum(axis=1), size=5) >= 10)
    top, last = int(body_rows[0]), int(body_rows[-1])
    # Where the legs leave the picture, head and neck tell the height.
    height = last - top if last < len(view) - 5 else (shoulders - top) / HEAD_AND_NECK
    iliac, first, stop = (shoulders + round(share * height) for share in (ILIAC_ROW, *BLADDER_ROWS))
    reach = round(FROM_MIDLINE * height)
    if stop + reach >= len(view):
        return nothing
    # Half of the upper pelvis lies on either side of the midline; the root keeps hot spots from moving it.
    profile = np.cumsum(np.sqrt(np.maximum(view[iliac:first], 0)).sum(axis=0, dtype=np.float64))
    middle = int(np.searchsorted(profile, profile[-1] / 2))

    smooth = ndimage.gaussian_filter(np.maximum(view, 0).astype(np.float32), 2.0)
    left = max(middle - reach, 0)
    window = smooth[first : stop + 1, left : middle + reach + 1]
    peak, hottest = float(window.max()), np.unravel_index(np.argmax(window), window.shape)
    row, column = int(hottest[0]) + first, int(hottest[1]) + left
    if peak < contrast * float(np.percentile(view[body], 90)):
        return nothing
    pelvis = np.s_[first - reach : stop + reach, max(middle - 3 * reach, 0) : middle + 3 * reach]
    surroundings = float(np.median(smooth[pelvis][body[pelvis]]))
    parts, _ = ndimage.label(smooth > (peak + surroundings) / 2)
    spot = parts == parts[row, column]
    rows, columns = np.nonzero(spot)
    tall, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    lies_there = first <= rows.mean() <= stop and abs(columns.mean() - middle) <= reach
    looks_so = AREA_ROOT[0] <= np.sqrt(spot.sum()) / height <= AREA_ROOT[1] and tall <= wide <= LONGEST_SIDE * height
    return spot if lies_there and looks_so else nothing


class RemoveBladder(Transform):
    """Lower a filled bladder to the level of its surroundings.

    Xie et al. 2025, "Data preprocessing", step 2: "Extremely high radiation values in non-lesion hot spots can lead to
    the 'big numbers eat small numbers' phenomenon". How the bladder is found and what replaces it is not said. Here
    `find_bladder` finds it in each view from outline and counts, never from labels. Its outline is widened by the
    camera's blur, and what is hotter there than the pixels around is set to their mean, weighted by nearness. Label
    maps stay as they are: a lesion behind the bladder remains one.

    On simulated patients (no truth of this kind exists for real ones) ``scripts/simulation/measure_bladder.py``
    measures how often it finds the bladder and what it takes from lesions; the card of
    ``spect_multi_attention_segmentation`` has numbers.

    Args:
        contrast: how many times as hot as hot normal bone a bladder must be to be removed.
        margin: pixels by which its outline is widened, more for a very hot one; 8 are 18 mm at 2.26 mm a pixel.

    Raises:
        ValueError: if the contrast is not positive or the margin negative.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, contrast: float = 2.0, margin: int = 8) -> None:
        if contrast <= 0:
            raise ValueError(f"contrast must be positive, got {contrast}")
        if margin < 0:
            raise ValueError(f"margin must be at least 0, got {margin}")
        self.contrast = contrast
        self.margin = margin

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Remove the bladder from counts (1, H, W), or (1, H, W, V) view by view; the result is float32."""
        return map_views(img, self.remove)

    def remove(self, view: NDArray[np.float32]) -> NDArray[np.float32]:
        """Remove the bladder from one view, (H, W)."""
        bladder = find_bladder(view, self.contrast)
        if not bladder.any():
            return view
        # A very hot one is seen farther around its outline, by blur and scatter: from 6 times bone on, 4 pixels per
        # doubling.
        heat = float(np.percentile(view[bladder], 90)) / float(np.percentile(view[body_mask(view)], 90))
        margin = self.margin + 4 * max(np.log2(max(heat, 1e-6) / 6), 0)
        region = ndimage.distance_transform_edt(~bladder) <= margin
        # The weights reach half of the bladder's width, so that its middle gets a level too.
        reach = max(margin, float(np.sqrt(bladder.sum())) / 2, 1.0)
        weight = ndimage.gaussian_filter((~region).astype(np.float32), reach)
        level = ndimage.gaussian_filter(np.where(region, 0, view), reach) / np.maximum(weight, 1e-6)
        return np.where(region, np.minimum(view, level), view).astype(np.float32)


class RemoveBladderd(MapTransform):
    """Dictionary-based `RemoveBladder`.

    Args:
        keys: keys of the images.
        contrast: see `RemoveBladder`.
        margin: see `RemoveBladder`.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = RemoveBladder.backend

    def __init__(
        self, keys: KeysCollection, contrast: float = 2.0, margin: int = 8, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = RemoveBladder(contrast, margin)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Remove the bladder from the images under the keys."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key])
        return result
