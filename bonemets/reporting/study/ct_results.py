"""The folder that `bonemets segment` leaves per CT series: written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bonemets.data.fingerprints import scan_sha256, slices_sha256
from bonemets.reporting.study.results import (
    RESEARCH_USE,
    RESULT_FORMAT,
    algorithm_of,
    file_name,
    new_folder,
    software_versions,
    study_name,
    written_files,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bonemets.data.ct.scan import CTScan
    from bonemets.data.findings import CTFinding
    from bonemets.data.prediction import Prediction

# Air around and in the body is near -1000 HU: without any, the values are of another scale.
AIR_BELOW = -500.0
# Simulated slices are 2.5 mm thick; partial volume in much thicker ones hides small lesions.
THICK_SLICES_MM = 6.0


def write_ct_study(
    target: Path, scan: CTScan, prediction: Prediction, model: Mapping[str, Any], seconds: Mapping[str, float]
) -> tuple[dict[str, Any], list[CTFinding]]:
    """Write mask, DICOM SEG and SR (for DICOM), pictures, page and ``result.json`` of one CT series.

    Args:
        target: the folder, made here.
        scan: the CT.
        prediction: what a network says about it.
        model: what made the prediction, as `bonemets.engines.BundlePredictor.record` tells it.
        seconds: what took how long, for the record.

    Returns:
        The content of ``result.json``, and the findings.

    Raises:
        InputError: it cannot be written; then nothing is left.
    """
    from bonemets.data import write_bytes, write_ct_mask
    from bonemets.dicom import write_ct_seg, write_ct_sr
    from bonemets.reporting.figures import figure_png
    from bonemets.reporting.pages import render_report
    from bonemets.reporting.study.ct_pictures import ct_drawing, ct_figure, shown_slices

    result, findings, numbered = describe_ct(scan, prediction, model, seconds)
    algorithm = algorithm_of(result)
    chosen = shown_slices(result["findings"], scan.pixels.shape[2])
    with new_folder(target) as folder:
        write_ct_mask(folder / "mask.nii.gz", prediction.mask, scan.source_affine, scan.source_shape)
        if scan.datasets:
            write_ct_seg(folder / "seg.dcm", scan, prediction.mask, algorithm=algorithm)
            write_ct_sr(folder / "sr.dcm", scan, numbered, findings, algorithm)
        write_bytes(folder / "overlay.png", figure_png(ct_figure(scan, numbered, chosen, title=RESEARCH_USE)))
        drawing = ct_drawing(scan, numbered, result["findings"], chosen)
        write_bytes(folder / "report.html", render_report(result, drawing).encode("utf-8"))
        write_bytes(folder / "result.json", (json.dumps(result, indent=2, allow_nan=False) + "\n").encode("utf-8"))
    return result, findings


def describe_ct(
    scan: CTScan, prediction: Prediction, model: Mapping[str, Any], seconds: Mapping[str, float]
) -> tuple[dict[str, Any], list[CTFinding], NDArray[np.int32]]:
    """What ``result.json`` holds, the findings, and each finding's number where it is, (H, W, K). No patient data."""
    from bonemets.reporting.study.ct_findings import even_step, measure_ct_findings

    findings, numbered = measure_ct_findings(scan, prediction.probability, prediction.mask)
    header = scan.dataset
    rows, columns, slices = scan.pixels.shape
    step = even_step(scan.heights)
    record = {
        "format": RESULT_FORMAT,
        "use": RESEARCH_USE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": {
            "name": study_name(scan),
            "kind": "CT",
            "format": scan.format,
            "file": None if header is not None else file_name(scan.path),
            "study_instance_uid": None if header is None else str(header.get("StudyInstanceUID", "")),
            "series_instance_uid": None if header is None else str(header.get("SeriesInstanceUID", "")),
            "pixels_sha256": scan_sha256(scan),
            "slices_sha256": slices_sha256(scan),
            "rows": rows,
            "columns": columns,
            "slices": slices,
            "spacing_mm": None if scan.format == "image" else [round(value, 4) for value in scan.spacing],
            "slice_step_mm": None if scan.format == "image" or step is None else round(step, 4),
            "values": "gray values" if scan.format == "image" else "HU",
        },
        "model": dict(model),
        "findings": [finding.as_dict() for finding in findings],
        "warnings": ct_warnings(scan, step),
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "versions": software_versions(),
        "files": written_files(scan),
    }
    return record, findings, numbered


def ct_warnings(scan: CTScan, step: float | None) -> list[str]:
    """Ways in which a CT differs from the training data, one sentence each; empty if it looks alike."""
    warnings = []
    if scan.format == "image":
        warnings.append("This is a picture: its window is taken to be -500 to 1300 HU, and its pixels have no size.")
    elif scan.pixels.min() > AIR_BELOW:
        warnings.append(
            f"The lowest value is {scan.pixels.min():g}, so there is no air in it: the values may not be Hounsfield "
            "units."
        )
    if step is None and scan.format != "image" and scan.pixels.shape[2] > 1:
        warnings.append(
            "The slices are not evenly spaced, which NIfTI cannot say: in mask.nii.gz they have a mean step, their "
            "places are those of seg.dcm, and lesions have no volume."
        )
    if step is not None and scan.format != "image" and step > THICK_SLICES_MM:
        warnings.append(f"The slices are {step:.1f} mm apart: lesions between them are not seen.")
    return warnings
