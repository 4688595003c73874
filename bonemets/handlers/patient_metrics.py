"""Lesion-level numbers of a validation, and one row per patient, which two runs can be compared by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Events
from monai.engines import Evaluator

from bonemets.metrics.froc import FrocCounts, froc_counts, operating_point
from bonemets.metrics.image import CRITERIA
from bonemets.metrics.lesions import IGNORE, LesionCounts, overlap_lesions
from bonemets.metrics.pixel import PixelCounts, count_pixels, dice, ratio


@dataclass(frozen=True)
class ImageLesions:
    """What was counted in one image.

    Args:
        pixels: pixels by agreement.
        lesions: lesions and findings, matched at IoU ≥ 0.1.
        froc: the same at every threshold; None for a mask alone.
    """

    pixels: PixelCounts
    lesions: LesionCounts
    froc: FrocCounts | None


class PatientMetrics:
    """Measure lesions during validation: how many are found at how many false findings a scan.

    MONAI's metrics are of pixels. This handler matches connected components and sums over patients; its names and
    formulas are those of docs/reference/metrics.md, and its rows have the columns of ``patients.csv`` of
    ``bonemets evaluate``. Each image of the evaluator's output needs ``pred`` and ``label``, (1, H, W) and binary,
    after `IgnoreRegiond`, and for the free-response ROC ``probability``, a copy of the prediction before its threshold.
    One image of 1024×256 takes a tenth of a second.

    Where validation is split over processes, attach one in each: when the last image is counted they tell each other.
    """

    def __init__(self) -> None:
        self._images: dict[str, list[ImageLesions]] = defaultdict(list)

    def attach(self, engine: Evaluator) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.epoch_started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def epoch_started(self, engine: Evaluator) -> None:
        """Begin to count."""
        self._images.clear()

    def iteration_completed(self, engine: Evaluator) -> None:
        """Count lesions and findings of a batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            path = Path(str(output["image"].meta.get("filename_or_obj", "")))
            self._images[str(item.get("patient", path.parent.name))].append(count_image(output))

    def epoch_completed(self, engine: Evaluator) -> None:
        """Put together what all processes counted."""
        processes = idist.get_world_size()
        if processes == 1:
            return
        parts: list[dict[str, list[ImageLesions]]] = [{} for _ in range(processes)]
        torch.distributed.all_gather_object(parts, dict(self._images))
        self._images.clear()
        for part in parts:
            for patient, images in part.items():
                self._images[patient] += images

    def metrics(self) -> dict[str, float]:
        """The cohort's numbers by the names of ``summary.json``; NaN where one is not defined."""
        images = [image for patient in self._images.values() for image in patient]
        total = sum((image.lesions for image in images), LesionCounts())
        found = {
            "dice_per_image_bearing": _mean_dice(images),
            "sensitivity_iou10": total.sensitivity,
            "false_positives_per_scan_iou10": float(ratio(total.false_positives, len(self._images))),
        }
        if images and all(image.froc is not None for image in images):
            detected, _ = self._at_one_false_positive()
            found["froc_sensitivity_at_1"] = float(ratio(sum(detected.values()), total.lesions))
        return found

    def rows(self) -> list[dict[str, Any]]:
        """One row per patient, in order of appearance; NaN where a number is not defined."""
        has_froc = all(image.froc is not None for images in self._images.values() for image in images)
        detected, false = self._at_one_false_positive() if has_froc else ({}, {})
        rows = []
        for patient, images in self._images.items():
            counts = sum((image.lesions for image in images), LesionCounts())
            row = {
                "patient": patient,
                "images": len(images),
                "lesions": counts.lesions,
                "findings": counts.findings,
                "dice_pooled": float(
                    dice(*(sum(getattr(image.pixels, name) for image in images) for name in ("tp", "fp", "fn")))
                ),
                "dice_per_image_bearing": _mean_dice(images),
                "sensitivity_iou10": counts.sensitivity,
                "false_positives_iou10": counts.false_positives,
            }
            if has_froc:
                row["froc_sensitivity_at_1"] = float(ratio(detected[patient], counts.lesions))
                row["froc_false_positives_at_1"] = false[patient]
            rows.append(row)
        return rows

    def _at_one_false_positive(self) -> tuple[dict[str, int], dict[str, int]]:
        """Lesions found and false findings of each patient where the cohort has at most one false finding a scan."""
        curves = {
            patient: [image.froc for image in images if image.froc is not None]
            for patient, images in self._images.items()
        }
        detected = {patient: np.sum([curve.detected for curve in found], axis=0) for patient, found in curves.items()}
        false = {p: np.sum([curve.false_positives for curve in found], axis=0) for p, found in curves.items()}
        at = operating_point(np.sum(list(detected.values()), axis=0), np.mean(list(false.values()), axis=0))
        if at is None:
            # Marking nothing makes no false finding, and finds nothing.
            return dict.fromkeys(curves, 0), dict.fromkeys(curves, 0)
        return {p: int(v[at]) for p, v in detected.items()}, {p: int(v[at]) for p, v in false.items()}


def count_image(output: Mapping[str, Any]) -> ImageLesions:
    """Count an image after post-processing: ``pred``, ``label``, and ``ignored`` and ``probability`` where they are."""
    mask, truth = (np.asarray(output[key].cpu())[0] for key in ("pred", "label"))
    truth = truth.astype(np.uint8)
    if output.get("ignored") is not None:
        truth[np.asarray(output["ignored"].cpu())[0].astype(bool)] = IGNORE
    froc = None
    if output.get("probability") is not None:
        froc = froc_counts(np.asarray(output["probability"].cpu())[0], truth)
    lesions = overlap_lesions(mask, truth).match(CRITERIA["iou10"]).counts
    return ImageLesions(count_pixels(mask, truth), lesions, froc)


def _mean_dice(images: list[ImageLesions]) -> float:
    """Mean Dice of the images that bear a lesion."""
    bearing = [image.pixels for image in images if image.pixels.tp + image.pixels.fn > 0]
    return float(np.mean([dice(p.tp, p.fp, p.fn) for p in bearing])) if bearing else float("nan")
