"""The lesions of a proposal, for the client's list."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from bonemets.data.ct.scan import CTScan
from bonemets.data.modalities import NM
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.prediction import Prediction
from bonemets.reporting.study.findings import measure_findings


def proposed_lesions(scan: PlanarScan | CTScan, prediction: Prediction, modality: str) -> list[dict[str, Any]]:
    """Every connected region of the mask, with its place and probability.

    Of a bone scan what `bonemets.reporting.study.findings.measure_findings` tells of each view. Of a CT, whose regions
    extend over slices, and of a picture: ``number`` (1 for the largest), ``row``, ``column`` and ``slice`` of its
    center as displayed, from 0, ``size_px`` (pixels or voxels), ``volume_ml`` (None for a picture),
    ``probability_max`` and ``probability_mean``.

    Args:
        scan: the image.
        prediction: what the bundle says of it.
        modality: the image's.
    """
    if modality == NM and isinstance(scan, PlanarScan):
        spacing = scan.spacing if scan.spacing != (1, 1) else None
        findings = measure_findings(scan.pixels, prediction.probability, prediction.mask, scan.views, spacing)
        return [finding.as_dict() for finding in findings]
    # Slices touch each other by their faces; within a slice corners count too, as in `lesion_components`.
    touching = np.zeros((3, 3, 3), int)
    touching[:, :, 1] = touching[1, 1, :] = 1
    regions, count = ndimage.label(prediction.mask, touching)
    numbers = range(1, count + 1)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    centers = ndimage.center_of_mass(prediction.mask, regions, numbers)
    highest = ndimage.maximum(prediction.probability, regions, numbers)
    means = ndimage.mean(prediction.probability, regions, numbers)
    millimeters = isinstance(scan, CTScan) and scan.format != "image"
    voxel = abs(float(np.linalg.det(scan.affine[:3, :3]))) / 1000 if millimeters else None
    return [
        {
            "number": number,
            "row": round(float(centers[index][0]), 2),
            "column": round(float(centers[index][1]), 2),
            "slice": round(float(centers[index][2]), 2),
            "size_px": int(sizes[index]),
            "volume_ml": None if voxel is None else round(int(sizes[index]) * voxel, 3),
            "probability_max": round(float(highest[index]), 4),
            "probability_mean": round(float(means[index]), 4),
        }
        for number, index in enumerate(np.argsort(-sizes, kind="stable"), start=1)
    ]
