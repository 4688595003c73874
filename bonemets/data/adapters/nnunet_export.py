"""A data list as an nnU-Net raw data set, so that nnU-Net trains on exactly our folds.

Format: see `bonemets.data.adapters.nnunet`.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from bonemets.data.adapters.base import stem_of
from bonemets.data.adapters.nnunet import DATASET, NOTES_KEY, SPLITS
from bonemets.data.files import nifti_bytes, write_bytes
from bonemets.data.lists.datalist import read_datalist
from bonemets.data.open_picture import COLOR_MODES, open_picture
from bonemets.data.planar.formats import IMAGE_SUFFIXES
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError

# Slices of a 2-D data set lie this far apart, which keeps nnU-Net from treating them as volumes.
_SLICE_DISTANCE = 999.0


def export_nnunet(datalist: Path, folder: Path, dataset_id: int, name: str | None = None) -> Path:
    """Write ``DatasetNNN_NAME`` with images, labels, ``dataset.json`` and ``splits_final.json``.

    Pictures become PNG (color only where all images have it), all others NIfTI in ITK's axis order, since ITK refuses
    2-D images whose affine leaves the plane. Label 2 becomes nnU-Net's ignore label where it occurs.

    Args:
        datalist: the data list.
        folder: where nnU-Net looks for raw data sets (``nnUNet_raw``).
        dataset_id: nnU-Net's number, 1 to 999.
        name: the data set's name; by default the data list's.

    Returns:
        The data set's folder.

    Raises:
        InputError: if the data list cannot be used or the number is taken.
    """
    document = read_datalist(datalist)
    if not 1 <= dataset_id <= 999:
        raise InputError(f"--dataset-id {dataset_id}: must be from 1 to 999")
    taken = sorted(folder.glob(f"Dataset{dataset_id:03d}_*"))
    if taken:
        raise InputError(f"{taken[0]}: exists already; remove it or choose another --dataset-id")
    parts = {"Tr": document["training"], "Ts": document.get("testing") or []}
    items = [item for part in parts.values() for item in part]
    if not parts["Tr"]:
        raise InputError(f"{datalist}: has no training items, and nnU-Net trains; make it with a smaller --test-share")
    if any("label" not in item for item in items):
        raise InputError(f"{datalist}: has items without a label map; nnU-Net segments, it does not score boxes")
    title = re.sub(r"[^A-Za-z0-9]+", "", name or str(document.get("name") or datalist.stem)) or "Dataset"
    target = folder / f"Dataset{dataset_id:03d}_{title}"
    partial = folder / f".{target.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        _write(partial, datalist, document, parts)
        partial.replace(target)
    except OSError as error:
        raise InputError(f"cannot write {target} ({error.strerror}); choose a folder that is writable") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def case_names(images: Sequence[str]) -> list[str]:
    """A unique name per image, of as little of its path as that takes."""
    places = [PurePosixPath(image) for image in images]
    for depth in range(1, max(len(place.parts) for place in places) + 1):
        names = [_name(place, depth) for place in places]
        if len(set(names)) == len(names):
            return names
    return [f"{_name(place, 1)}_{number}" for number, place in enumerate(places)]


def _name(place: PurePosixPath, depth: int) -> str:
    parts = [part for part in place.parts[:-1] if part not in ("..", "/")][::-1][: depth - 1][::-1]
    return re.sub(r"[^A-Za-z0-9]+", "_", "_".join([*parts, stem_of(Path(place.name))])).strip("_") or "case"


def _write(
    target: Path, datalist: Path, document: Mapping[str, Any], parts: Mapping[str, list[dict[str, Any]]]
) -> None:
    items = [item for part in parts.values() for item in part]
    images = [item["image"] for item in items]
    if document.get("format") == "nnunet":
        # Drop the channel, else cases that come from nnU-Net would be called CASE_0000.
        images = [re.sub(r"_0000(?=\.[^/]+$)", "", image) for image in images]
    names = case_names(images)
    pictures = all(item["image"].lower().endswith(IMAGE_SUFFIXES) for item in items)
    color = pictures and all(_is_color(datalist.parent / item["image"]) for item in items)
    ending = ".png" if pictures else ".nii.gz"
    ignores = False
    remaining = iter(names)
    for part, members in parts.items():
        for item in members:
            case = next(remaining)
            image, label = datalist.parent / item["image"], datalist.parent / item["label"]
            mask = _planar(label)
            mask = np.where(mask == 255, 1, mask)
            ignores |= bool((mask == 2).any())
            pixels = _colors(image) if color else _planar(image)
            if pixels.shape[:2] != mask.shape:
                raise InputError(f"{label}: has another size than its image; make the data list again")
            spacing = (1.0, 1.0) if pictures else read_planar(image).spacing
            write_bytes(target / f"images{part}" / f"{case}_0000{ending}", _encode(pixels, spacing, pictures))
            write_bytes(target / f"labels{part}" / f"{case}{ending}", _encode(mask.astype(np.uint8), spacing, pictures))
    training = list(zip(names, parts["Tr"], strict=False))
    splits = [
        {
            "train": [case for case, item in training if item["fold"] != fold],
            "val": [case for case, item in training if item["fold"] == fold],
        }
        for fold in range(document.get("numFolds") or 1 + max(item["fold"] for item in parts["Tr"]))
    ]
    modality = str(document.get("modality") or "image")
    # nnU-Net normalizes a channel called "CT" as Hounsfield units, which pictures do not hold.
    channels = ["red", "green", "blue"] if color else [f"{modality} picture" if pictures else modality]
    labels = {"background": 0, str((document.get("labels") or {}).get("1") or "lesion"): 1}
    description = {
        "channel_names": {str(number): channel for number, channel in enumerate(channels)},
        "labels": labels | ({"ignore": 2} if ignores else {}),
        "numTraining": len(training),
        "file_ending": ending,
        "name": document.get("name"),
        "reference": document.get("reference"),
        "licence": document.get("licence"),
        NOTES_KEY: {
            case: {"patient": item["patient"], "view": item.get("view", "unknown")}
            for case, item in zip(names, items, strict=True)
        },
    }
    for file, content in ((SPLITS, splits), (DATASET, description)):
        write_bytes(target / file, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


def _planar(path: Path) -> np.ndarray:
    scan = read_planar(path)
    if len(scan.views) > 1:
        raise InputError(f"{path}: holds two views; a data list has one per item")
    return scan.pixels[..., 0]


def _is_color(path: Path) -> bool:
    with Image.open(path) as image:
        return image.mode in COLOR_MODES


def _colors(path: Path) -> np.ndarray:
    with open_picture(path) as image:
        return np.asarray(image.convert("RGB"))


def _encode(pixels: np.ndarray, spacing: tuple[float, float], picture: bool) -> bytes:
    whole = np.array_equal(pixels, np.rint(pixels)) and pixels.min() >= 0 and pixels.max() < 2**16
    if whole and pixels.dtype != np.uint8:
        pixels = pixels.astype(np.uint8 if pixels.max() < 256 else np.uint16)
    if not picture:
        affine = np.diag([-spacing[1], -spacing[0], _SLICE_DISTANCE, 1.0])
        return nifti_bytes(np.ascontiguousarray(pixels.T[..., None]), affine)
    buffer = io.BytesIO()
    Image.fromarray(pixels if whole else np.clip(np.rint(pixels), 0, 2**16 - 1).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()
