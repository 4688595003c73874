r"""Measure what weights find and mark wrongly at every threshold, on the fold that their epoch was chosen on.

The test set is not used, so a decision threshold may be chosen by it.
Writes ``results/thresholds/BUNDLE.yaml`` and a figure; ``make_tables.py`` then writes
the table of docs/how-to/segment-a-study.md. ``--choose`` also puts the threshold with the highest F1 of lesions into
the ``model.json`` beside the last weights, which is what inference then takes. Weights that the record has from the
same fold are not measured again, unless ``--again``::

    python scripts/bundles/measure_thresholds.py spect_msa_net_segmentation runs/scans/datalist.json \
      --weights "40 epochs=bundles/spect_msa_net_segmentation/models/model.pt"

A lesion is found where the overlap with a mark is at least 0.1 (IoU), as everywhere else; docs/reference/metrics.md.
"""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
import yaml
from numpy.typing import NDArray

from bonemets.bundle.folders import file_sha256, find_bundle
from bonemets.data import load_datalist, write_bytes
from bonemets.data.lists.datalist import datalist_hash, read_datalist
from bonemets.engines.predictor import BundlePredictor, on_file_grid
from bonemets.errors import InputError
from bonemets.metrics.evaluation.predictions import read_label
from bonemets.metrics.image import CRITERIA
from bonemets.metrics.lesions import LESION, LesionCounts, overlap_lesions
from bonemets.metrics.pixel import count_pixels, dice, precision

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "results" / "thresholds"
FIGURES = ROOT / "docs" / "reference" / "images"
THRESHOLDS = (
    0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998,
    0.999, 0.9995, 0.9998, 0.9999,
)  # fmt: skip
FALSE_POSITIVES = 0.5
"""Limit in an image without lesions, on average, for a threshold to be chosen."""


@dataclass
class Counts:
    """What was counted at a threshold, over all images."""

    pixels: Counter[str] = field(default_factory=Counter)
    lesions: LesionCounts = field(default_factory=LesionCounts)
    without_lesions: list[int] = field(default_factory=list)

    def add(self, mask: NDArray, truth: NDArray) -> None:
        """Count an image."""
        self.pixels.update(asdict(count_pixels(mask, truth)))
        counts = overlap_lesions(mask, truth).match(CRITERIA["iou10"]).counts
        self.lesions += counts
        if not (truth == LESION).any():
            self.without_lesions.append(counts.false_positives)

    def measures(self, patients: int) -> dict[str, float]:
        """By the names of ``summary.json``."""
        tp, fp, fn = (self.pixels[name] for name in ("tp", "fp", "fn"))
        values = {
            "dice_pooled": dice(tp, fp, fn),
            "precision_pooled": precision(tp, fp),
            "sensitivity_iou10": self.lesions.sensitivity,
            "false_positives_per_scan_iou10": self.lesions.false_positives / patients,
            "f1_iou10": self.lesions.f1,
        }
        if self.without_lesions:
            values["false_positives_without_lesions"] = sum(self.without_lesions) / len(self.without_lesions)
        return {key: round(float(value), 4) for key, value in values.items()}


