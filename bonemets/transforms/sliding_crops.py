"""Overlapping crops of a whole scan, as training images of their own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.data import dense_patch_slices
from monai.transforms import MapTransform, SpatialCrop, SpatialPad

from bonemets.errors import InputError
from bonemets.transforms.label import LESION


class SlidingCropsd(MapTransform):
    """Cut a scan into overlapping crops at fixed positions; the result is a list of items.

    Xie et al. 2025, "Data preprocessing", step 4: crops of 256×256 with a stride of 128, seven from a scan of 1024×256,
    labels cropped alike, and only those that show metastases kept. The positions are those of MONAI's sliding-window
    inference, so that the last row and column of crops end with the scan. A scan smaller than a crop is padded.

    Args:
        keys: keys to crop, (C, H, W); all of one size.
        size: rows and columns of a crop.
        stride: rows and columns from one crop to the next.
        label_key: key of the label map that tells whether a crop shows a lesion.
        empty_crops: whether crops without a lesion pixel (label 1) are kept.
        allow_missing_keys: whether a missing key is no error.

    Raises:
        ValueError: if size or stride are not two positive numbers.
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: Sequence[int] = (256, 256),
        stride: Sequence[int] = (128, 128),
        label_key: str = "label",
        empty_crops: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        for name, pair in (("size", size), ("stride", stride)):
            if len(pair) != 2 or min(pair) < 1:
                raise ValueError(f"{name} must be two positive numbers, got {tuple(pair)}")
        self.size = tuple(size)
        self.stride = tuple(stride)
        self.label_key = label_key
        self.empty_crops = empty_crops
        self.pad = SpatialPad(self.size)

    def __call__(self, data: Mapping[Hashable, Any]) -> list[dict[Hashable, Any]]:
        """Crop what is under the keys; everything else goes into every item."""
        scan = dict(data)
        for key in self.key_iterator(scan):
            scan[key] = self.pad(scan[key])
        first = next(iter(self.key_iterator(scan)))
        crops = []
        for slices in dense_patch_slices(scan[first].shape[1:], self.size, self.stride):
            window = SpatialCrop(roi_slices=list(slices))
            crop = {**scan, **{key: window(scan[key]) for key in self.key_iterator(scan)}}
            if self.empty_crops or (crop[self.label_key] == LESION).any():
                crops.append(crop)
        return crops


def all_crops(scans: Sequence[Sequence[dict[Hashable, Any]]]) -> list[dict[Hashable, Any]]:
    """Put the crops of all scans into one list, so that a batch is drawn from the crops of all scans.

    Args:
        scans: a data set whose items are lists of crops, as `SlidingCropsd` makes them.

    Raises:
        InputError: if there is no crop at all.
    """
    crops = [crop for scan in scans for crop in scan]
    if not crops:
        raise InputError(
            f"none of the {len(scans)} training images shows a lesion: check their label maps, "
            "or train on crops without lesions too (empty_crops: true)"
        )
    return crops
