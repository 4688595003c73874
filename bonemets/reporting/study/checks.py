"""Is this scan like those that the networks were trained on? Said in sentences, never a reason to refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bonemets.transforms.body import body_mask

if TYPE_CHECKING:
    from bonemets.data.planar.scan import PlanarScan

TRAINING_SHAPE = (1024, 256)
TRAINING_SPACING_MM = 2.26
SPACING_TOLERANCE = 0.15
# A whole-body view should hold more than 1.5 million counts (EANM guideline 2016, doi:10.1007/s00259-016-3415-4);
# below a third of that, noise alone makes spots.
MINIMUM_COUNTS = 500_000
# A whole body fills about 0.4 of the field of view; a spot view of the pelvis, 0.8 and more.
BODY_SHARE_RANGE = (0.12, 0.75)
MAXIMUM_ASPECT = 6.0
MINIMUM_ASPECT = 2.5


def scan_warnings(scan: PlanarScan) -> list[str]:
    """Ways in which a scan differs from the training data, one sentence each; empty if it looks alike."""
    rows, columns, _ = scan.pixels.shape
    warnings = []
    if scan.spacing == (1.0, 1.0):
        warnings.append("The pixel spacing is unknown: areas are given in pixels only.")
    elif any(abs(mm / TRAINING_SPACING_MM - 1) > SPACING_TOLERANCE for mm in scan.spacing):
        warnings.append(
            f"The pixels are {scan.spacing[0]:.2f} × {scan.spacing[1]:.2f} mm; the training data have "
            f"{TRAINING_SPACING_MM} mm: lesions look larger or smaller to the network than it knows them."
        )
    if (rows, columns) != TRAINING_SHAPE:
        shape = "×".join(map(str, TRAINING_SHAPE))
        kind = "" if MINIMUM_ASPECT <= rows / columns <= MAXIMUM_ASPECT else ", and this is no whole-body shape"
        warnings.append(f"The image is {rows}×{columns} pixels; the training data are {shape}{kind}.")
    if scan.views == ("unknown",):
        warnings.append("The file does not say whether this is an anterior or a posterior view.")
    for index, view in enumerate(scan.views):
        name = "The image" if view == "unknown" else f"The {view} view"
        warnings += [f"{name} {sentence}" for sentence in _view_warnings(scan.pixels[..., index], scan.format)]
    return warnings


def _view_warnings(view: np.ndarray, source: str) -> list[str]:
    if np.ptp(view) == 0:
        return ["holds a single value: there is nothing to see."]
    warnings = []
    if view.min() < 0:
        warnings.append(f"has values below zero (lowest {view.min():g}), which counts cannot have.")
    rows, columns = view.shape
    border = np.concatenate([view[0], view[-1], view[:, 0], view[:, -1]])
    trunk = view[rows // 4 : -(rows // 4), columns // 3 : -(columns // 3)]
    if np.median(border) > np.median(trunk):
        warnings.append("is brighter at its border than inside: it may be inverted (white background).")
    elif not BODY_SHARE_RANGE[0] <= body_mask(view).mean() <= BODY_SHARE_RANGE[1]:
        warnings.append("does not look like a whole body in its field of view.")
    counts = float(view.sum(dtype=np.float64))
    if source == "dicom" and 0 <= counts < MINIMUM_COUNTS:
        warnings.append(f"has only {counts:,.0f} counts; below {MINIMUM_COUNTS:,} noise alone makes spots.")
    elif source == "image":
        warnings.append("is a picture: its gray values may not be proportional to counts.")
    return warnings
