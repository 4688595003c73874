"""Measure a CT bundle on real CT: boxes of bone lesions that are hit, and false positives per slice. For testing only.

Two public data sets, as they are stored:

- ``--boxes``: patches with boxes around bone lesions (NIfTI files; ``image_bone_lesions.csv`` with ``image_path``, the
  centers ``x``, ``y``, ``z`` in DICOM's mm and the extents ``width``, ``height``, ``depth``). A patch is much smaller
  than a slice, so each is measured twice: alone, and in the middle of a slice of 400 mm (``--field``), mirrored out.
- ``--slices``: 8-bit slices without lesions that anyone has drawn. Each is measured twice: as the picture that it is,
  and with its window (−175 to 275 HU, ``--window``) undone.

A finding is a connected component in one slice. It **hits** a box with an IoU of at least 0.1 with the box's rectangle
in that slice; a box is hit if it is in one of the slices (by default those through the middle of each box). A finding
that hits no box is a **false positive**, unless half of it lies within boxes. Nothing is chosen here. Example::

    python scripts/results/measure_real_ct.py --boxes BLDS --slices CADLAB -o results/real_ct.yaml --pictures FOLDER
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from bonemets.bundle.folders import file_sha256, find_bundle
from bonemets.data.ct.scan import CTScan, read_ct
from bonemets.data.files import write_bytes
from bonemets.engines.predictor import BundlePredictor
from bonemets.errors import InputError
from bonemets.metrics.lesions import lesion_components, pairwise_overlap

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99)
HIT_IOU = 0.1
TABLE = "image_bone_lesions.csv"


@dataclass
class Counts:
    """What was found at one threshold.

    Attributes:
        hit: the boxes that were hit, as (file, number).
        slices, marked: slices measured, and those with a false positive.
        false_positives: findings that hit no box, of all slices together.
    """

    hit: set[tuple[str, int]] = field(default_factory=set)
    slices: int = 0
    marked: int = 0
    false_positives: int = 0

    def add(self, mask: NDArray, boxes: NDArray[np.int32], name: str) -> None:
        """Count one slice.

        Args:
            mask: (H, W), what was found.
            boxes: (H, W), the number of the box that a pixel lies in, 0 elsewhere.
            name: of the file.
        """
        found, number = lesion_components(mask)
        shared, iou = pairwise_overlap(boxes, found, int(boxes.max()), number, np.ones(mask.shape, bool))
        self.hit |= {(name, int(box) + 1) for box in np.flatnonzero((iou >= HIT_IOU).any(axis=1))}
        size = np.bincount(found.ravel(), minlength=number + 1)[1:]
        false = ~(iou >= HIT_IOU).any(axis=0) & (shared.sum(axis=0) < 0.5 * size)
        self.slices += 1
        self.marked += bool(false.any())
        self.false_positives += int(false.sum())


def box_map(scan: CTScan, boxes: Sequence[dict[str, float]]) -> NDArray[np.int32]:
    """The boxes on the grid of a scan as displayed, (H, W, K): 1 for the first one, and so on.

    Args:
        scan: the patch.
        boxes: center ``x``, ``y``, ``z`` (DICOM: to the patient's left, back and head) and full extents ``width``,
            ``height``, ``depth`` along them, in mm.
    """
    to_index = np.linalg.inv(scan.affine)
    labels = np.zeros(scan.pixels.shape, np.int32)
    for number, box in enumerate(boxes, 1):
        center = to_index[:3, :3] @ (-box["x"], -box["y"], box["z"]) + to_index[:3, 3]
        half = np.abs(to_index[:3, :3]) @ (box["width"], box["height"], box["depth"]) / 2
        low, high = np.ceil(center - half).astype(int), np.floor(center + half).astype(int) + 1
        labels[tuple(slice(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True))] = number
    return labels


def middle_slices(labels: NDArray[np.int32]) -> list[int]:
    """The slices through the middle of each box of `box_map`."""
    found = set()
    for number in range(1, int(labels.max()) + 1):
        within = np.flatnonzero((labels == number).any(axis=(0, 1)))
        found.add(int(within[len(within) // 2]))
    return sorted(found)


def read_boxes(folder: Path) -> dict[str, list[dict[str, float]]]:
    """The boxes of every file.

    Raises:
        InputError: the table is missing, or not what it should be.
    """
    path = folder / TABLE
    boxes: dict[str, list[dict[str, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                box = {key: float(row[key]) for key in ("x", "y", "z", "width", "height", "depth")}
                boxes.setdefault(row["image_path"], []).append(box)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table of boxes ({error}); see the script's head") from error
    return boxes


def within_a_slice(pixels: NDArray, spacing: tuple[float, float], field_mm: float) -> tuple[NDArray, tuple[int, int]]:
    """A patch in the middle of a larger slice, mirrored outward; also the row and column where it begins."""
    missing = [max(0, round(field_mm / step) - size) for step, size in zip(spacing, pixels.shape[:2], strict=True)]
    before = (missing[0] // 2, missing[1] // 2)
    width = [(first, all_ - first) for first, all_ in zip(before, missing, strict=True)]
    return np.pad(pixels, [*width, (0, 0)], mode="symmetric"), before


def measured_boxes(
    predictor: BundlePredictor, folder: Path, every: int | None, field_mm: float | None
) -> Iterator[tuple[str, NDArray, NDArray, NDArray[np.int32]]]:
    """File, slices (H, W, K) in HU, probabilities and boxes of every patch; every so many-th slice.

    Without ``every``, the slices through the middle of each box.
    """
    for name, boxes in read_boxes(folder).items():
        scan = read_ct(folder / name)
        labels = box_map(scan, boxes)
        chosen = middle_slices(labels) if every is None else list(range(0, labels.shape[-1], every))
        labels, pixels = labels[..., chosen], scan.pixels[..., chosen]
        shape = pixels.shape
        whole, first = (pixels, (0, 0)) if field_mm is None else within_a_slice(pixels, scan.spacing, field_mm)
        part = replace(scan, pixels=whole, source_shape=whole.shape)
        probability = predictor.predict(part).probability
        rows, columns = (slice(start, start + size) for start, size in zip(first, shape[:2], strict=True))
        yield name, pixels, probability[rows, columns], labels


def measured_slices(
    predictor: BundlePredictor, folder: Path, window: tuple[float, float] | None, every: int = 1
) -> Iterator[tuple[str, NDArray, NDArray, NDArray[np.int32]]]:
    """File, slice, probability and no boxes of every picture; with a window, its values become Hounsfield units."""
    files = sorted((folder / "images").glob("*.png"))
    if not files:
        raise InputError(f"{folder}: has no images/*.png; give the folder of the slices")
    for path in files[::every]:
        scan = read_ct(path)
        if window is not None:
            low, high = window
            scan = replace(scan, pixels=low + scan.pixels * np.float32((high - low) / 255), format="nifti")
        yield path.name, scan.pixels, predictor.predict(scan).probability, np.zeros(scan.pixels.shape, np.int32)


def measure(
    cases: Iterator[tuple[str, NDArray, NDArray, NDArray[np.int32]]], threshold: float, pictures: Path | None
) -> dict[str, Any]:
    """Hits and false positives at several thresholds, the decision threshold among them."""
    counts = {value: Counts() for value in sorted({*THRESHOLDS, threshold})}
    boxes = 0
    for name, pixels, probability, labels in cases:
        boxes += len(np.unique(labels[labels > 0]))
        for k in range(pixels.shape[-1]):
            for value, count in counts.items():
                count.add(probability[..., k] >= value, labels[..., k], name)
        if pictures is not None:
            save_picture(pictures / f"{name.split('.')[0]}.png", pixels, probability >= threshold, labels)
    return {
        "slices": counts[threshold].slices,
        **({"boxes": boxes} if boxes else {}),
        "at": [
            {
                "threshold": value,
                **({"boxes_hit": len(count.hit)} if boxes else {}),
                "false_positives_per_slice": round(count.false_positives / count.slices, 2),
                "slices_with_a_false_positive": count.marked,
            }
            for value, count in counts.items()
        ],
    }


def save_picture(path: Path, pixels: NDArray, mask: NDArray, boxes: NDArray) -> None:
    """A sheet of up to six slices: findings in red, boxes in green."""
    shown = np.unique(np.linspace(0, pixels.shape[-1] - 1, 6).round().astype(int))
    low, high = (0, 255) if pixels.min() >= 0 else (-175, 500)
    gray = (np.clip((pixels[..., shown] - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    sheet = np.repeat(gray[..., None], 3, axis=-1)
    for values, color in ((mask[..., shown], (255, 0, 0)), (boxes[..., shown] > 0, (0, 255, 0))):
        edge = values & ~_inner(values)
        sheet[edge] = color
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(list(sheet.transpose(2, 0, 1, 3)), axis=1)).save(path)


def _inner(mask: NDArray) -> NDArray[np.bool_]:
    padded = np.pad(mask, [(1, 1), (1, 1), (0, 0)])
    return padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=Path, help="folder of the patches and their table of boxes")
    parser.add_argument("--slices", type=Path, help="folder with images/*.png")
    parser.add_argument("--bundle", default="ct_mfp_deeplabv3plus_segmentation", help="name or folder")
    parser.add_argument("--weights", type=Path, help="in place of the bundle's")
    parser.add_argument("--every", type=int, help="of the patches, every so many-th slice; else the boxes' middle ones")
    parser.add_argument("--every-file", type=int, default=1, help="of the 8-bit slices, every so many-th file")
    parser.add_argument("--field", type=float, default=400.0, help="mm of the slice that a patch is put into")
    parser.add_argument("--window", type=float, nargs=2, default=(-175.0, 275.0), help="HU of the 8-bit slices")
    parser.add_argument("--pictures", type=Path, help="folder for a sheet of every file")
    parser.add_argument("-o", "--output", type=Path, help="the record to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        predictor = BundlePredictor(find_bundle(options.bundle), "auto", options.weights)
        jobs: dict[str, Iterator[tuple[str, NDArray, NDArray, NDArray[np.int32]]]] = {}
        if options.boxes:
            jobs[f"patches, in a slice of {options.field:g} mm"] = measured_boxes(
                predictor, options.boxes, options.every, options.field
            )
        if options.slices:
            jobs["slices, in Hounsfield units"] = measured_slices(
                predictor, options.slices, tuple(options.window), options.every_file
            )
            jobs["slices, as pictures"] = measured_slices(predictor, options.slices, None, options.every_file)
        if options.boxes:
            jobs["patches, alone"] = measured_boxes(predictor, options.boxes, options.every, None)
        record: dict[str, Any] = {
            "what": "real CT, test only: boxes of bone lesions that are hit, and false positives per slice",
            "bundle": predictor.name,
            "weights_sha256": file_sha256(predictor.weights),
            "decision_threshold": predictor.threshold,
            "slices_of_a_patch": f"every {options.every}" if options.every else "through the middle of each box",
            "files_of_slices": f"every {options.every_file}",
            "measured": {},
        }
        for name, cases in jobs.items():
            folder = options.pictures / name.replace(",", "").replace(" ", "_") if options.pictures else None
            record["measured"][name] = measure(cases, predictor.threshold, folder)
            print(yaml.safe_dump({name: record["measured"][name]}, sort_keys=False), flush=True)
            if options.output:  # after each, so that what takes long is not lost
                text = "# Made by scripts/results/measure_real_ct.py.\n" + yaml.safe_dump(record, sort_keys=False)
                write_bytes(options.output, text.encode())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
