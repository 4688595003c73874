"""How a planar scan is shown: inverted gray, as nuclear physicians read it, and outlines around masks."""

from __future__ import annotations

import base64
import io

import numpy as np
from contourpy import LineType, contour_generator
from numpy.typing import NDArray

# Bladder and injection site hold up to ten times the counts of bone: clipping there and lifting the low end keeps
# ribs visible beside them. Chosen by eye on the NEMA whole-body scan (clip at 75 of 278 counts).
GAMMA = 0.55
CLIP_PERCENTILE = 99.3

SIDES = {"anterior": ("R", "L"), "posterior": ("L", "R"), "axial": ("R", "L")}
"""Patient's side at the left and at the right border of the image, by view."""


def display_gray(view: NDArray, gamma: float = GAMMA, percentile: float = CLIP_PERCENTILE) -> NDArray[np.uint8]:
    """One view in inverted gray: white where there are no counts, black at the clipping point and above.

    Args:
        view: counts, (H, W); values below zero are shown as zero.
        gamma: exponent on the counts; below 1 lifts the faint ones.
        percentile: percentile of the positive pixels that becomes black.

    Returns:
        Gray values, (H, W) uint8.
    """
    counts = np.maximum(np.asarray(view, dtype=np.float32), 0)
    positive = counts[counts > 0]
    top = float(np.percentile(positive, percentile)) if positive.size else 1.0
    return np.uint8(255) - np.round(255 * np.clip(counts / top, 0, 1) ** gamma).astype(np.uint8)


def outlines(mask: NDArray) -> list[NDArray[np.float64]]:
    """Closed lines half-way between the mask's pixels and the others.

    Args:
        mask: (H, W); what is not zero is inside.

    Returns:
        One (N, 2) array of (x, y) per line, in pixels with (0, 0) at the center of the first pixel.
    """
    padded = np.pad(np.asarray(mask) != 0, 1).astype(np.float32)
    lines = contour_generator(z=padded, line_type=LineType.Separate).lines(0.5)
    return [np.asarray(line) - 1 for line in lines]


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """A gray (H, W) or colored (H, W, 3) image as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG as an address that a page can hold itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
