"""From what a user points at, a file, a folder or a zip archive, to its images, each with its modality."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bonemets.data.ct.dicom import files_by_series
from bonemets.data.ct.scan import CTScan, ct_series, read_ct
from bonemets.data.ct.study import read_ct_study
from bonemets.data.intake import OTHER_SUFFIXES, Found, is_archive, is_dicomdir, open_source
from bonemets.data.modalities import CT, NM, name_of, read_file
from bonemets.data.planar.nuclear import UnsuitableError, read_dicom
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import merge_studies, read_study
from bonemets.errors import InputError

Report = Callable[[InputError], None]
Image = tuple[str, PlanarScan | CTScan]


def read_images(source: Path | str, modality: str | None = None, report: Report | None = None) -> Iterator[Image]:
    """Read the images of a file, a folder (with its subfolders) or a zip archive, one after the other.

    In a folder, the bone scans in DICOM are taken; where there are none, the axial CT series in DICOM; where there are
    none either, the files of other formats, each for what `bonemets.data.modalities.read_file` says that it is. The
    folder is searched once, and an archive is unpacked once.

    Args:
        source: file, folder or zip archive.
        modality: what the images are, where the user says so: ``"NM"``, ``"CT"`` or ``"dermoscopy"``.
        report: called with the error for what is skipped: each image that cannot be read, and, as
            `UnsuitableError`, what can be read and is something else. By default the first image that cannot be read
            ends it, and everything else is skipped without a word.

    Yields:
        Modality and image. A CT is read when it is asked for, since it may take a gigabyte.

    Raises:
        InputError: if nothing can be read, with the reason.
    """
    source = Path(source)
    try:
        yield from _images(source, modality, report)
    except OSError as error:
        # A name that is too long, or a folder above that may not be entered.
        raise InputError(f"{source}: cannot be opened ({error.strerror or error})") from error


def _images(source: Path, modality: str | None, report: Report | None) -> Iterator[Image]:
    if modality is not None:
        yield from _of_modality(source, modality, report)
    elif source.is_dir() or (
        source.is_file() and source.stat().st_size and (is_archive(source) or is_dicomdir(source))
    ):
        with open_source(source, report) as found:
            try:
                for kind, image in _of_folder(found, source, report):
                    yield kind, replace(image, path=found.archive_of(image.path))
            except InputError as error:
                raise found.renamed(error) from error
    else:
        yield _of_file(source)


def _holds_files(source: Path) -> bool:
    return source.is_file() and source.stat().st_size > 0 and (is_archive(source) or is_dicomdir(source))


def _of_modality(source: Path, modality: str, report: Report | None) -> Iterator[Image]:
    told: list[InputError] = []

    def noted(error: InputError) -> None:
        told.append(error)
        if report is not None:
            report(error)

    read = read_ct_study if modality == CT else read_study
    try:
        for scan in read(source, None if report is None else noted):
            yield modality, scan
    except InputError:
        # Nothing can be read: why has been told of each file, as far as it has.
        if not told:
            raise


def _of_file(path: Path) -> Image:
    if path.is_file() and path.stat().st_size and path.name.lower().endswith(OTHER_SUFFIXES):
        return read_file(path)
    try:
        return NM, read_study(path)[0]
    except UnsuitableError:
        if not files_by_series([path]):
            raise
    return CT, read_ct(path)


def _of_folder(found_files: Found, shown_as: Path, report: Report | None) -> Iterator[Image]:
    dicom, others = found_files.dicom, found_files.others
    series = files_by_series(dicom)
    slices = {file for files in series for file in files}
    problems: list[InputError] = []
    found = 0

    def noted(error: InputError) -> None:
        problems.append(error)
        if report is not None:
            report(found_files.renamed(error))
        elif not isinstance(error, UnsuitableError):
            raise error

    scans = merge_studies(
        [scan for file in dicom if file not in slices for scan in _read_each(file, noted)], found_files.skip
    )
    kind = NM if scans else CT if series else ""
    images = ((NM, scan) for scan in scans) if scans else _of_series(series, shown_as, noted)
    for image in images if kind else _of_others(others, noted):
        found += 1
        yield image
    if not found and (report is None or not problems):
        raise problems[0] if problems else InputError(f"{shown_as}: holds no DICOM, NIfTI, NRRD or picture file")
    beside = [(len(series), "CT series")] if scans else []
    for count, what in [*beside, (len(others), "files of other formats")] if kind else ():
        if count:
            noted(UnsuitableError(f"{shown_as}: {count} {what} beside {name_of(kind, 2)} in DICOM; give them alone"))


def _read_each(file: Path, report: Report) -> Iterator[PlanarScan]:
    try:
        yield read_dicom(file)
    except InputError as error:
        report(error)


def _of_series(series: list[list[Path]], shown_as: Path, report: Report) -> Iterator[Image]:
    for files in series:
        try:
            scan = ct_series(shown_as, files)
        except InputError as error:
            report(error)
        else:
            yield CT, scan


def _of_others(files: list[Path], report: Report) -> Iterator[Image]:
    scans: list[PlanarScan] = []
    for file in files:
        try:
            kind, image = read_file(file)
        except InputError as error:
            report(error)
            continue
        if kind != NM:
            yield kind, image
        elif isinstance(image, PlanarScan):
            scans.append(image)
    yield from ((NM, scan) for scan in merge_studies(scans))
