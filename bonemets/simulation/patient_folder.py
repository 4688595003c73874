"""The files of one simulated patient: DICOM, NIfTI images and label maps, preview and parameters."""

from __future__ import annotations

import hashlib
import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, find_objects

from bonemets.data.files import nifti_bytes
from bonemets.data.planar.geometry import VIEWS, planar_affine
from bonemets.dicom.nm import NMHeader, nm_bytes
from bonemets.errors import InputError
from bonemets.simulation.ct.folder import ct_contents

if TYPE_CHECKING:
    from bonemets.simulation import SimulatedStudy
    from bonemets.simulation.ct.slices import SimulatedCT

SPACING = (2.26, 2.26)
RECORD = "patient.json"
# Inverted gray as bone scans are read; the bladder would set the scale, so the top 0.7 % of the body is clipped.
GAMMA, CLIP_PERCENTILE = 0.55, 99.3
# Colors of the outlines, after 253 grays in the preview's palette: a third of the bytes and of the time of RGB.
GRAYS = 253
_VISIBLE, _IGNORED, _BENIGN = GRAYS, GRAYS + 1, GRAYS + 2
_COLORS = (214, 39, 40, 31, 119, 180, 44, 160, 44)


def patient_name(number: int) -> str:
    """Name of a patient and of its folder, from its number, which counts from 1."""
    return f"patient_{number:04d}"


def write_patient(
    cohort: Path,
    number: int,
    seed: int,
    version: str,
    study: SimulatedStudy,
    target: np.ndarray,
    *,
    modality: str = "nm",
    ct: SimulatedCT | None = None,
) -> dict[str, Any]:
    """Write a patient's folder under a temporary name and rename it, so that it is complete or absent.

    Args:
        cohort: the cohort's folder.
        number: number of the patient, from 1.
        seed: seed of the cohort.
        version: version of the simulator.
        study: what was simulated.
        target: (H, W, 2) uint8, the label that networks are trained on: 0 background, 1 lesion, 2 ignore.
        modality: what to write: ``"nm"`` the scan, ``"ct"`` the slices, ``"both"``.
        ct: the patient's slices, unless the modality is ``"nm"``.

    Returns:
        The record that ``patient.json`` holds: names, parameters, lesion pixels per view, and a SHA-256 per file.

    Raises:
        InputError: if the folder cannot be written.
    """
    name = patient_name(number)
    contents = _contents(name, seed, study, target) if modality != "ct" else {}
    record: dict[str, Any] = {
        "patient": name,
        "number": number,
        "seed": seed,
        "simulation_version": version,
        "world": study.parameters.get("world", "hospital" if modality == "nm" else "nema"),
        "modality": modality,
        "lesion_pixels": {view: int((target[..., index] == 1).sum()) for index, view in enumerate(VIEWS)},
        "files": {},
        "parameters": study.parameters,
    }
    if ct is not None:
        contents |= ct_contents(name, seed, ct, study.parameters["patient"])
        record |= {"ct_version": ct.parameters["ct_version"], "parameters": {**study.parameters, "ct": ct.parameters}}
    return write_folder(cohort, name, contents, record)


