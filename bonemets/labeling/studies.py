"""Taking studies into the work list: converted on entry, linked to their source, never changed."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import dcmwrite

from bonemets.data.adapters.base import list_files, stem_of
from bonemets.data.files import write_nifti
from bonemets.data.geometry import without_view
from bonemets.data.planar import PlanarScan, merge_views
from bonemets.data.study import read_planar, read_study
from bonemets.errors import InputError
from bonemets.labeling.workspace import Link, Workspace

# Masks and truth that lie beside images, as our own cohorts and most public sets name them.
MASK_NAME = re.compile(r"[_.-](?:labels?|masks?|seg|segmentation|lesions?|hidden|bones|benign)$", re.IGNORECASE)


@dataclass
class Imported:
    """What `import_studies` found.

    Args:
        added: items that are new.
        known: number of items that were there already.
        masks: number of files that were passed over since their names say that they are masks.
        problems: one line for each file that could not be read.
    """

    added: list[str] = field(default_factory=list)
    known: int = 0
    masks: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """In one line."""
        parts = [f"{len(self.added)} new, {self.known} known"]
        if self.masks:
            parts.append(f"{self.masks} masks passed over")
        if self.problems:
            parts.append(f"{len(self.problems)} unreadable")
        return ", ".join(parts)


def import_studies(source: Path, work: Workspace) -> Imported:
    """Take the planar scans of a folder into the work list, one item a study.

    A study's two views become one image, (rows, columns, 2). DICOM objects are kept beside it, so that labels can be
    written back as DICOM SEG. What was taken in before is recognized by its pixels.

    Args:
        source: folder with NM DICOM (in any depth), or else NIfTI, NRRD or PNG files.
        work: the annotation project.

    Returns:
        What was found.

    Raises:
        InputError: if the folder holds nothing that can be read.
    """
    result = Imported()
    # Where there is DICOM, read_study passes over everything else.
    scans = read_study(source, report=lambda error: result.problems.append(str(error)))
    if any(scan.dataset is not None for scan in scans):
        places = [(scan, _place(scan, source)) for scan in scans]
    else:
        result.problems.clear()
        places = _read_files(source, result)
    if not places:
        raise InputError(f"{source}: holds masks only; give a folder with images")
    of_scan = {id(scan): place for scan, place in places}
    add_scans([scan for scan, _ in places], work, result, name=lambda scan: (of_scan[id(scan)], of_scan[id(scan)]))
    return result


def _read_files(source: Path, result: Imported) -> list[tuple[PlanarScan, str]]:
    """The scans of files that are not DICOM, each with its place; two files that differ in the view's name are one."""
    groups: dict[tuple[Path, str], list[PlanarScan]] = defaultdict(list)
    for path in list_files(source):
        if is_mask(path):
            result.masks += 1
            continue
        try:
            groups[path.parent, without_view(path.name)].append(read_planar(path))
        except InputError as error:
            result.problems.append(str(error))
    places = []
    for scans in groups.values():
        scans.sort(key=lambda scan: scan.views)
        pair = [scan.views for scan in scans] == [("anterior",), ("posterior",)] and scans[0].shape == scans[1].shape
        if pair:
            file = scans[0].path
            shared = re.sub(r"[_.-]{2,}", "_", stem_of(Path(without_view(file.name)))).strip("_.-")
            named = file.parent / shared if shared else file.parent
            place = _below(named, source)
            places.append((merge_views(*scans), source.name if place == "." else place))
        else:
            places.extend((scan, _below(scan.path, source)) for scan in scans)
    return places


def add_scans(
    scans: Iterable[PlanarScan], work: Workspace, result: Imported, name: Callable[[PlanarScan], tuple[str, str]]
) -> None:
    """Add scans to the work list.

    Args:
        scans: the scans.
        work: the annotation project.
        result: what is found is noted here.
        name: says where a scan came from, and what the item's name is made from.
    """
    links = work.links()
    known = {link.sha256 for link in links.values()}
    for scan in scans:
        sha256 = hashlib.sha256(np.ascontiguousarray(scan.pixels).tobytes()).hexdigest()
        if sha256 in known:
            result.known += 1
            continue
        known.add(sha256)
        source, wished = name(scan)
        item = _free_name(wished, links)
        _write_item(item, scan, work)
        links[item] = _link(item, source, scan, sha256)
        # After every item, so that a stop in between leaves no image without its link.
        work.write_links(links)
        result.added.append(item)


def is_mask(path: Path) -> bool:
    """Whether the name says that the file is a mask."""
    return MASK_NAME.search(re.sub(r"\.(nii\.gz|[a-z0-9]+)$", "", path.name, flags=re.IGNORECASE)) is not None


def read_source(item: str, work: Workspace) -> PlanarScan | None:
    """The scan of an item as its DICOM objects have it; None if it did not come from DICOM."""
    folder = work.dicom / item
    return read_study(folder)[0] if folder.is_dir() else None


def _write_item(item: str, scan: PlanarScan, work: Workspace) -> None:
    datasets = {frame.dataset.SOPInstanceUID: frame.dataset for frame in scan.frames}
    for number, dataset in enumerate(datasets.values(), start=1):
        folder = work.dicom / item
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{number}.part"
        dcmwrite(temporary, dataset, enforce_file_format=True)
        temporary.replace(folder / f"{number}.dcm")
    pixels = scan.pixels
    whole = pixels.min() >= 0 and pixels.max() < 2**16 and np.array_equal(pixels, np.rint(pixels))
    write_nifti(work.image(item), pixels.astype(np.uint16 if whole else np.float32), scan.affine)


def _link(item: str, source: str, scan: PlanarScan, sha256: str) -> Link:
    header = scan.dataset
    patient, study = item, ""
    series: tuple[str, ...] = ()
    if header is not None:
        identity = str(header.get("PatientID") or header.get("StudyInstanceUID"))
        # Not the identifier itself: this table and the data lists made with it may travel.
        patient = "patient_" + hashlib.sha256(identity.encode()).hexdigest()[:12]
        study = str(header.get("StudyInstanceUID", ""))
        series = tuple(str(frame.dataset.get("SeriesInstanceUID", "")) for frame in scan.frames)
    return Link(item, source, scan.format, tuple(scan.views), sha256, patient, study, series)


def _place(scan: PlanarScan, source: Path) -> str:
    """Where a scan of DICOM objects lies below the studies' folder."""
    if scan.path.is_dir() and scan.path.resolve() == source.resolve():
        return Path(getattr(scan.frames[0].dataset, "filename", None) or source.name).name
    return _below(scan.path, source)


def _below(path: Path, source: Path) -> str:
    return path.relative_to(source).as_posix() if path.is_relative_to(source) else path.name


def _free_name(wished: str, links: dict[str, Link]) -> str:
    """A name for files and addresses."""
    stem = re.sub(r"\.(nii\.gz|nii|nrrd|nhdr|png|jpe?g|tiff?|bmp|dcm|dicom|ima|zip)$", "", wished, flags=re.IGNORECASE)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem.replace("/", "_")).strip("-_") or "scan"
    taken = {item.lower() for item in links}
    candidate, number = name, 2
    while candidate.lower() in taken:
        candidate, number = f"{name}-{number}", number + 1
    return candidate
