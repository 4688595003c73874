"""Label maps: what they may hold, and the pixels that do not count.

A label map has 0 for background, 1 for lesion and 2 for *ignore*: lesions that nobody could see, or equivocal spots.
Pixels to ignore count neither for nor against, in no loss (`bonemets.losses.IgnoreLabelLoss`) and no metric.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_data_type, convert_to_dst_type

from bonemets.data.label_values import rounded
from bonemets.errors import InputError
from bonemets.metrics.lesions import IGNORE, LESION


class LesionLabel(Transform):
    """Check a label map and make it uint8: 0 background, 1 lesion, 2 ignore.

    Masks drawn as pictures, with 0 and 255, are read as 0 and 1, and 0.9999 as 1. Anything else is refused: a value
    that slips through would train the network on something that nobody meant.
    """

    backend = [TransformBackends.NUMPY]

    def __call__(self, label: NdarrayOrTensor) -> NdarrayOrTensor:
        """Check a label map of any shape.

        Raises:
            InputError: if it holds other values; names the file if the label map knows it.
        """
        array, *_ = convert_data_type(label, np.ndarray)
        array = rounded(array)
        values = np.unique(array)
        if np.array_equal(values, (0, 255)) or np.array_equal(values, (255,)):
            array = array == 255
        elif not np.isin(values, (0, LESION, IGNORE)).all():
            name = (
                label.meta.get("filename_or_obj", "the label map") if isinstance(label, MetaTensor) else "the label map"
            )
            wrong = ", ".join(f"{value:.7g}" for value in values[~np.isin(values, (0, LESION, IGNORE))][:5])
            raise InputError(
                f"{name} holds {wrong}: a label map has 0 for background, 1 for lesion and 2 for ignore (or 0 and 255)"
            )
        result, *_ = convert_to_dst_type(array.astype(np.uint8), label, dtype=torch.uint8)
        return result


class LesionLabeld(MapTransform):
    """Dictionary-based `LesionLabel`.

    Args:
        keys: keys of the label maps.
        allow_missing_keys: whether a missing key is no error.
    """

    backend = LesionLabel.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = LesionLabel()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Check the label maps under the keys."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key])
        return result


class IgnoreRegiond(MapTransform):
    """Make pixels with label 2 agree with the truth, so that no metric counts them.

    Predictions and label map become background there. With a metric of foreground pixels (Dice, precision, recall,
    surface distances) this is the same as leaving them out. Put it last in a post-processing, before the metrics.

    Args:
        keys: keys of the binary predictions.
        label_key: key of the label map.
        ignore_key: key under which the ignored pixels are kept, for display.
    """

    def __init__(self, keys: KeysCollection, label_key: str = "label", ignore_key: str = "ignored") -> None:
        super().__init__(keys)
        self.label_key = label_key
        self.ignore_key = ignore_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Clean predictions and label map, both (1, H, W[, V])."""
        result = dict(data)
        label = result[self.label_key]
        ignored = label == IGNORE
        result[self.ignore_key] = ignored
        for key in (*self.key_iterator(result), self.label_key):
            kept = result[key].clone()
            kept[ignored] = 0
            result[key] = kept
        return result
