"""Finding what can be labeled in a folder of studies: bone scans, CT and color pictures, in DICOM and other files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from bonemets.data.adapters.base import list_files, stem_of
from bonemets.data.ct.scan import CTScan, read_ct
from bonemets.data.files import files_below
from bonemets.data.intake import SkippedError, looks_like_dicom
from bonemets.data.modalities import CT, NM, read_file
from bonemets.data.planar.geometry import without_view
from bonemets.data.planar.nuclear import UnsuitableError
from bonemets.data.planar.scan import PlanarScan, merge_views
from bonemets.data.planar.study import read_study
from bonemets.errors import InputError

# Masks and truth that lie beside images, as our own cohorts and most public sets name them.
MASK_NAME = re.compile(r"[_.-](?:labels?|masks?|seg|segmentation|lesions?|hidden|bones|benign)$", re.IGNORECASE)
MASK_FOLDER = re.compile(r"^(?:labels?|.*masks?|segmentations?|annotations?|.*ground_?truth)$", re.IGNORECASE)
# How slices are numbered: slice_07, p12_034, img-5, 12.
SLICE_NUMBER = re.compile(r"[_\-. ]*(?:slices?|img|image)?[_\-. ]*\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """An image that was found.

    Args:
        image: the image.
        modality: what it is.
        place: where it lies, relative to the studies' folder.
        patient: whose it is, as far as its place tells; empty if it does not.
    """

    image: PlanarScan | CTScan
    modality: str
    place: str
    patient: str = ""


@dataclass
class Skipped:
    """What was not taken in.

    Args:
        known: items that are there already.
        masks: number of files that were skipped since their names say that they are masks.
        problems: one line for each file that could not be read.
    """

    known: int = 0
    masks: int = 0
    problems: list[str] = field(default_factory=list)


def find_images(
    folder: Path, skipped: Skipped, modality: str | None = None, is_known: Callable[[str, Path], bool] | None = None
) -> Iterator[Source]:
    """The images of a folder, one at a time, since a CT takes hundreds of megabytes.

    Bone scans in NM DICOM come as `bonemets.data.read_study` gives them, CT slices in DICOM as one volume per folder.
    Other files are taken where no DICOM lies beside them, and if their modality does not come in DICOM.

    Args:
        folder: the studies' folder.
        skipped: what is left out is noted here.
        modality: what all files are that are not DICOM; by default `bonemets.data.modalities.read_file` tells.
        is_known: whether a CT at a place (of which the path is given too) need not be read, since it is there already.

    Raises:
        InputError: if nothing can be read.
    """
    known = is_known or (lambda place, path: False)
    series, others = _dicom_folders(folder)
    found, masks = 0, skipped.masks
    in_dicom = {CT} if series else set()
    planar = _read_planar_dicom(folder, skipped) if others else []
    for scan in planar:
        found += 1
        in_dicom.add(NM)
        yield Source(scan, NM, _place(scan, folder))
    for path in series:
        found += 1
        place = _below(path, folder)
        if known(place, path):
            skipped.known += 1
            continue
        try:
            yield Source(read_ct(path), CT, place)
        except InputError as error:
            skipped.problems.append(str(error))
    beside = set(series) | (others if planar else set())
    files = [path for path in list_files(folder) if path.parent not in beside]
    for source in _read_files(files, folder, skipped, modality, known):
        found += 1
        if source.modality not in in_dicom:
            yield source
    if not found and not skipped.known:
        _nothing(folder, skipped, skipped.masks > masks)


def is_mask(path: Path) -> bool:
    """Whether the name says that the file is a mask."""
    return MASK_NAME.search(re.sub(r"\.(nii\.gz|[a-z0-9]+)$", "", path.name, flags=re.IGNORECASE)) is not None


def _dicom_folders(folder: Path) -> tuple[list[Path], set[Path]]:
    """Folders with CT slices, and folders with other DICOM objects."""
    series: set[Path] = set()
    others: set[Path] = set()
    for path in files_below(folder):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        if hidden or path.name.upper() == "DICOMDIR" or not looks_like_dicom(path):
            continue
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=["Modality"], force=True)
        except (InvalidDicomError, OSError, ValueError):
            continue
        (series if header.get("Modality") == CT else others).add(path.parent)
    return sorted(series), others


def _read_planar_dicom(folder: Path, skipped: Skipped) -> list[PlanarScan]:
    """The bone scans; none if there are only other objects, such as reports."""
    problems: list[str] = []

    def note(error: InputError) -> None:
        if not isinstance(error, SkippedError):
            problems.append(str(error))

    try:
        scans = read_study(folder, report=note)
    except UnsuitableError:
        return []
    except InputError as error:
        problems = problems or [str(error)]
        scans = []
    # Without any, read_study has gone on to other files, which are looked at here one by one.
    scans = [scan for scan in scans if scan.dataset is not None]
    skipped.problems.extend(problems if scans else [])
    return scans


def _read_files(
    files: list[Path], folder: Path, skipped: Skipped, modality: str | None, known: Callable[[str, Path], bool]
) -> Iterator[Source]:
    """The images of files that are not DICOM; two files that differ in the view's name are one bone scan."""
    groups: dict[tuple[Path, str], list[PlanarScan]] = defaultdict(list)
    for path in files:
        place = _below(path, folder)
        if is_mask(path) or any(MASK_FOLDER.match(part) for part in Path(place).parts[:-1]):
            skipped.masks += 1
            continue
        if known(place, path):
            skipped.known += 1
            continue
        try:
            kind, image = read_file(path, modality)
        except InputError as error:
            skipped.problems.append(str(error))
            continue
        if kind == NM and isinstance(image, PlanarScan):
            groups[path.parent, without_view(path.name)].append(image)
        else:
            is_slice = isinstance(image, CTScan) and image.pixels.shape[2] == 1
            yield Source(image, kind, place, _patient_of_slice(path, folder) if is_slice else "")
    for scans in groups.values():
        scans.sort(key=lambda scan: scan.views)
        pair = [scan.views for scan in scans] == [("anterior",), ("posterior",)] and scans[0].shape == scans[1].shape
        if pair:
            file = scans[0].path
            shared = re.sub(r"[_.-]{2,}", "_", stem_of(Path(without_view(file.name)))).strip("_.-")
            place = _below(file.parent / shared if shared else file.parent, folder)
            yield Source(merge_views(*scans), NM, folder.name if place == "." else place)
        else:
            for scan in scans:
                yield Source(scan, NM, _below(scan.path, folder))


def _patient_of_slice(path: Path, folder: Path) -> str:
    """The folder and the name without its number, which the slices of one patient share."""
    name = SLICE_NUMBER.sub("", stem_of(path))
    return "_".join([*path.relative_to(folder).parts[:-1], *([name] if name else [])]) or folder.resolve().name


def _nothing(folder: Path, skipped: Skipped, only_masks: bool) -> None:
    if only_masks:
        raise InputError(f"{folder}: holds masks only; give a folder with images")
    if skipped.problems:
        raise InputError(skipped.problems[0])
    # Says what is wrong: no such folder, or nothing in it.
    read_study(folder)


def _place(scan: PlanarScan, folder: Path) -> str:
    """Where a scan of DICOM objects lies below the studies' folder."""
    if scan.path.is_dir() and scan.path.resolve() == folder.resolve():
        return Path(getattr(scan.frames[0].dataset, "filename", None) or folder.name).name
    return _below(scan.path, folder)


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
