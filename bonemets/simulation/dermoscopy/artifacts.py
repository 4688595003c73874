"""What lies between a lesion and its picture: hair, gel, ruler, ink, stickers, uneven light, and the camera."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Field = NDArray[np.float64]


def add_artifacts(
    rng: np.random.Generator, reflectance: Field, scale: float
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Photograph what the skin reflects.

    How often each is seen was set by eye on public dermoscopic pictures: hair on half of them, a dark frame on one in
    seven, everything else on one in ten or fewer.

    Args:
        rng: source of all draws.
        reflectance: (H, W, 3), 0 to 1.
        scale: pixels per pixel of a 450×600 picture.

    Returns:
        The 8-bit picture, and what was put on it.
    """
    shape = reflectance.shape[:2]
    picture = reflectance
    found: dict[str, Any] = {"hairs": 0}
    if rng.random() < 0.08:
        picture, found["ink"] = _ink(rng, picture, scale), True
    if rng.random() < 0.5:
        found["hairs"] = int(min(rng.geometric(0.07), 60))
        picture = _hair(rng, picture, found["hairs"], scale)
    if rng.random() < 0.1:
        picture, found["ruler"] = _ruler(rng, picture, scale), True
    if rng.random() < 0.06:
        picture, found["sticker"] = _sticker(rng, picture, scale), True
    if rng.random() < 0.25:
        picture, found["bubbles"] = _bubbles(rng, picture, scale), True

    rows, columns = np.ogrid[: shape[0], : shape[1]]
    y, x = rows / shape[0] - 0.5, columns / shape[1] - 0.5
    from_middle = np.hypot(y * shape[0], x * shape[1]) / (np.hypot(*shape) / 2)
    light = 1 - rng.uniform(0, 0.3) * from_middle**2 + rng.normal(0, 0.08) * x + rng.normal(0, 0.08) * y
    # White balance: many public pictures are pinkish or violet.
    balance = np.array([1.0, 1 - rng.uniform(-0.02, 0.16), 1 - rng.uniform(-0.12, 0.14)])
    picture = picture * light[..., None] * rng.uniform(0.9, 1.15) * balance
    if rng.random() < 0.14:
        found["dark_frame"] = True
        edge = rng.uniform(0.78, 0.98) - from_middle
        picture = picture * (1 / (1 + np.exp(-edge / 0.008)))[..., None]
    blur = rng.uniform(0.3, 1.3) * scale
    picture = ndimage.gaussian_filter(np.clip(picture, 0, 1), (blur, blur, 0))
    picture = picture ** rng.uniform(0.85, 1.2) * 255 + rng.normal(0, rng.uniform(1, 4), picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8), found


def _blend(picture: Field, cover: Field, color: NDArray) -> Field:
    return picture * (1 - cover[..., None]) + np.asarray(color) * cover[..., None]


def _drawn(shape: tuple[int, ...], strokes: list[tuple[list[tuple[float, float]], float]]) -> Field:
    """Lines of a width, (column, row) points, smooth at the edges: drawn at twice the size and averaged."""
    canvas = Image.new("L", (2 * shape[1], 2 * shape[0]))
    pen = ImageDraw.Draw(canvas)
    for points, width in strokes:
        pen.line([(2 * x, 2 * y) for x, y in points], fill=255, width=max(1, round(2 * width)), joint="curve")
    return np.asarray(canvas.reduce(2), dtype=np.float64) / 255


def _curve(rng: np.random.Generator, shape: tuple[int, ...], length: float, bend: float) -> list[tuple[float, float]]:
    """A quadratic Bézier curve through a random place."""
    start = rng.uniform(-0.1, 1.1, 2) * (shape[1], shape[0])
    angle = rng.uniform(0, 2 * np.pi)
    along = length * np.array([np.cos(angle), np.sin(angle)])
    middle = start + along / 2 + bend * length * rng.normal() * np.array([-np.sin(angle), np.cos(angle)])
    t = np.linspace(0, 1, 25)[:, None]
    points = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * (start + along)
    return [(float(x), float(y)) for x, y in points]


def _hair(rng: np.random.Generator, picture: Field, count: int, scale: float) -> Field:
    shape, thickness = picture.shape[:2], rng.uniform(0.7, 2.6) * scale
    strokes = [
        (_curve(rng, shape, rng.uniform(80, 420) * scale, 0.25), thickness * rng.uniform(0.7, 1.3))
        for _ in range(count)
    ]
    color = np.array([0.16, 0.11, 0.08]) if rng.random() < 0.8 else np.array([0.75, 0.65, 0.5])
    return _blend(picture, rng.uniform(0.45, 0.95) * _drawn(shape, strokes), color * rng.uniform(0.6, 1.6))


def _ink(rng: np.random.Generator, picture: Field, scale: float) -> Field:
    shape = picture.shape[:2]
    strokes = [
        (_curve(rng, shape, rng.uniform(100, 300) * scale, 0.4), rng.uniform(5, 14) * scale)
        for _ in range(int(rng.integers(1, 4)))
    ]
    cover = ndimage.gaussian_filter(_drawn(shape, strokes), 1.5 * scale) * rng.uniform(0.4, 0.8)
    return _blend(picture, cover, np.array([0.33, 0.22, 0.55]))


def _ruler(rng: np.random.Generator, picture: Field, scale: float) -> Field:
    height, width = picture.shape[:2]
    row, step = rng.uniform(0.03, 0.12) * height, rng.uniform(12, 26) * scale
    if rng.random() < 0.5:
        row = height - row
    strokes = [
        ([(x, row), (x, row + (16 if index % 5 == 0 else 8) * scale)], 1.6 * scale)
        for index, x in enumerate(np.arange(rng.uniform(0, step), width, step))
    ]
    return _blend(picture, 0.8 * _drawn((height, width), strokes), np.array([0.1, 0.1, 0.1]))


def _sticker(rng: np.random.Generator, picture: Field, scale: float) -> Field:
    """A round patch of color at the rim, as some clinics use for calibration."""
    shape = picture.shape[:2]
    radius = rng.uniform(50, 110) * scale
    side = rng.choice([-1, 1])
    row, column = rng.uniform(0, shape[0]), shape[1] / 2 + side * (shape[1] / 2 - rng.uniform(-0.3, 0.4) * radius)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    cover = 1 / (1 + np.exp((np.hypot(rows - row, columns - column) - radius) / (1.0 * scale)))
    colors = np.array([[0.25, 0.45, 0.8], [0.9, 0.75, 0.2], [0.35, 0.65, 0.4], [0.85, 0.45, 0.3]])
    return _blend(picture, 0.95 * cover, rng.choice(colors))


def _bubbles(rng: np.random.Generator, picture: Field, scale: float) -> Field:
    """Air in the gel: bright rings, and a glint."""
    shape = picture.shape[:2]
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    cover = np.zeros(shape)
    for _ in range(int(rng.integers(1, 9))):
        row, column = rng.uniform(0, 1, 2) * shape
        radius = rng.uniform(3, 22) * scale
        distance = np.hypot(rows - row, columns - column)
        cover += rng.uniform(0.1, 0.5) * np.exp(-(((distance - radius) / (1.2 * scale)) ** 2))
        cover += 0.6 * np.exp(-((np.hypot(rows - row + radius / 2, columns - column) / (1.8 * scale)) ** 2))
    return _blend(picture, np.clip(cover, 0, 0.9), np.array([0.97, 0.96, 0.95]))
