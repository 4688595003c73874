"""From what a user points at, a file, a folder or a zip archive, to planar scans."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from bonemets.data.headers import header_numbers, header_texts
from bonemets.data.intake import Found, Report, is_archive, is_dicomdir, open_source
from bonemets.data.lists.spellings import plain_name
from bonemets.data.planar.formats import (
    IMAGE_SUFFIXES,
    NIFTI_SUFFIXES,
    NRRD_SUFFIXES,
    read_image,
    read_nifti,
    read_nrrd,
)
from bonemets.data.planar.geometry import without_view
from bonemets.data.planar.nuclear import UnsuitableError, read_dicom
from bonemets.data.planar.scan import PlanarScan, merge_views
from bonemets.errors import InputError

Skip = Callable[[Path, str], None]


def read_planar(path: Path | str) -> PlanarScan:
    """Read one planar scan from a file, or from a folder or zip archive that holds just one.

    Raises:
        InputError: if there is none, or more than one.
    """
    scans = read_study(path)
    if len(scans) > 1:
        raise InputError(f"{path}: holds {len(scans)} scans where one is wanted; give one of its files")
    return scans[0]


def read_study(path: Path | str, report: Report | None = None) -> list[PlanarScan]:
    """Read the planar scans of a file, a folder (with its subfolders) or a zip or tar archive.

    One scan per study and patient. Two single-view files of one study (DICOM: the same study instance UID and patient;
    other formats: names that differ only in ``anterior``/``posterior``) become one scan of two views. A study's
    whole-body scan is taken and its spot views are left; a study with several whole-body scans, early and late, gives
    several. Links are followed and archives within a folder are unpacked; a DICOMDIR stands for the files that it
    names. Text, reports and DICOM objects that are not planar scans are skipped, and where there are DICOM scans,
    pictures and NIfTI files are too; a planar scan that cannot be read is an error.

    Args:
        path: file, folder or archive.
        report: called with the error for each planar scan of a folder that cannot be read, which is then skipped
            (by default the first one ends it), and with a `bonemets.data.intake.SkippedError` for all else that is
            skipped.

    Returns:
        At least one scan, in the order of their file names.

    Raises:
        InputError: if nothing can be read, with the reason.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        if path.is_file() and path.stat().st_size == 0:
            raise InputError(f"{path}: is empty")
        if path.is_file() and not is_archive(path) and not is_dicomdir(path):
            return [_read_file(path)]
        with open_source(path, report) as found:
            try:
                scans = _read_found(found, path, report)
            except InputError as error:
                raise found.renamed(error) from error
            return [replace(scan, path=found.archive_of(scan.path)) for scan in scans]
    except PermissionError as error:
        raise InputError(f"{path}: cannot be opened; check its permissions") from error


def _read_file(path: Path) -> PlanarScan:
    name = path.name.lower()
    if name.endswith(NIFTI_SUFFIXES):
        return read_nifti(path)
    if name.endswith(NRRD_SUFFIXES):
        return read_nrrd(path)
    if name.endswith(IMAGE_SUFFIXES):
        return read_image(path)
    return read_dicom(path)


def _read_found(found: Found, shown_as: Path, report: Report | None) -> list[PlanarScan]:
    scans, problem = _read_files(found.dicom, found, report)
    if scans:
        for file in found.others:
            found.skip(file, "no DICOM, where there are scans in DICOM")
    else:
        scans, other_problem = _read_files(found.others, found, report)
        problem = problem or other_problem
    if not scans:
        raise problem or InputError(f"{shown_as}: holds no DICOM, NIfTI, NRRD or picture file")
    return merge_studies(scans, found.skip)


def _read_files(
    files: Iterable[Path], found: Found, report: Report | None
) -> tuple[list[PlanarScan], InputError | None]:
    """The scans among the files, and the first object that was skipped."""
    scans, skipped = [], None
    for file in files:
        try:
            scans.append(_read_file(file))
        except UnsuitableError as error:
            skipped = skipped or error
            found.skip(file, str(error).removeprefix(f"{file}: ").split(";")[0])
        except InputError as error:
            if report is None:
                raise
            report(found.renamed(error))
    return scans, skipped


def merge_studies(scans: list[PlanarScan], skip: Skip = lambda path, reason: None) -> list[PlanarScan]:
    """One scan per study and patient from the scans of single files; see `read_study`.

    Args:
        scans: the scans of all files.
        skip: called with the path of each scan that is left out, and why.
    """
    return [scan for study in _by_study(scans, skip) for scan in _merge_study(study, skip)]


def _by_study(scans: list[PlanarScan], skip: Skip) -> list[list[PlanarScan]]:
    studies: dict[tuple[str, ...], list[PlanarScan]] = defaultdict(list)
    seen = set()
    for scan in scans:
        if scan.dataset is None:
            studies[(str(scan.path.parent), without_view(scan.path.name))].append(scan)
            continue
        # Equal identifiers alone are no copy: some programs give all objects the same one, or an empty one.
        pixels = hashlib.sha256(repr((scan.views, scan.shape)).encode() + scan.pixels.tobytes()).hexdigest()
        instance = ("\\".join(header_texts(scan.dataset, "SOPInstanceUID")), pixels)
        if instance[0] and instance in seen:
            skip(scan.path, "a copy of a scan that is there already")
            continue
        seen.add(instance)
        studies[_study_of(scan)].append(scan)
    return list(studies.values())


def _study_of(scan: PlanarScan) -> tuple[str, ...]:
    """What the views of one scan share: the study and, since identifiers of studies are given twice, the patient."""
    header = scan.dataset
    assert header is not None
    patient = (plain_name("\\".join(header_texts(header, key))) for key in ("PatientID", "PatientName"))
    study, date = ("\\".join(header_texts(header, key)) for key in ("StudyInstanceUID", "StudyDate"))
    where = () if study else (date, str(scan.path.parent))
    return study, *patient, *where


def _merge_study(scans: list[PlanarScan], skip: Skip) -> list[PlanarScan]:
    """Pair the single views of one study in the order in which they were acquired; keep whole-body over spot views."""
    whole_body = [scan for scan in scans if _is_whole_body(scan)]
    for scan in scans if whole_body else ():
        if not _is_whole_body(scan):
            skip(scan.path, "a spot view of a study with a whole-body scan")
    scans = sorted(whole_body or scans, key=_acquired)
    anterior, posterior = ([scan for scan in scans if scan.views == (view,)] for view in ("anterior", "posterior"))
    if len(anterior) != len(posterior) or not all(map(_fit, anterior, posterior)):
        return scans
    paired = [merge_views(*pair) for pair in zip(anterior, posterior, strict=True)]
    return [scan for scan in scans if scan.views not in (("anterior",), ("posterior",))] + paired


def _fit(anterior: PlanarScan, posterior: PlanarScan) -> bool:
    """Whether two views have one size, and are stored with rows and columns alike, as one segmentation must be."""
    turned = [frame.layout.transpose for frame in anterior.frames + posterior.frames]
    return anterior.shape == posterior.shape and len(set(turned)) < 2


def _is_whole_body(scan: PlanarScan) -> bool:
    return scan.dataset is not None and "WHOLE BODY" in (scan.dataset.get("ImageType") or [])


def _acquired(scan: PlanarScan) -> tuple[str, str, int, str]:
    header = scan.dataset
    if header is None:
        return "", "", 0, scan.path.name
    date, time = ("".join(header_texts(header, f"Acquisition{what}")) for what in ("Date", "Time"))
    return date, time, int((header_numbers(header, "InstanceNumber") or [0])[0]), scan.path.name
