"""Per-image numbers and their summary, as CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.engines import Evaluator

from bonemets.bundle.folders import file_sha256
from bonemets.bundle.provenance import datalist_record
from bonemets.data.files import write_bytes
from bonemets.data.tables import inert
from bonemets.handlers.pixel_metric import count_item
from bonemets.metrics.pixel import MEASURES, PixelCounts, measure

logger = logging.getLogger(__name__)

# Always reported. The others, of which papers report some, are chosen by name.
USUAL = ("dice", "precision", "recall")

# Where neither label nor prediction has a pixel these are 1, not undefined.
OVERLAPS = ("dice", "iou", "macro_dice", "mean_iou")

FORMULAS = {
    "dice": "2 TP / (2 TP + FP + FN)",
    "iou": "TP / (TP + FP + FN)",
    "precision": "TP / (TP + FP)",
    "recall": "TP / (TP + FN)",
    "macro_dice": "mean of the Dice of background and lesion",
    "mean_iou": "mean of the IoU of background and lesion (mIoU)",
    "mean_pixel_accuracy": "mean of the recall of background and lesion (mPA)",
    "mean_precision": "mean of the precision of background and lesion (mPrecision)",
}


@dataclass(frozen=True)
class ImageCounts:
    """Pixels of one image by agreement, and which image it is."""

    image: str
    patient: str
    view: str
    pixels: PixelCounts
    ignored_pixels: int = 0

    @property
    def bears_lesion(self) -> bool:
        """Whether the label has a lesion pixel that counts."""
        return self.pixels.tp + self.pixels.fn > 0

    def row(self, measures: Sequence[str] = USUAL) -> dict[str, Any]:
        """The image's line in the table; what is undefined stays empty."""
        scores = {name: measure(name, self.pixels) for name in measures}
        return {
            "image": self.image,
            "patient": self.patient,
            "view": self.view,
            "lesion_bearing": int(self.bears_lesion),
            **asdict(self.pixels),
            "ignored_pixels": self.ignored_pixels,
            **{name: "" if math.isnan(score) else f"{score:.6f}" for name, score in scores.items()},
        }


def summarize(images: Sequence[ImageCounts], measures: Sequence[str] = USUAL) -> dict[str, Any]:
    """Pooled and per-image numbers of a set of images, named as in docs/reference/metrics.md; None where undefined."""
    total = PixelCounts(*(sum(getattr(image.pixels, name) for image in images) for name in ("tp", "fp", "fn", "tn")))
    bearing = [image for image in images if image.bears_lesion]
    scores = {}
    for name in measures:
        scores[f"{name}_pooled"] = measure(name, total)
        scores[f"{name}_per_image"] = _mean(name, bearing if name == "recall" else images)
        if name in OVERLAPS:
            scores[f"{name}_per_image_bearing"] = _mean(name, bearing)
    return {
        "images": len(images),
        "images_lesion_bearing": len(bearing),
        "patients": len({image.patient for image in images}),
        **{name: None if math.isnan(score) else score for name, score in scores.items()},
    }


def definitions(measures: Sequence[str] = USUAL) -> dict[str, str]:
    """What the numbers of a summary mean."""
    return {
        **{name: FORMULAS[name] for name in measures},
        "…_pooled": "of the pixels of all images together",
        "…_per_image": "mean over the images: an overlap is 1 in an image without lesions where nothing was marked, "
        "else 0; precision over the images that mark anything, recall over those with lesions",
        "…_per_image_bearing": "mean over the images with lesions",
        "ignored pixels": "label 2; they count neither for nor against",
    }


class EvaluationReport:
    """Write ``per_image.csv`` and ``summary.json`` at the end of an evaluation.

    Each image of the evaluator's output needs ``pred`` and ``label``, binary, after `IgnoreRegiond`. The summary's
    numbers also go to the engine's ``state.metrics``, so that a tracker attached later logs them. Dice, precision and
    recall are always there; docs/reference/metrics.md defines all names, which are those of ``bonemets evaluate``.

    Args:
        folder: folder for the two files.
        datalist: the data list, named in the summary with its SHA-256; None where the data came from elsewhere.
        weights: the weights file, named by its SHA-256.
        settings: what else the summary should say, such as section and fold.
        metrics: further measures, such as those of a paper: "iou", "macro_dice", "mean_iou", "mean_pixel_accuracy",
            "mean_precision".

    Raises:
        ValueError: if a measure is none of these.
    """

    def __init__(
        self,
        folder: str | Path,
        datalist: str | Path | None = None,
        weights: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        metrics: Sequence[str] = (),
    ) -> None:
        unknown = [name for name in metrics if name not in MEASURES]
        if unknown:
            raise ValueError(f"metrics must be of {', '.join(MEASURES)}, got {', '.join(unknown)}")
        self.folder = Path(folder)
        self.datalist = Path(datalist) if datalist is not None and Path(datalist).is_file() else None
        self.weights = weights
        self.settings = dict(settings or {})
        self.measures = tuple(dict.fromkeys((*USUAL, *metrics)))
        self.images: list[ImageCounts] = []

    def attach(self, engine: Evaluator) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.images.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch_completed)

    def iteration_completed(self, engine: Evaluator) -> None:
        """Count the pixels of a batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            pixels = count_item(output)
            path = Path(str(output["image"].meta.get("filename_or_obj", "")))
            root = self.datalist.parent.resolve() if self.datalist else path.parent
            self.images.append(
                ImageCounts(
                    image=path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name,
                    patient=str(item.get("patient", path.parent.name)),
                    view=str(item.get("view", "")),
                    pixels=pixels,
                    ignored_pixels=output["label"].numel() - sum(astuple(pixels)),
                )
            )

    def epoch_completed(self, engine: Evaluator) -> None:
        """Write the two files."""
        summary = summarize(self.images, self.measures)
        engine.state.metrics.update({k: v for k, v in summary.items() if isinstance(v, float)})
        document = {
            **self.settings,
            "datalist": datalist_record(self.datalist),
            "weights_sha256": None if self.weights is None else file_sha256(Path(self.weights)),
            **summary,
            "definitions": definitions(self.measures),
        }
        table = io.StringIO()
        writer = csv.DictWriter(table, fieldnames=list(self.images[0].row(self.measures)), lineterminator="\n")
        writer.writeheader()
        for image in self.images:
            writer.writerow({name: inert(cell) for name, cell in image.row(self.measures).items()})
        write_bytes(self.folder / "per_image.csv", table.getvalue().encode())
        write_bytes(self.folder / "summary.json", (json.dumps(document, indent=2) + "\n").encode())
        logger.info("%d images: lesion Dice %.4f pooled, %s", summary["images"], summary["dice_pooled"], self.folder)


def _mean(name: str, images: Sequence[ImageCounts]) -> float:
    """Mean over the images that define the measure."""
    values = [value for image in images if not math.isnan(value := measure(name, image.pixels))]
    return sum(values) / len(values) if values else float("nan")
