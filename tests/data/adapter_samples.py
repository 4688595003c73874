"""Tiny made data sets for the tests of the adapters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

SIZE = (64, 48)


def texture(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture of its own: uint8, unlike that of any other seed."""
    noise = gaussian_filter(np.random.default_rng(seed).random(size), 2)
    return np.uint8(255 * (noise - noise.min()) / np.ptp(noise))


def blob(size: tuple[int, int] = SIZE, top: int = 10, left: int = 8, value: int = 255) -> np.ndarray:
    """A mask with one rectangle of 6 x 5 pixels."""
    mask = np.zeros(size, np.uint8)
    mask[top : top + 6, left : left + 5] = value
    return mask


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def make_pairs(root: Path, names: list[str], images: str = "images", masks: str = "masks") -> Path:
    for number, name in enumerate(names):
        save(root / images / f"{name}.png", texture(number))
        save(root / masks / f"{name}.png", blob(top=number % 50))
    return root
