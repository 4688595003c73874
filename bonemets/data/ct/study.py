"""From what a user points at, a file, a folder or an archive, to axial CT series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bonemets.data.ct.dicom import files_by_series
from bonemets.data.ct.scan import CTScan, ct_series, read_ct
from bonemets.data.intake import Found, Report, is_archive, is_dicomdir, open_source
from bonemets.data.planar.nuclear import UnsuitableError
from bonemets.errors import InputError


def read_ct_study(source: Path | str, report: Report | None = None) -> Iterator[CTScan]:
    """Read the axial CT series of a file, a folder (with its subfolders) or a zip or tar archive, one after the other.

    In a folder every DICOM series of axial slices is a scan; localizers, series in other directions and objects that
    are no CT are skipped. A folder without DICOM CT gives a scan for every NIfTI file and picture.

    Args:
        source: file, folder or archive; a DICOM file is a slice by itself, a DICOMDIR the files that it names.
        report: called with the error for each series or file of a folder that cannot be read, which is then passed
            over (by default the first one ends it), and with a `bonemets.data.intake.SkippedError` for all else.

    Yields:
        At least one scan. Only one is in memory at a time, since a series may take a gigabyte.

    Raises:
        InputError: if nothing can be read, with the reason.
    """
    source = Path(source)
    try:
        if source.is_file() and not is_archive(source) and not is_dicomdir(source) or not source.exists():
            yield read_ct(source)
            return
        with open_source(source, report) as found:
            try:
                for scan in _read_found(found, source, report):
                    yield replace(scan, path=found.archive_of(scan.path))
            except InputError as error:
                raise found.renamed(error) from error
    except PermissionError as error:
        raise InputError(f"{source}: cannot be opened; check its permissions") from error


def _read_found(found: Found, shown_as: Path, report: Report | None) -> Iterator[CTScan]:
    problem: InputError | None = None
    read = False
    series = files_by_series(found.dicom)
    slices = {file for files in series for file in files}
    for file in found.dicom:
        if file not in slices:
            found.skip(file, "a DICOM object that is no CT slice, or a copy of one")
    for files in series:
        try:
            scan = ct_series(shown_as, files)
        except UnsuitableError as error:
            problem = problem or error
            for file in files:
                found.skip(file, str(error).removeprefix(f"{file}: ").split(";")[0])
        except InputError as error:
            if report is None:
                raise
            problem = problem or error
            report(found.renamed(error))
        else:
            read = True
            archive = found.archive_of(files[0])
            yield scan if archive == files[0] else replace(scan, path=archive)
    if read:
        for file in found.others:
            found.skip(file, "no DICOM, where there is CT in DICOM")
        return
    if problem is not None:
        raise problem
    if not found.others:
        raise InputError(f"{shown_as}: holds no CT; give the folder of an axial series, or NIfTI files")
    for file in found.others:
        try:
            scan = read_ct(file)
        except InputError as error:
            if report is None:
                raise
            report(found.renamed(error))
        else:
            yield scan
