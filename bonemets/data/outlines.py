"""From a label map to LabelMe's shapes, so that LabelMe's own filling gives the same label map again.

LabelMe fills a polygon with its outline included, and takes the whole part of each coordinate. So the outlines here
run through the middles of a lesion's own outermost pixels, and filled they are the lesion to the pixel. A hole is a
second shape of the same ``group_id``. Where an outline comes back to a pixel it passes a little beside its middle:
LabelMe's window ends a polygon at a point that equals its first one, and would cut off the rest. A lesion of one pixel
is such an outline, too small to see; LabelMe's list has it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from contourpy import LineType, contour_generator
from scipy import ndimage

NAMES = {1: "lesion", 2: "ignore"}
_EIGHT = np.ones((3, 3), int)


def outline_shapes(mask: np.ndarray) -> list[dict[str, Any]]:
    """LabelMe's shapes of a label map.

    Args:
        mask: (H, W), 0 background, 1 lesion, 2 ignore.

    Returns:
        Polygons, as LabelMe's JSON files hold them: every lesion (pixels that share an edge or a corner) is a group of
        its own. `bonemets.data.adapters.labelme.draw_mask` makes exactly `mask` of them.
    """
    shapes: list[dict[str, Any]] = []
    group = 0
    for value, name in NAMES.items():
        labels, count = ndimage.label(mask == value, _EIGHT)
        for number in range(1, count + 1):
            group += 1
            shapes += _shapes_of(labels == number, name, group)
    return shapes


def _shapes_of(region: np.ndarray, name: str, group: int) -> list[dict[str, Any]]:
    filled = ndimage.binary_fill_holes(region)
    holes, count = ndimage.label(filled & ~region)
    outlines = [*_outlines(filled), *(line for hole in range(1, count + 1) for line in _outlines(holes == hole))]
    rest = {"label": name, "group_id": group, "description": "", "shape_type": "polygon", "flags": {}}
    return [{**rest, "points": line} for line in outlines]


def _outlines(region: np.ndarray) -> list[list[list[float]]]:
    """Closed lines through the outermost pixels of a region, as (x, y)."""
    padded = np.pad(region, 1)
    lines = contour_generator(z=padded.astype(float), line_type=LineType.Separate).lines(0.5)
    outlines = []
    for line in map(np.asarray, lines):
        # A line crosses between a pixel of the region and a neighbor that is not: the former of the two.
        low, high = np.floor(line).astype(int), np.ceil(line).astype(int)
        inside = padded[low[:, 1], low[:, 0]]
        outlines.append(_corners((np.where(inside[:, None], low, high) - 1)[:-1]))
    return outlines


def _corners(points: np.ndarray) -> list[list[float]]:
    """The points where a closed line changes direction, all different; at least the three that a polygon needs."""
    moved = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    points = moved if len(moved) else points[:1]
    steps = points - np.roll(points, 1, axis=0)
    turns = points[np.any(steps != np.roll(steps, -1, axis=0), axis=1)]
    points = turns if len(turns) else points
    seen: Counter[tuple[int, int]] = Counter()
    corners = []
    for x, y in np.resize(points, (max(3, len(points)), 2)).tolist():
        # An outline passes through a pixel four times at most.
        corners.append([x + 0.5 + 0.1 * seen[x, y], y + 0.5])
        seen[x, y] += 1
    return corners
