"""Per-image numbers and their summary, as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.engines import Evaluator

from bonemets.data.files import write_bytes
from bonemets.engines.bundles import file_sha256
from bonemets.engines.provenance import datalist_record
from bonemets.metrics.pixel import dice, precision, recall

logger = logging.getLogger(__name__)

DEFINITIONS = {
    "lesion_dice_pooled": "2 TP / (2 TP + FP + FN) of the pixels of all images together",
    "precision_pooled": "TP / (TP + FP) of the pixels of all images together (the paper's CPA)",
    "recall_pooled": "TP / (TP + FN) of the pixels of all images together",
    "lesion_dice_per_image_with_lesions": "mean of the images' Dice, images with lesions only",
    "lesion_dice_per_image_all": "mean of the images' Dice; an image without lesions counts 1 if nothing was found in "
    "it, else 0",
    "ignore": "pixels with label 2 count neither for nor against",
}


@dataclass(frozen=True)
class ImageCounts:
    """Pixels of one image by agreement, and which image it is."""

    image: str
    patient: str
    view: str
    tp: int
    fp: int
    fn: int

    def row(self) -> dict[str, Any]:
        """The image's line in the table; what is undefined stays empty."""
        scores: dict[str, float] = {
            "dice": dice(self.tp, self.fp, self.fn),
            "precision": precision(self.tp, self.fp),
            "recall": recall(self.tp, self.fn),
        }
        return {
            "image": self.image,
            "patient": self.patient,
            "view": self.view,
            "lesion_pixels": self.tp + self.fn,
            "predicted_pixels": self.tp + self.fp,
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
            **{name: "" if math.isnan(score) else f"{score:.6f}" for name, score in scores.items()},
        }


def summarize(images: Sequence[ImageCounts]) -> dict[str, Any]:
    """Pooled and per-image numbers of a set of images; None where undefined. See `DEFINITIONS`."""
    tp, fp, fn = (sum(getattr(image, name) for image in images) for name in ("tp", "fp", "fn"))
    all_dice = [dice(image.tp, image.fp, image.fn) for image in images]
    lesion_dice = [score for score, image in zip(all_dice, images, strict=True) if image.tp + image.fn]
    scores = {
        "lesion_dice_pooled": dice(tp, fp, fn),
        "precision_pooled": precision(tp, fp),
        "recall_pooled": recall(tp, fn),
        "lesion_dice_per_image_with_lesions": _mean(lesion_dice),
        "lesion_dice_per_image_all": _mean(all_dice),
    }
    return {
        "images": len(images),
        "images_with_lesions": len(lesion_dice),
        "patients": len({image.patient for image in images}),
        **{name: None if math.isnan(score) else score for name, score in scores.items()},
    }


class EvaluationReport:
    """Write ``per_image.csv`` and ``summary.json`` at the end of an evaluation.

    Each image of the evaluator's output needs ``pred`` and ``label``, binary, after `IgnoreRegiond`. The summary's
    numbers also go to the engine's ``state.metrics``, so that a tracker attached later logs them.

    Args:
        folder: folder for the two files.
        datalist: the data list, named in the summary with its SHA-256; None where the data came from elsewhere.
        weights: the weights file, named by its SHA-256.
        settings: what else the summary should say, such as section and fold.
    """

    def __init__(
        self,
        folder: str | Path,
        datalist: str | Path | None = None,
        weights: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.datalist = Path(datalist) if datalist is not None and Path(datalist).is_file() else None
        self.weights = weights
        self.settings = dict(settings or {})
        self.images: list[ImageCounts] = []

    def attach(self, engine: Evaluator) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.images.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def iteration_completed(self, engine: Evaluator) -> None:
        """Count the pixels of a batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            found, truth = output["pred"] > 0, output["label"] > 0
            path = Path(str(output["image"].meta.get("filename_or_obj", "")))
            root = self.datalist.parent.resolve() if self.datalist else path.parent
            self.images.append(
                ImageCounts(
                    image=path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name,
                    patient=str(item.get("patient", path.parent.name)),
                    view=str(item.get("view", "")),
                    tp=int((found & truth).sum()),
                    fp=int((found & ~truth).sum()),
                    fn=int((~found & truth).sum()),
                )
            )

    def epoch_completed(self, engine: Evaluator) -> None:
        """Write the two files."""
        summary = summarize(self.images)
        engine.state.metrics.update({k: v for k, v in summary.items() if isinstance(v, float)})
        document = {
            **self.settings,
            "datalist": datalist_record(self.datalist),
            "weights_sha256": None if self.weights is None else file_sha256(Path(self.weights)),
            **summary,
            "definitions": DEFINITIONS,
        }
        table = io.StringIO()
        writer = csv.DictWriter(table, fieldnames=list(self.images[0].row()), lineterminator="\n")
        writer.writeheader()
        writer.writerows(image.row() for image in self.images)
        write_bytes(self.folder / "per_image.csv", table.getvalue().encode())
        write_bytes(self.folder / "summary.json", (json.dumps(document, indent=2) + "\n").encode())
        logger.info(
            "%d images: lesion Dice %.4f pooled, %s", summary["images"], summary["lesion_dice_pooled"], self.folder
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
