"""Does anything of a training patient reappear in validation or test data?"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from bonemets.data.lists.datalist import read_datalist
from bonemets.data.lists.spellings import one_spelling
from bonemets.data.planar.study import read_planar

# Pixels of the thumbnails that are compared, and the scale in thumbnail pixels above which structure is removed.
THUMBNAIL = (256, 64)
BACKGROUND_SIGMA = 2.0
# Over ten simulated patients, views of different patients reach 0.66; the same scan with half its counts, another
# gamma, mirrored, or moved by three pixels stays above 0.90, and the mirrored other view of a patient above 0.85.
NEAR_DUPLICATE = 0.8


def check_leakage(datalist: Path | str, threshold: float = NEAR_DUPLICATE) -> list[str]:
    """Look for patients, views and near-duplicate images that cross a fold or the test boundary.

    Args:
        datalist: a data list's file; its images are read.
        threshold: similarity (see `similarity`) from which two images count as the same.

    Returns:
        One sentence per finding; empty where nothing leaks.

    Raises:
        InputError: if the data list or an image cannot be read.
    """
    datalist = Path(datalist)
    document = read_datalist(datalist)
    items = [(f"fold {item['fold']}", item) for item in document["training"]]
    items += [("testing", item) for item in document.get("testing") or []]
    spelling, _ = one_spelling(str(item["patient"]) for _, item in items)
    findings = [*_shared("patient", items, spelling.__getitem__)]
    for key in ("image", "label"):
        findings += _shared(
            key, items, lambda file: os.path.relpath((datalist.parent / file).resolve(), datalist.parent)
        )
    images = [read_planar(datalist.parent / item["image"]).pixels[..., 0] for _, item in items]
    return findings + _near_duplicates(items, images, threshold)


def similarity(images: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """How alike images are, whatever their brightness, noise, a shift of a few pixels or a mirroring.

    The largest correlation, over mirrorings and shifts of at most one thumbnail pixel, of band-passed thumbnails.
    Low frequencies are removed since every body has the same outline; the square root evens out the counts.

    Args:
        images: N images, (H, W) each.
        others: M images.

    Returns:
        (N, M), 1 for equal images.
    """
    first = np.stack([_thumbnail(image) for image in images])
    second = np.stack([_thumbnail(image) for image in others])
    best = np.full((len(first), len(second)), -1.0)
    reference = _normalize(second)
    for mirrored in (first, first[:, :, ::-1]):
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                moved = np.roll(mirrored, (down, right), axis=(1, 2))
                best = np.maximum(best, _normalize(moved) @ reference.T)
    return best


def _shared(key: str, items: Sequence[tuple[str, Mapping[str, Any]]], name: Callable[[str], str] = str) -> list[str]:
    parts: dict[str, set[str]] = defaultdict(set)
    for part, item in items:
        if key in item:
            parts[name(str(item[key]))].add(part)
    return [f"{key} {shown} is in {' and '.join(sorted(found))}" for shown, found in parts.items() if len(found) > 1]


def _near_duplicates(
    items: Sequence[tuple[str, Mapping[str, Any]]], images: Sequence[np.ndarray], threshold: float
) -> list[str]:
    if not images:
        return []
    alike = similarity(images, images)
    findings = []
    for first, second in np.argwhere(np.triu(alike >= threshold, k=1)):
        (part, item), (other_part, other) = items[first], items[second]
        if part != other_part:
            shown = f"{item['image']} ({part}) and {other['image']} ({other_part})"
            findings.append(f"{shown} are near-duplicates (similarity {alike[first, second]:.2f})")
    return findings


def _thumbnail(image: np.ndarray) -> np.ndarray:
    counts = np.sqrt(np.clip(image.astype(float), 0, None))
    factors = [size / full for size, full in zip(THUMBNAIL, counts.shape, strict=True)]
    smooth = gaussian_filter(counts, [0.5 / factor for factor in factors])
    small = zoom(smooth, factors, order=1, grid_mode=True, mode="nearest")
    return small - gaussian_filter(small, BACKGROUND_SIGMA)


def _normalize(thumbnails: np.ndarray) -> np.ndarray:
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
