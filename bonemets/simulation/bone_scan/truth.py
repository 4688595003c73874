"""What counts as a lesion in a planar image.

A planar image has no outline of its own: a lesion is what a reader would draw. For each lesion and each view, only the
activity that the lesion adds is projected, with attenuation, collimator blur and the counts of this scan, without noise
and scatter. The lesion's **mask** is where these counts reach 42 % of their maximum in this view. (42 % is the
customary threshold for 99mTc, 10.1002/mp.70399; the masks for 30 % and 50 % differ by about one pixel, less than
readers do, who agree to Dice 0.70, 10.3390/diagnostics13040685.)

It is **visible** if its contrast is at least 0.5 and its detectability at least 5::

    contrast       C  = max |signal| / mean background in the mask
    detectability  d' = sum |signal| / sqrt(sum background)      over the mask

where the background is what the image would expect there without any lesion, so that two lesions that touch do not
hide each other. A photopenic lesion removes counts; it is visible from a contrast of -0.25 on, since it can never reach
-1. What is not visible is recorded as hidden and counts neither for nor against anyone. A pixel of several lesions
belongs to the one that adds most counts. The diffuse uptake of a superscan has no outline; it is hidden too.

The limits were chosen by looking at 54 crops: below 0.25 nobody sees a lesion, from 0.25 to 0.5 one may suspect it,
above 0.8 it is clear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from bonemets.simulation.bone_scan.camera import Scene, View, sigma_pixels
from bonemets.simulation.patient.grid import COLUMNS, ROWS
from bonemets.simulation.patient.spots import Spot
from bonemets.simulation.skeleton.anatomy import BONES
from bonemets.simulation.skeleton.skeleton import Skeleton

OUTLINE_SHARE = 0.42
MIN_CONTRAST, MIN_COLD_CONTRAST, MIN_DETECTABILITY = 0.50, 0.25, 5.0

_MARGIN = 8
"""Pixels around a lesion's points that its blur may reach (three standard deviations at 35 cm)."""


