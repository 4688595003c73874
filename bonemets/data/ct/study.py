"""From what a user points at, a file, a folder or a zip archive, to axial CT series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bonemets.data.ct.dicom import files_by_series
from bonemets.data.ct.scan import CTScan, ct_series, read_ct
from bonemets.data.planar.nuclear import UnsuitableError
from bonemets.data.planar.study import files_of_study, unpacked
from bonemets.errors import InputError


def read_ct_study(source: Path | str, report: Callable[[InputError], None] | None = None) -> Iterator[CTScan]:
    """Read the axial CT series of a file, a folder (with its subfolders) or a zip archive, one after the other.

    In a folder every DICOM series of axial slices is a scan; localizers, series in other directions and objects that
    are no CT are passed over. A folder without DICOM CT gives a scan for every NIfTI file and picture.

    Args:
        source: file, folder or zip archive; a DICOM file is a slice by itself.
        report: called with the error for each series or file of a folder that cannot be read, which is then passed
            over; by default the first one ends it.

    Yields:
        At least one scan. Only one is in memory at a time, since a series may take a gigabyte.

    Raises:
        InputError: if nothing can be read, with the reason.
    """
    source = Path(source)
    try:
        if source.suffix.lower() == ".zip" and source.is_file():
            with unpacked(source) as folder:
                for scan in _read_folder(folder, source, report):
                    yield replace(scan, path=source)
        elif source.is_dir():
            yield from _read_folder(source, source, report)
        else:
            yield read_ct(source)
    except PermissionError as error:
        raise InputError(f"{source}: cannot be opened; check its permissions") from error


def _read_folder(folder: Path, shown_as: Path, report: Callable[[InputError], None] | None) -> Iterator[CTScan]:
    dicom, others = files_of_study(folder)
    found, problem = False, None
    for files in files_by_series(dicom):
        try:
            scan = ct_series(shown_as, files)
        except InputError as error:
            problem = problem or error
            if report is not None:
                report(error)
            elif not isinstance(error, UnsuitableError):
                raise
        else:
            found = True
            yield scan
    if found or (problem is not None and report is not None):
        return
    if problem is not None:
        raise problem
    if not others:
        raise InputError(f"{shown_as}: holds no CT; give the folder of an axial series, or NIfTI files")
    for file in others:
        try:
            scan = read_ct(file)
        except InputError as error:
            if report is None:
                raise
            report(error)
        else:
            yield scan