def write_folder(cohort: Path, name: str, contents: dict[str, bytes], record: dict[str, Any]) -> dict[str, Any]:
    """Write a patient's files and record, complete or not at all.

    Args:
        cohort: the cohort's folder.
        name: name of the patient's folder.
        contents: file → bytes.
        record: what ``patient.json`` says of the patient beside ``files``.

    Returns:
        The record, with a SHA-256 per file.

    Raises:
        InputError: if the folder cannot be written.
    """
    record["files"] = {file: hashlib.sha256(content).hexdigest() for file, content in sorted(contents.items())}
    contents = {**contents, RECORD: (json.dumps(record, indent=1) + "\n").encode()}
    folder, temporary = cohort / name, cohort / f".{name}.part"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for file, content in contents.items():
            (temporary / file).parent.mkdir(exist_ok=True)
            (temporary / file).write_bytes(content)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    except OSError as error:
        raise InputError(
            f"cannot write {folder} ({error.strerror or error}); choose a folder that is writable"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return record


def content_sha256(records: list[dict[str, Any]]) -> str:
    """One hash over all files of all patients, from their records."""
    digest = hashlib.sha256()
    for record in records:
        for file, sha256 in record["files"].items():
            digest.update(f"{record['patient']}/{file} {sha256}\n".encode())
    return digest.hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a patient's folder.

    Raises:
        InputError: if it has none that can be read.
    """
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} was not written by 'bonemets simulate'; choose another folder") from error


def is_intact(folder: Path, record: dict[str, Any]) -> bool:
    """Whether every file of a patient is as its record says."""
    files = {folder / name: digest for name, digest in record["files"].items()}
    return all(file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == files[file] for file in files)


def preview(study: SimulatedStudy, target: np.ndarray) -> Image.Image:
    """Both views in inverted gray: visible lesions in red, ignored ones in blue, benign spots in green."""
    height, width, _ = study.counts.shape
    margin, top = 12, 24
    page = Image.new("L", (2 * width + 3 * margin, height + top + margin), 255)
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=13)
    lefts = [margin, width + 2 * margin]
    for left, view in zip(lefts, VIEWS, strict=True):
        sides = ("R", "L") if view == "anterior" else ("L", "R")
        draw.text((left, top // 2), sides[0], fill=0, font=font, anchor="lm")
        draw.text((left + width // 2, top // 2), view, fill=0, font=font, anchor="mm")
        draw.text((left + width, top // 2), sides[1], fill=0, font=font, anchor="rm")
    picture = (np.asarray(page, np.uint16) * (GRAYS - 1) // 255).astype(np.uint8)
    for index, left in enumerate(lefts):
        part = picture[top : top + height, left : left + width]
        part[:] = _inverted_gray(study.counts[..., index])
        _draw_outline(part, study.benign[..., index] > 0, _BENIGN)
        _draw_outline(part, target[..., index] == 2, _IGNORED)
        _draw_outline(part, target[..., index] == 1, _VISIBLE)
    image = Image.fromarray(picture)
    image.putpalette([round(gray * 255 / (GRAYS - 1)) for gray in range(GRAYS) for _ in range(3)] + list(_COLORS))
    return image


def _inverted_gray(counts: np.ndarray) -> np.ndarray:
    """Index of the gray of each pixel: no counts white, the clipping value black."""
    values = np.arange(int(counts.max()) + 1)
    histogram = np.bincount(counts.ravel(), minlength=len(values))
    histogram[:2] = 0
    below = np.cumsum(histogram) >= CLIP_PERCENTILE / 100 * histogram.sum()
    clip = max(int(np.argmax(below)), 1)
    table = (GRAYS - 1) - np.round((GRAYS - 1) * np.clip(values / clip, 0, 1) ** GAMMA)
    return table.astype(np.uint8)[counts]


def _draw_outline(picture: np.ndarray, mask: np.ndarray, color: int) -> None:
    """A line of one pixel two pixels outside the mask, so that the lesion itself is seen."""
    for rows, columns in find_objects(mask.astype(np.uint8)):
        window = tuple(slice(max(part.start - 4, 0), part.stop + 4) for part in (rows, columns))
        grown = binary_dilation(mask[window], iterations=2)
        picture[window][binary_dilation(grown) & ~grown] = color


def _contents(name: str, seed: int, study: SimulatedStudy, target: np.ndarray) -> dict[str, bytes]:
    """Every file of the patient except its record, by name."""
    header = _header(name, study.parameters)
    contents = {"scan.dcm": nm_bytes(study.counts, header, spacing=SPACING, study=f"seed {seed}")}
    maps = {
        "": study.counts,
        "_label": target,
        "_lesions": study.lesions,
        "_hidden": study.hidden,
        "_bones": study.bones,
        "_benign": study.benign,
    }
    for index, view in enumerate(VIEWS):
        affine = planar_affine(study.counts.shape, SPACING, view)
        for suffix, array in maps.items():
            contents[f"{view}{suffix}.nii.gz"] = nifti_bytes(np.ascontiguousarray(array[..., index]), affine)
    buffer = BytesIO()
    preview(study, target).save(buffer, "PNG", compress_level=1)
    contents["preview.png"] = buffer.getvalue()
    return contents


def _header(name: str, parameters: dict[str, Any]) -> NMHeader:
    person, acquisition = parameters["patient"], parameters["acquisition"]
    return NMHeader(
        name,
        series_description="Simulated bone scan",
        sex=person["sex"],
        age_years=person["age_years"],
        height_m=person["height_m"],
        weight_kg=person["weight_kg"],
        scan_seconds=acquisition["duration_s"],
        scan_length_mm=(acquisition["last_row"] - acquisition["first_row"]) * SPACING[0],
    )
