"""The folder that `bonemets segment` leaves per study: written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bonemets
from bonemets.data.fingerprints import scan_sha256
from bonemets.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bonemets.data.ct.scan import CTScan
    from bonemets.data.findings import Finding
    from bonemets.data.planar.scan import PlanarScan
    from bonemets.data.prediction import Prediction
    from bonemets.dicom import Algorithm

RESULT_FORMAT = 1
DICOM_FILES = ("seg.dcm", "sr.dcm")
FILES = ("mask.nii.gz", *DICOM_FILES, "overlay.png", "report.html", "result.json")
# With more findings their numbers would hide the picture.
MAXIMUM_NUMBERED = 40
MAXIMUM_NAME = 100
RESEARCH_USE = "Research use only. Not for diagnosis."


def study_name(scan: PlanarScan | CTScan) -> str:
    """A name for the scan's folder that says nothing about the patient.

    For DICOM it is made of a hash of the StudyInstanceUID, for other files it is their own name.
    """
    if scan.dataset is not None:
        uid = scan.dataset.get("StudyInstanceUID") or scan.dataset.get("SOPInstanceUID") or scan_sha256(scan)
        return "study-" + hashlib.sha256(str(uid).encode()).hexdigest()[:12]
    stem = re.sub(r"(\.nii)?\.[^.]+$", "", scan.path.name)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-") or "scan"
    if len(name) <= MAXIMUM_NAME:
        return name
    # File systems allow 255 bytes, and temporary names are longer.
    return f"{name[: MAXIMUM_NAME - 9]}-{hashlib.sha256(stem.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def file_name(path: Path) -> str:
    """A file's name as text, on one line; a name may hold bytes that are none."""
    return " ".join(path.name.encode("utf-8", "backslashreplace").decode("utf-8").split())


def study_folder(output: Path, scan: PlanarScan | CTScan) -> Path:
    """Where the scan's results go: an earlier result of the same scan is replaced, that of another one is not.

    Raises:
        InputError: the folder is there but is not a result of ours.
    """
    folder = output / study_name(scan)
    if not folder.exists() or _scan_of(folder) == scan_sha256(scan):
        return folder
    # Another scan of the same study or of the same file name.
    folder = output / f"{folder.name}-{scan_sha256(scan)[:8]}"
    if folder.exists():
        _scan_of(folder)
    return folder


