"""The image grid that all stages share."""

from __future__ import annotations

import numpy as np

ROWS, COLUMNS = 1024, 256
PIXEL = 0.00226
"""Pixel size in meters (whole-body matrix 1024 x 256 of the NEMA NM1 scan and of the published data sets)."""


def row_heights(top: float) -> np.ndarray:
    """Height z (meters) of the center of every row, for an image whose upper edge is at ``top``."""
    return top - (np.arange(ROWS) + 0.5) * PIXEL


def pixel_of(points: np.ndarray, top: float) -> np.ndarray:
    """Flat pixel index (P,) int32 in the anterior view of points (P, 3); -1 where a point is off the image.

    Points off the image are marked, not clamped: clamped ones would pile up on the border.
    """
    row = np.floor((top - points[:, 2]) / PIXEL).astype(np.int32)
    column = np.floor(points[:, 0] / PIXEL + COLUMNS / 2).astype(np.int32)
    inside = (row >= 0) & (row < ROWS) & (column >= 0) & (column < COLUMNS)
    return np.where(inside, row * COLUMNS + column, -1).astype(np.int32)