def measure(bundle: Path, weights: Path, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Predict every item and count at every threshold."""
    predictor = BundlePredictor(bundle, "auto", weights)
    totals = {threshold: Counts() for threshold in THRESHOLDS}
    for done, item in enumerate(items, start=1):
        truth, _, _ = read_label(Path(item["label"]))
        prediction = predictor.predict(predictor.read(item["image"]))
        probability, _ = on_file_grid(predictor.read(item["label"]), prediction.probability)
        for threshold, counts in totals.items():
            counts.add(probability.reshape(truth.shape) >= threshold, truth)
        if done % 48 == 0:
            print(f"{done} of {len(items)}", flush=True)
    patients = len({item["patient"] for item in items})
    settings = predictor.provenance.get("settings", {})
    return {
        "sha256": file_sha256(weights),
        "epochs": settings.get("epochs"),
        "epoch": predictor.provenance.get("epoch"),
        "batches_seen": batches_seen(predictor.network),
        "start_weights_sha256": settings.get("start_weights_sha256"),
        "at": [{"threshold": threshold} | counts.measures(patients) for threshold, counts in totals.items()],
    }


def batches_seen(network: torch.nn.Module) -> int:
    """Training batches up to the epoch that was kept, those of the weights it started from with them.

    Batch normalization counts them, and each of the networks has some.
    """
    return max(int(count) for name, count in network.named_buffers() if name.endswith("num_batches_tracked"))


def figure(record: dict[str, Any]) -> bytes:
    """Lesions found against false positives, and Dice against the threshold."""
    drawing, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, measured in record["weights"].items():
        rows = measured["at"]
        false, found = ([one[key] for one in rows] for key in ("false_positives_per_scan_iou10", "sensitivity_iou10"))
        (line,) = left.plot(false, found, marker="o", markersize=3, label=name)
        half = next(one for one in rows if one["threshold"] == 0.5)
        left.plot(half["false_positives_per_scan_iou10"], half["sensitivity_iou10"], "o", color=line.get_color(), ms=9)
        right.plot([one["threshold"] for one in rows], [one["dice_pooled"] for one in rows], marker="o", markersize=3)
    left.set(xlabel="false positives per scan", ylabel="sensitivity", xlim=(0, None), ylim=(0, None))
    left.legend(title="large dot: threshold 0.5", fontsize=8, title_fontsize=8)
    right.set(xlabel="decision threshold", ylabel="Dice, all images together", xlim=(0, 1), ylim=(0, None))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    plt.close(drawing)
    return buffer.getvalue()


def choose(measured: dict[str, Any], weights: Path, part: str) -> float:
    """Keep the threshold with the highest F1 of lesions in the record beside the weights; the lower of equal ones.

    Images without a lesion must have at most `FALSE_POSITIVES` on average: what a reader of a healthy patient sees.
    """
    quiet = [one for one in measured["at"] if one.get("false_positives_without_lesions", 0.0) <= FALSE_POSITIVES]
    best = max(quiet or measured["at"][-1:], key=lambda one: (one["f1_iou10"], -one["threshold"]))
    path = weights.with_suffix(".json")
    record = json.loads(path.read_text("utf-8"))
    limit = f"at most {FALSE_POSITIVES:g} false positives in an image without lesions"
    reason = f"the highest F1 of lesions (IoU >= 0.1) on {part}, with {limit}"
    record |= {"threshold": best["threshold"], "threshold_chosen_by": reason}
    write_bytes(path, (json.dumps(record, indent=2) + "\n").encode())
    return float(best["threshold"])


def named(text: str) -> tuple[str, Path]:
    """NAME=PATH."""
    name, _, path = text.partition("=")
    if not path or not Path(path).is_file():
        raise InputError(f"--weights {text!r}: needs NAME=PATH of a file that is there")
    return name, Path(path)


def record_before(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """The record as it is, if it is of the same images; empty otherwise."""
    record = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    return dict(record) if all(record.get(key) == value for key, value in about.items()) else {}


def write(record: dict[str, Any]) -> list[Path]:
    """The record and its figure."""
    path, picture = RECORDS / f"{record['bundle']}.yaml", FIGURES / f"thresholds_{record['bundle']}.png"
    text = (
        "# Made by scripts/bundles/measure_thresholds.py. Scan (false_positives_per_scan_iou10): a patient's images.\n"
    )
    write_bytes(path, (text + yaml.safe_dump(record, sort_keys=False)).encode())
    write_bytes(picture, figure(record))
    return [path, picture]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="name or folder")
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--weights", nargs="+", required=True, metavar="NAME=PATH", help="the record keeps others")
    parser.add_argument("--again", action="store_true", help="measure all again, and keep no others of the record")
    parser.add_argument("--choose", action="store_true", help="keep the best threshold beside the last weights")
    arguments = parser.parse_args()
    try:
        weights = [named(text) for text in arguments.weights]
        items = load_datalist(arguments.datalist, fold=arguments.fold, section="validation")
        bundle = find_bundle(arguments.bundle)
        document, part = read_datalist(arguments.datalist), f"validation, fold {arguments.fold}"
        about = {
            "bundle": bundle.name,
            "data": document.get("name", arguments.datalist.name),
            "split_sha256": datalist_hash(arguments.datalist),
            "part": part,
            "patients": len({item["patient"] for item in items}),
            "images": len(items),
        }
        before = record_before(RECORDS / f"{bundle.name}.yaml", about)
        measured = {} if arguments.again else dict(before.get("weights", {}))
        for name, path in weights:
            if measured.get(name, {}).get("sha256") != file_sha256(path):
                measured[name] = measure(bundle, path, items)
    except InputError as error:
        raise SystemExit(str(error)) from error
    print("wrote", *write(about | {"weights": measured}))
    if arguments.choose:
        name, path = weights[-1]
        print(f"{name}: threshold {choose(measured[name], path, part):g}")


if __name__ == "__main__":
    main()
