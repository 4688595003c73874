"""What a mask says in numbers: one finding per lesion component and view.

Uptake is told relative to the rest of the body in the same view, since counts depend on dose, time and camera.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.anatomy import place_atlas
from bonemets.data.findings import Finding
from bonemets.metrics.lesions import lesion_components
from bonemets.transforms.body import body_mask


def measure_findings(
    pixels: NDArray,
    probability: NDArray,
    mask: NDArray,
    views: tuple[str, ...],
    spacing: tuple[float, float] | None,
    *,
    name_bones: bool = True,
) -> list[Finding]:
    """Measure every lesion component of a study.

    Args:
        pixels: counts, (H, W, V).
        probability: lesion probability, (H, W, V), 0 to 1.
        mask: lesion mask, (H, W, V).
        views: name of each of the V views.
        spacing: row and column pixel spacing in mm; None where unknown.
        name_bones: whether to look for the bones; not in what is no bone scan.

    Returns:
        The findings in reading order: view by view, head to feet.
    """
    findings: list[Finding] = []
    placed = place_atlas(pixels, views, spacing) if name_bones and np.any(mask) else [None] * len(views)
    for index, view in enumerate(views):
        counts, chance, atlas = pixels[..., index], probability[..., index], placed[index]
        rest = counts[body_mask(counts) & (mask[..., index] == 0)]
        background = float(rest.mean()) if rest.size else 0.0
        for inside, (row, column) in ordered_components(mask[..., index]):
            mean = float(counts[inside].mean())
            bone = None if atlas is None else atlas.name(inside)
            findings.append(
                Finding(
                    number=len(findings) + 1,
                    view=view,
                    row=row,
                    column=column,
                    area_px=int(inside.sum()),
                    area_cm2=None if spacing is None else float(inside.sum() * spacing[0] * spacing[1] / 100),
                    probability_max=float(chance[inside].max()),
                    probability_mean=float(chance[inside].mean()),
                    counts_max=float(counts[inside].max()),
                    counts_mean=mean,
                    uptake_ratio=mean / background if background > 0 else None,
                    bone=None if bone is None else bone.name,
                    bone_probability=None if bone is None else bone.probability,
                )
            )
    return findings


def ordered_components(mask: NDArray) -> Iterator[tuple[NDArray[np.bool_], tuple[float, float]]]:
    """The lesion components of one view, (H, W) bool, with row and column of their centers, head to feet."""
    labels, count = lesion_components(mask)
    places = ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))
    for label, (row, column) in sorted(enumerate(places, start=1), key=lambda item: item[1]):
        yield labels == label, (float(row), float(column))


def number_findings(mask: NDArray) -> NDArray[np.int32]:
    """Each finding's number where it is, (H, W, V), in the order of `measure_findings`."""
    numbered = np.zeros(mask.shape, np.int32)
    following = count(1)
    for view in range(mask.shape[2]):
        for inside, _ in ordered_components(mask[..., view]):
            numbered[..., view][inside] = next(following)
    return numbered


def masks_by_bone(mask: NDArray, names: Sequence[str | None]) -> dict[str | None, NDArray[np.bool_]]:
    """The mask taken apart by the names of the bones: name, or None for findings without one, → (H, W, V) bool.

    Args:
        mask: lesion mask, (H, W, V).
        names: name of the bone of each of its findings, in the order of `measure_findings`.
    """
    parts: dict[str | None, NDArray[np.bool_]] = {}
    following = iter(names)
    for view in range(mask.shape[2]):
        for inside, _ in ordered_components(mask[..., view]):
            parts.setdefault(next(following), np.zeros(mask.shape, bool))[..., view] |= inside
    return parts
