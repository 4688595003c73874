"""Pixel measures of `bonemets.metrics` during training, as an ignite metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from ignite.metrics import Metric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

from bonemets.metrics.lesions import IGNORE
from bonemets.metrics.pixel import MEASURES, PixelCounts, measure


class PixelMetric(Metric):
    """A measure of the pixels of a validation, pooled or as the mean over its images.

    MONAI's metrics average over the classes of a one-hot encoding and know no pixels to ignore: after `IgnoreRegiond`
    an ignored pixel is background that was rightly called so, which Dice, precision and recall of the lesion never
    see, but every mean with the background does. This one leaves such pixels out. In a bundle's configuration::

        validate:
          additional_metrics:
            val_mean_iou: {_target_: bonemets.handlers.PixelMetric, measure: mean_iou}
            val_dice_per_image: {_target_: bonemets.handlers.PixelMetric, measure: dice, per_image: true}

    In a distributed run the counts of all processes are added.

    Args:
        measure: "dice", "iou", "precision", "recall", "macro_dice", "mean_iou", "mean_pixel_accuracy" or
            "mean_precision"; docs/reference/metrics.md has the formulas.
        per_image: the mean over the images that define it, in place of the measure of all their pixels together. An
            image without lesions has a Dice and an IoU of 1 if nothing was found in it, and 0 otherwise.
        output_transform: from the engine's output to a list of dicts, one per image, with ``pred`` and ``label``, both
            (1, H, W) and binary, and ``ignored`` where `IgnoreRegiond` left it (a label of 2 is ignored too).

    Raises:
        ValueError: if `measure` is none of these.
    """

    def __init__(
        self,
        measure: str,
        per_image: bool = False,
        output_transform: Callable[[Any], Any] = lambda output: output,
    ) -> None:
        if measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {measure!r}")
        self.measure = measure
        self.per_image = per_image
        super().__init__(output_transform)

    @reinit__is_reduced
    def reset(self) -> None:
        """Begin to count."""
        self._counts = torch.zeros(4, dtype=torch.float64)
        self._sum = torch.zeros(1, dtype=torch.float64)
        self._number = torch.zeros(1, dtype=torch.float64)

    @reinit__is_reduced
    def update(self, output: Sequence[Mapping[str, Any]]) -> None:
        """Count the pixels of a batch."""
        for item in output:
            counts = count_item(item)
            self._counts += torch.tensor([counts.tp, counts.fp, counts.fn, counts.tn], dtype=torch.float64)
            value = measure(self.measure, counts)
            if not math.isnan(value):
                self._sum += value
                self._number += 1

    @sync_all_reduce("_counts", "_sum", "_number")
    def compute(self) -> float:
        """The measure; NaN where nothing defines it."""
        if self.per_image:
            return float(self._sum / self._number)
        return float(measure(self.measure, PixelCounts(*(int(count) for count in self._counts))))


def count_item(item: Mapping[str, Any]) -> PixelCounts:
    """Count the pixels of an image after post-processing: ``pred``, ``label``, and ``ignored`` where there is any."""
    found, truth = item["pred"] > 0, item["label"]
    counted = truth != IGNORE
    if item.get("ignored") is not None:
        counted = counted & ~item["ignored"].bool()
    lesion = truth > 0
    tp, fp, fn, tn = (
        int((part & counted).sum()) for part in (found & lesion, found & ~lesion, ~found & lesion, ~found & ~lesion)
    )
    return PixelCounts(tp, fp, fn, tn)