def _scan_of(folder: Path) -> str:
    try:
        extra = {path.name for path in folder.iterdir()} - set(FILES)
        scan = str(json.loads((folder / "result.json").read_text("utf-8"))["study"]["pixels_sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} exists and is not a result of bonemets segment; choose another --output") from error
    if extra:
        raise InputError(
            f"{folder} holds {min(extra)}, which is not ours to replace; move it or choose another --output"
        )
    return scan


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to write into that becomes ``target`` when all is written, and vanishes otherwise.

    Raises:
        InputError: it cannot be written.
    """
    part, old = (target.with_name(f".{target.name}.{os.getpid()}.{kind}") for kind in ("part", "old"))
    parent_is_new = not target.parent.exists()
    try:
        part.mkdir(parents=True)
        yield part
        if target.exists():
            target.rename(old)
        part.rename(target)
    except OSError as error:
        raise InputError(f"cannot write {target} ({error.strerror or error}); choose another --output") from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for leftover in (part, old):
            shutil.rmtree(leftover, ignore_errors=True)
        if parent_is_new and target.parent.is_dir() and not any(target.parent.iterdir()):
            target.parent.rmdir()


def write_study(
    target: Path,
    scan: PlanarScan,
    prediction: Prediction,
    model: Mapping[str, Any],
    seconds: Mapping[str, float],
    *,
    colors: NDArray[np.uint8] | None = None,
) -> tuple[dict[str, Any], list[Finding]]:
    """Write mask, DICOM SEG and SR (for DICOM scans), overlay, page and ``result.json`` of one scan.

    Args:
        target: the folder, made here.
        scan: the scan.
        prediction: what a network says about it.
        model: what made the prediction, as `bonemets.engines.BundlePredictor.record` tells it.
        seconds: what took how long, for the record.
        colors: of a picture that was segmented in color, (H, W, 3); None for bone scans.

    Returns:
        The content of ``result.json``, and the findings.

    Raises:
        InputError: it cannot be written; then nothing is left.
    """
    from bonemets.data import write_bytes, write_mask_like
    from bonemets.dicom import write_seg, write_sr
    from bonemets.reporting.figures import figure_png, overlay_figure
    from bonemets.reporting.pages import render_report, scan_drawing
    from bonemets.reporting.study.findings import masks_by_bone, number_findings

    result, findings = describe(scan, prediction, model, seconds, in_color=colors is not None)
    algorithm = algorithm_of(result)
    with new_folder(target) as folder:
        write_mask_like(folder / "mask.nii.gz", prediction.mask, scan)
        if scan.dataset is not None:
            write_seg(
                folder / "seg.dcm",
                scan,
                prediction.mask,
                algorithm=algorithm,
                bones=masks_by_bone(prediction.mask, [finding.bone for finding in findings]),
            )
            write_sr(folder / "sr.dcm", scan, number_findings(prediction.mask), findings, algorithm)
        figure = overlay_figure(
            scan.pixels if colors is None else colors,
            scan.views,
            prediction.mask,
            title=RESEARCH_USE,
            spacing=scan.spacing,
            numbers=len(result["findings"]) <= MAXIMUM_NUMBERED,
            in_color=colors is not None,
        )
        write_bytes(folder / "overlay.png", figure_png(figure))
        drawing = scan_drawing(scan.pixels, scan.views, prediction.mask, spacing=scan.spacing, colors=colors)
        write_bytes(folder / "report.html", render_report(result, drawing).encode("utf-8"))
        write_bytes(folder / "result.json", (json.dumps(result, indent=2, allow_nan=False) + "\n").encode("utf-8"))
    return result, findings


def describe(
    scan: PlanarScan,
    prediction: Prediction,
    model: Mapping[str, Any],
    seconds: Mapping[str, float],
    *,
    in_color: bool = False,
) -> tuple[dict[str, Any], list[Finding]]:
    """What ``result.json`` holds: the scan, the model, the findings, and how far to trust them. No patient data.

    Args:
        scan: the scan.
        prediction: what a network says about it.
        model: what made the prediction.
        seconds: what took how long.
        in_color: whether it is a picture that was segmented in color.

    Returns:
        The record, and the findings.
    """
    from bonemets.reporting.study.checks import scan_warnings
    from bonemets.reporting.study.findings import measure_findings

    spacing = None if scan.spacing == (1.0, 1.0) else scan.spacing
    findings = measure_findings(
        scan.pixels, prediction.probability, prediction.mask, scan.views, spacing, name_bones=not in_color
    )
    header = scan.dataset
    rows, columns, _ = scan.pixels.shape
    record = {
        "format": RESULT_FORMAT,
        "use": RESEARCH_USE,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "study": {
            "name": study_name(scan),
            "kind": "picture" if in_color else "bone scan",
            "format": scan.format,
            "file": None if header is not None else file_name(scan.path),
            "study_instance_uid": None if header is None else str(header.get("StudyInstanceUID", "")),
            "sop_instance_uids": list(dict.fromkeys(str(f.dataset.get("SOPInstanceUID", "")) for f in scan.frames)),
            "pixels_sha256": scan_sha256(scan),
            "views": list(scan.views),
            "rows": rows,
            "columns": columns,
            "spacing_mm": None if spacing is None else list(spacing),
            "total_counts": [round(float(total), 2) for total in scan.pixels.sum(axis=(0, 1), dtype="float64")],
        },
        "model": dict(model),
        "findings": [finding.as_dict() for finding in findings],
        # What they compare with are bone scans.
        "warnings": [] if in_color else scan_warnings(scan),
        "seconds": {key: round(value, 3) for key, value in seconds.items()},
        "versions": software_versions(),
        "files": written_files(scan),
    }
    return record, findings


def algorithm_of(result: dict[str, Any]) -> Algorithm:
    """What made the findings, for DICOM's objects."""
    from bonemets.dicom import Algorithm

    model = result["model"]
    return Algorithm(
        name=model["bundle"],
        version=str(model["version"] or bonemets.__version__),
        parameters={"threshold": f"{model['threshold']:g}", "weights sha256": model["weights_sha256"]},
        simulated_only=model["simulated_patients_only"],
    )


def software_versions() -> dict[str, str]:
    """Versions of Python and of the packages that the findings depend on."""
    packages = ("bonemets", "torch", "monai", "numpy", "pydicom", "highdicom")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def written_files(scan: PlanarScan | CTScan) -> list[str]:
    """The files beside the report: DICOM's objects for DICOM alone."""
    without = ("report.html",) if scan.dataset is not None else ("report.html", *DICOM_FILES)
    return [name for name in FILES if name not in without]