def project_spot(
    spot: Spot, scene: Scene, view: View, counts_per_unit: float
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Expected counts that a spot alone adds to a view, in a window around it.

    Returns:
        (h, w) float32 counts, negative for a photopenic lesion, and the window in the (anterior) image. Empty if the
        spot lies off the image.
    """
    index = spot.index[scene.pixel[spot.index] >= 0]
    excess = spot.excess[scene.pixel[spot.index] >= 0]
    if not len(index):
        return np.zeros((0, 0), np.float32), (slice(0, 0), slice(0, 0))
    row, column = np.divmod(scene.pixel[index], COLUMNS)
    top, left = max(int(row.min()) - _MARGIN, 0), max(int(column.min()) - _MARGIN, 0)
    bottom, right = min(int(row.max()) + _MARGIN + 1, ROWS), min(int(column.max()) + _MARGIN + 1, COLUMNS)
    shape = (bottom - top, right - left)
    weight = excess * view.transmission[index]
    image = np.bincount((row - top) * shape[1] + column - left, weight, shape[0] * shape[1]).reshape(shape)
    distance = float(view.slab_distance[view.slab[index]].mean())
    blurred = ndimage.gaussian_filter(image, sigma_pixels(distance), truncate=3, mode="constant")
    return (blurred * counts_per_unit).astype(np.float32), (slice(top, bottom), slice(left, right))


def outline_spots(
    spots: list[Spot], scene: Scene, view: View, expected: np.ndarray, scanned: np.ndarray, counts_per_unit: float
) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Masks and visibility of all spots in one view.

    Args:
        spots: lesions or benign spots.
        scene: what was imaged.
        view: the detector's view of it.
        expected: (rows, columns) noise-free counts, in the anterior orientation like everything here.
        scanned: (rows, columns) bool: the field of view.
        counts_per_unit: scale from activity to counts.

    Returns:
        Label maps (rows, columns) uint16 of the visible and of the hidden spots, and one record per spot.
    """
    labels = {True: np.zeros((ROWS, COLUMNS), np.uint16), False: np.zeros((ROWS, COLUMNS), np.uint16)}
    strongest = {True: np.zeros((ROWS, COLUMNS), np.float32), False: np.zeros((ROWS, COLUMNS), np.float32)}
    records: list[dict[str, Any]] = []
    signals = [project_spot(spot, scene, view, counts_per_unit) for spot in spots]
    background_image = expected.astype(np.float32)
    for signal, window in signals:
        background_image[window] -= signal
    for spot, (signal, window) in zip(spots, signals, strict=True):
        magnitude = np.abs(signal) * scanned[window]
        peak = float(magnitude.max(initial=0.0))
        record: dict[str, Any] = {"visible": False, "contrast": 0.0, "detectability": 0.0, "area_px": 0}
        records.append(record | {"peak_counts": round(peak, 3)})
        if peak <= 1e-6:
            continue
        mask = magnitude >= OUTLINE_SHARE * peak
        background = np.maximum(background_image[window], 0.1)[mask]
        contrast = peak / float(background.mean())
        detectability = float(magnitude[mask].sum()) / float(np.sqrt(background.sum()))
        cold = bool(spot.excess.sum() < 0)
        visible = contrast >= (MIN_COLD_CONTRAST if cold else MIN_CONTRAST) and detectability >= MIN_DETECTABILITY
        records[-1] |= {
            "visible": bool(visible),
            "contrast": round(-contrast if cold else contrast, 4),
            "detectability": round(detectability, 3),
        }
        wins = mask & (magnitude > strongest[visible][window])
        strongest[visible][window][wins] = magnitude[wins]
        labels[visible][window][wins] = spot.id
    for maps in (labels[True], labels[False]):
        present, area = np.unique(maps, return_counts=True)
        for number, pixels in zip(present, area, strict=True):
            if number:
                records[number - 1]["area_px"] = int(pixels)
    for record in records:  # a visible lesion may lie wholly under a stronger one: then nobody sees it
        if record["visible"] and record["area_px"] == 0:
            record["visible"] = False
    return labels[True], labels[False], records


def outline_diffuse(spot: Spot, scene: Scene, view: View, expected: np.ndarray, counts_per_unit: float) -> np.ndarray:
    """Where a superscan's diffuse uptake is plain to see: its contrast to everything else is at least 0.5.

    Nobody can outline it lesion by lesion, so it is to be ignored rather than counted.

    Returns:
        (rows, columns) bool.
    """
    mask = np.zeros((ROWS, COLUMNS), bool)
    signal, window = project_spot(spot, scene, view, counts_per_unit)
    mask[window] = signal >= MIN_CONTRAST * np.maximum(expected[window] - signal, 0.1)
    return mask


def bone_map(skeleton: Skeleton, scene: Scene, view: View, concentration: np.ndarray) -> np.ndarray:
    """Label of the bone that contributes most counts to each pixel, (rows, columns) uint8, 0 where there is none.

    Args:
        skeleton: the bones.
        scene: what was imaged.
        view: the detector's view.
        concentration: (P,) normal uptake, so that lesions do not decide which bone is in front.
    """
    best = np.zeros((ROWS, COLUMNS), np.float32)
    labels = np.zeros((ROWS, COLUMNS), np.uint8)
    count = len(concentration)
    weight = concentration * skeleton.volume * view.transmission[:count]
    row, column = np.divmod(scene.pixel[:count], COLUMNS)
    for label in BONES:
        part = skeleton.points_of(label)
        seen = scene.pixel[part] >= 0
        if not seen.any():
            continue
        r, c = row[part][seen], column[part][seen]
        top, left = int(r.min()), int(c.min())
        shape = (int(r.max()) - top + 1, int(c.max()) - left + 1)
        image = np.bincount((r - top) * shape[1] + c - left, weight[part][seen], shape[0] * shape[1]).reshape(shape)
        window = np.s_[top : top + shape[0], left : left + shape[1]]
        wins = image > best[window]
        best[window][wins] = image[wins]
        labels[window][wins] = label
    return labels
