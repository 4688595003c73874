"""What a mask of a CT says in numbers: one finding per lesion component, over all slices that it reaches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.data.ct.scan import CTScan
from bonemets.data.findings import CTFinding

# Slices further apart show different parts of a bone: a lesion is not followed from one to the other.
GREATEST_STEP = 10.0
# Steps between slices may differ by this share before a volume means nothing.
STEP_TOLERANCE = 0.05


def measure_ct_findings(scan: CTScan, probability: NDArray, mask: NDArray) -> tuple[list[CTFinding], NDArray[np.int32]]:
    """Measure every lesion component of a CT.

    Args:
        scan: the CT.
        probability: lesion probability, (H, W, K), 0 to 1.
        mask: lesion mask, (H, W, K).

    Returns:
        The findings from head to feet, and (H, W, K) with each finding's number where it is.
    """
    labels, boxes = lesion_volumes(mask, scan.heights)
    has_place = scan.format != "image"
    pixel_cm2 = scan.spacing[0] * scan.spacing[1] / 100
    # A volume is made of slabs: their thickness counts along the slices' normal, also where the gantry is tilted.
    step = even_step(scan.depths)
    findings, numbered = [], np.zeros(mask.shape, np.int32)
    for number, (label, box) in enumerate(boxes, start=1):
        inside = labels[box] == label
        numbered[box][inside] = number
        areas = inside.sum(axis=(0, 1))
        largest = int(areas.argmax())
        row, column = ndimage.center_of_mass(inside[..., largest])
        values, chance = scan.pixels[box][inside], probability[box][inside]
        index = box[2].start + largest
        findings.append(
            CTFinding(
                number=number,
                slice=index + 1,
                first_slice=box[2].start + 1,
                last_slice=box[2].stop,
                height_mm=float(scan.heights[index]) if has_place else None,
                sop_instance_uid=str(scan.displayed_datasets[index].SOPInstanceUID) if scan.datasets else None,
                row=float(row) + box[0].start,
                column=float(column) + box[1].start,
                area_px=int(areas[largest]),
                area_cm2=float(areas[largest] * pixel_cm2) if has_place else None,
                volume_ml=float(areas.sum() * pixel_cm2 * step / 10) if has_place and step is not None else None,
                value_max=float(values.max()),
                value_mean=float(values.mean()),
                probability_max=float(chance.max()),
                probability_mean=float(chance.mean()),
            )
        )
    return findings, numbered


def lesion_volumes(
    mask: NDArray, heights: Sequence[float] | NDArray
) -> tuple[NDArray[np.int32], list[tuple[int, tuple[slice, slice, slice]]]]:
    """Label the components of a mask that are connected within slices and to near slices, corners included.

    Args:
        mask: (H, W, K), any type; what is not zero belongs to a lesion.
        heights: (K,), of the slices in mm.

    Returns:
        Labels, (H, W, K); and label and bounding box of each component, from head to feet, then row by row.
    """
    labels = np.zeros(mask.shape, np.int32)
    count = 0
    breaks = np.flatnonzero(np.abs(np.diff(heights)) > GREATEST_STEP) + 1
    for block in np.split(np.arange(mask.shape[2]), breaks):
        part = slice(block[0], block[-1] + 1)
        found, more = ndimage.label(mask[..., part] != 0, structure=np.ones((3, 3, 3)))
        labels[..., part] = np.where(found > 0, found + count, 0)
        count += more
    boxes = [(label, box) for label, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None]
    return labels, sorted(boxes, key=lambda item: (-item[1][2].stop, item[1][0].start, item[1][1].start))


def even_step(heights: Sequence[float] | NDArray) -> float | None:
    """Distance of slices in mm; None for a single slice and for slices that are not evenly spaced."""
    steps = np.abs(np.diff(heights))
    if not steps.size or np.ptp(steps) > STEP_TOLERANCE * steps.mean():
        return None
    return float(steps.mean())
