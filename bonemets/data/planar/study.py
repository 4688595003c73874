"""From what a user points at, a file, a folder or a zip archive, to planar scans."""

from __future__ import annotations

import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bonemets.data.headers import header_numbers, header_texts
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

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_ARCHIVE_BYTES = 4 * 1024**3
OTHER_SUFFIXES = (*NIFTI_SUFFIXES, *NRRD_SUFFIXES, *IMAGE_SUFFIXES)


def read_planar(path: Path | str) -> PlanarScan:
    """Read one planar scan from a file, or from a folder or zip archive that holds just one.

    Raises:
        InputError: if there is none, or more than one.
    """
    scans = read_study(path)
    if len(scans) > 1:
        raise InputError(f"{path}: holds {len(scans)} scans where one is wanted; give one of its files")
    return scans[0]


def read_study(path: Path | str, report: Callable[[InputError], None] | None = None) -> list[PlanarScan]:
    """Read the planar scans of a file, a folder (with its subfolders) or a zip archive.

    One scan per study. Two single-view files of one study (DICOM: the same study instance UID; other formats: names
    that differ only in ``anterior``/``posterior``) become one scan of two views. A study's whole-body scan is taken
    and its spot views are left; a study with several whole-body scans, early and late, gives several. In a folder,
    DICOMDIR, text, reports and DICOM objects that are not planar scans are passed over, and where there are DICOM
    scans, pictures and NIfTI files are too; a planar scan that cannot be read is an error.

    Args:
        path: file, folder or zip archive.
        report: called with the error for each planar scan of a folder that cannot be read, which is then passed over;
            by default the first one ends it.

    Returns:
        At least one scan, in the order of their file names.

    Raises:
        InputError: if nothing can be read, with the reason.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _read_folder(path, path, report)
        if not path.is_file():
            raise InputError(f"{path}: no such file or folder")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: is empty")
        if path.suffix.lower() == ".zip":
            return _read_archive(path, report)
        return [_read_file(path)]
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


def _read_archive(path: Path, report: Callable[[InputError], None] | None) -> list[PlanarScan]:
    with unpacked(path) as folder:
        return [replace(scan, path=path) for scan in _read_folder(folder, path, report)]


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """A folder with what a zip archive holds, for as long as the block lasts.

    Raises:
        InputError: if it is too large, damaged, or has a password.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > MAX_ARCHIVE_BYTES:
                    raise InputError(
                        f"{path}: unpacks to more than {MAX_ARCHIVE_BYTES // 1024**3} GB; unpack it and give a folder"
                    )
                archive.extractall(folder)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
            raise InputError(f"{path}: cannot be unpacked (damaged, or with a password)") from error
        yield Path(folder)


def _read_folder(folder: Path, shown_as: Path, report: Callable[[InputError], None] | None = None) -> list[PlanarScan]:
    dicom, others = files_of_study(folder)
    scans, problem = _read_files(dicom, report)
    if not scans:
        scans, other_problem = _read_files(others, report)
        problem = problem or other_problem
    if not scans:
        raise problem or InputError(f"{shown_as}: holds no DICOM, NIfTI, NRRD or picture file")
    return merge_studies(scans)


def merge_studies(scans: list[PlanarScan]) -> list[PlanarScan]:
    """One scan per study from scans of single files; see `read_study`."""
    return [scan for study in _by_study(scans) for scan in _merge_study(study)]


def files_of_study(folder: Path) -> tuple[list[Path], list[Path]]:
    """DICOM files of a folder and its subfolders, and files of the other formats; hidden ones are left out."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not _hidden(file.relative_to(folder)))
    dicom, others = [], []
    for file in files:
        if file.name.lower().endswith(OTHER_SUFFIXES):
            others.append(file)
        elif file.name.upper() != "DICOMDIR" and looks_like_dicom(file):
            dicom.append(file)
    return dicom, others


def _read_files(
    files: Iterable[Path], report: Callable[[InputError], None] | None
) -> tuple[list[PlanarScan], InputError | None]:
    """The scans among the files, and the first object that was passed over."""
    scans, skipped = [], None
    for file in files:
        try:
            scans.append(_read_file(file))
        except UnsuitableError as error:
            skipped = skipped or error
        except InputError as error:
            if report is None:
                raise
            report(error)
    return scans, skipped


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def looks_like_dicom(path: Path) -> bool:
    """Whether the name or the first bytes say that a file is DICOM."""
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except PermissionError:
        # Told where it is read.
        return True


def _by_study(scans: list[PlanarScan]) -> list[list[PlanarScan]]:
    studies: dict[tuple[str, ...], list[PlanarScan]] = defaultdict(list)
    seen = set()
    for scan in scans:
        if scan.dataset is None:
            studies[(str(scan.path.parent), without_view(scan.path.name))].append(scan)
            continue
        instance = "\\".join(header_texts(scan.dataset, "SOPInstanceUID"))
        if not instance or instance not in seen:
            seen.add(instance)
            studies[(str(scan.dataset.get("StudyInstanceUID")),)].append(scan)
    return list(studies.values())


def _merge_study(scans: list[PlanarScan]) -> list[PlanarScan]:
    """Pair the single views of one study in the order in which they were acquired; keep whole-body over spot views."""
    whole_body = [scan for scan in scans if _is_whole_body(scan)]
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
