"""Names for findings: the bone region that a finding most likely lies in, from an atlas registered to the scan.

The atlas (``bone_atlas.npz``, made by ``scripts/simulation/make_bone_atlas.py`` from simulated patients) holds an
average scan and, for every place of it and each view, the chance of each region given that a lesion is seen there.
Bones lie behind each other, and a lesion of the sternum is seen from the front where one of the spine behind it is not:
these chances do not say which bone is in front, they come from placing lesions in all bones and projecting them.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemets.anatomy.average import Array, AverageScan, make_comparable, unwarp
from bonemets.anatomy.regions import MIDDLE_COUNT, REGIONS, with_side
from bonemets.anatomy.registration import Placement, place
from bonemets.data.files import write_bytes
from bonemets.data.planar.geometry import VIEWS

ATLAS_FILE = Path(__file__).with_name("bone_atlas.npz")
CERTAIN = 0.6
"""Chance from which on a region, a bone or a pair of bones is named."""
PUBLISHED_SPACING = (2.26, 2.26)
"""Taken where a file does not say its spacing, in mm: that of the published bone scans of 1024×256 pixels."""

_AVERAGE_PARTS = ("knots", "mean", "precision", "rows", "columns", "values", "spread", "cover")


@dataclass(frozen=True)
class BoneName:
    """Where a finding lies.

    Args:
        name: the region, as "right rib 5-8"; the bone, as "right rib", where the region is not certain; two bones, as
            "right rib or right scapula", where these are not; None where not even that is certain.
        probability: the chance that the name is right; without a name, that of the likeliest bone.
    """

    name: str | None
    probability: float


@dataclass(frozen=True, eq=False)
class BoneAtlas:
    """The average scan and its bones.

    Args:
        average: the average scan.
        chances: (2, N, R, C) uint8, chance times 255 of each region at each place of the anterior and posterior view;
            the regions of the middle and those of the right side (the left side's are their mirror image).
        rows: (R,) rows of the places, mm below the top of the head.
        columns: (C,) their columns, mm to the patient's left of the middle.
        provenance: what it was made from.
    """

    average: AverageScan
    chances: NDArray[np.uint8]
    rows: Array
    columns: Array
    provenance: dict[str, Any]

    def at(self, view: str, u: Array, x: Array) -> Array:
        """Chance of every region at N places: (len(REGIONS), N), in sum 1 per place, or 0 far from all bones."""
        chances = self.chances[VIEWS.index(view)]
        i = np.rint((u - self.rows[0]) / (self.rows[1] - self.rows[0])).astype(int)
        j = np.rint((x - self.columns[0]) / (self.columns[1] - self.columns[0])).astype(int)
        inside = (i >= 0) & (i < len(self.rows)) & (j >= 0) & (j < len(self.columns))
        i, j = np.where(inside, i, 0), np.where(inside, j, 0)
        here, mirrored = chances[:, i, j], chances[MIDDLE_COUNT:, i, len(self.columns) - 1 - j]
        result = np.empty((len(REGIONS), u.size), np.float32)
        result[:MIDDLE_COUNT], result[MIDDLE_COUNT::2] = here[:MIDDLE_COUNT], here[MIDDLE_COUNT:]
        result[MIDDLE_COUNT + 1 :: 2] = mirrored
        return result * inside / 255


def save_atlas(path: Path, atlas: BoneAtlas) -> None:
    """Write an atlas, whole or not at all; the same atlas gives the same bytes."""
    average = {name: getattr(atlas.average, name) for name in _AVERAGE_PARTS}
    for name in ("values", "spread", "cover"):
        average[name] = average[name].astype(np.float16)
    buffer = io.BytesIO()
    note = np.frombuffer(json.dumps(atlas.provenance).encode("utf-8"), np.uint8)
    np.savez_compressed(
        buffer,
        chances=atlas.chances,
        chance_rows=atlas.rows,
        chance_columns=atlas.columns,
        provenance=note,
        **average,
    )
    write_bytes(path, buffer.getvalue())


@lru_cache(maxsize=1)
def load_atlas(path: Path = ATLAS_FILE) -> BoneAtlas:
    """Read an atlas; by default the package's own."""
    with np.load(path) as arrays:
        average = {name: arrays[name] for name in _AVERAGE_PARTS}
        for name in ("values", "spread", "cover"):
            average[name] = average[name].astype(np.float32)
        return BoneAtlas(
            AverageScan(**average),
            arrays["chances"],
            arrays["chance_rows"],
            arrays["chance_columns"],
            json.loads(arrays["provenance"].tobytes()),
        )


@dataclass(frozen=True)
class PlacedView:
    """The atlas as it lies on one view of a scan.

    Args:
        atlas: the atlas.
        placement: how it lies.
        view: "anterior" or "posterior", as the file says, or the more similar one where it says nothing.
        spacing: row and column spacing in mm.
        columns: the image's columns.
        sides: whether right and left are known; they are not where the file does not say which view it is.
    """

    atlas: BoneAtlas
    placement: Placement
    view: str
    spacing: tuple[float, float]
    columns: int
    sides: bool = True

    def chances(self, inside: NDArray[np.bool_]) -> Array:
        """Chance of every region at some pixels of the view as displayed, (len(REGIONS), pixels)."""
        row, column = np.nonzero(inside)
        if self.view == "posterior":
            column = self.columns - 1 - column
        u, x = unwarp(
            self.atlas.average,
            self.placement.parameters,
            (row + 0.5) * self.spacing[0],
            (column - (self.columns - 1) / 2) * self.spacing[1],
        )
        return self.atlas.at(self.view, u, x)

    def name(self, inside: NDArray[np.bool_]) -> BoneName:
        """Name the bone region that a finding lies in.

        Args:
            inside: (H, W) the finding's pixels, as displayed.
        """
        return choose_name(self.chances(inside).mean(axis=1), self.sides)


def place_atlas(
    pixels: NDArray, views: Sequence[str], spacing: tuple[float, float] | None, atlas: BoneAtlas | None = None
) -> list[PlacedView | None]:
    """Lay the atlas over a scan, as displayed: whole body or a part of it.

    Args:
        pixels: counts, (H, W, V).
        views: name of each view; both views of a study are placed together. Where a name is not known, the view is
            taken for the one that it resembles, and sides are not told.
        spacing: row and column spacing in mm; `PUBLISHED_SPACING` where None.
        atlas: the package's own if None.

    Returns:
        For each view how the atlas lies on it; None where the scan does not look like a bone scan, or like no part of
        one that can be told.
    """
    atlas = atlas or load_atlas()
    known = spacing or PUBLISHED_SPACING
    if set(views) <= set(VIEWS):
        placement = place(atlas.average, make_comparable(pixels, views, known))
        if placement is None:
            return [None] * len(views)
        return [PlacedView(atlas, placement, view, known, pixels.shape[1]) for view in views]
    placed: list[PlacedView | None] = []
    for index in range(len(views)):
        tried = [(place(atlas.average, make_comparable(pixels[..., [index]], [view], known)), view) for view in VIEWS]
        found = [
            PlacedView(atlas, placement, view, known, pixels.shape[1], sides=False)
            for placement, view in tried
            if placement is not None
        ]
        placed.append(max(found, key=lambda each: each.placement.correlation, default=None))
    return placed


def choose_name(chances: Array, sides: bool = True) -> BoneName:
    """The narrowest name that is right with a chance of at least `CERTAIN`.

    Args:
        chances: chance of every region, (len(REGIONS),).
        sides: whether right and left are told.
    """
    regions: dict[str, float] = defaultdict(float)
    groups: dict[str, float] = defaultdict(float)
    group_of: dict[str, str] = {}
    for region, chance in zip(REGIONS, chances, strict=True):
        side = region.side if sides else ""
        name, group = with_side(region.name, side), with_side(region.group, side)
        regions[name] += float(chance)
        groups[group] += float(chance)
        group_of[name] = group
    first, second = sorted(groups, key=lambda group: -groups[group])[:2]
    best = max((name for name in regions if group_of[name] == first), key=lambda name: regions[name])
    for name, chance in (
        (best, regions[best]),
        (first, groups[first]),
        (f"{first} or {second}", groups[first] + groups[second]),
    ):
        if chance >= CERTAIN:
            return BoneName(name, chance)
    return BoneName(None, groups[first])
