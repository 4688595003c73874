"""Taking studies into the work list: converted on entry, linked to their source, never changed."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmwrite

from bonemets.data.ct.scan import CTScan, from_display
from bonemets.data.files import write_bytes, write_nifti
from bonemets.data.lists.spellings import plain_name
from bonemets.data.modalities import CT, PICTURE
from bonemets.data.pictures import read_picture
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_study
from bonemets.labeling.intake.sources import Skipped, Source, find_images
from bonemets.labeling.store.workspace import Link, Workspace


@dataclass
class Imported(Skipped):
    """What `import_studies` found.

    Args:
        added: items that are new.
    """

    added: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """In one line."""
        parts = [f"{len(self.added)} new, {self.known} known"]
        if self.masks:
            parts.append(f"{self.masks} masks skipped")
        if self.problems:
            parts.append(f"{len(self.problems)} unreadable")
        return ", ".join(parts)


def import_studies(source: Path, work: Workspace, modality: str | None = None) -> Imported:
    """Take the images of a folder into the work list: a study's bone scan, a CT, or a picture is one item.

    A study's two views become one image, (rows, columns, 2). The DICOM objects of a bone scan are kept beside it, so
    that labels can be written back as DICOM SEG. What was taken in before is recognized by its pixels.

    Args:
        source: folder with NM or CT DICOM (in any depth), NIfTI, NRRD, JPEG or PNG files.
        work: the annotation project.
        modality: what the files are that are not DICOM; by default they are looked at.

    Returns:
        What was found.

    Raises:
        InputError: if the folder holds nothing that can be read.
    """
    result = Imported()
    places = {link.source: link for link in work.links().values() if link.modality == CT}

    def is_known(place: str, path: Path) -> bool:
        return place in places and _changed(path) < datetime.fromisoformat(places[place].imported)

    for found in find_images(source, result, modality, is_known):
        # A series right in the studies' folder has that folder's name.
        add_image(found, work, result, source.resolve().name if found.place == "." else found.place)
    return result


def add_image(found: Source, work: Workspace, result: Imported, name: str) -> None:
    """Add an image to the work list, if its pixels are not there yet.

    Args:
        found: the image.
        work: the annotation project.
        result: what is found is noted here.
        name: what the item's name is made from.
    """
    links = work.links()
    pixels = read_picture(found.image.path) if found.modality == PICTURE else found.image.pixels
    sha256 = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
    if any(link.sha256 == sha256 for link in links.values()):
        result.known += 1
        return
    item = _free_name(name, links)
    _write_item(item, found, pixels, work)
    links[item] = _link(item, found, sha256, {link.patient for link in links.values()})
    # After every item, so that a stop in between leaves no image without its link.
    work.write_links(links)
    result.added.append(item)


def read_source(item: str, work: Workspace) -> PlanarScan | None:
    """The bone scan of an item as its DICOM objects have it; None if it did not come from DICOM."""
    folder = work.dicom / item
    return read_study(folder)[0] if folder.is_dir() else None


def _write_item(item: str, found: Source, pixels: np.ndarray, work: Workspace) -> None:
    image = found.image
    if found.modality == PICTURE or (isinstance(image, CTScan) and image.format == "image"):
        # Pixels only: nothing of what cameras write beside them, such as the way a picture is to be turned.
        buffer = io.BytesIO()
        Image.fromarray(np.squeeze(pixels).astype(np.uint8)).save(buffer, "PNG", compress_level=3)
        write_bytes(work.datastore / f"{item}.png", buffer.getvalue())
    elif isinstance(image, CTScan):
        array = from_display(_whole(pixels, np.int16), image.source_affine, image.source_shape)
        write_nifti(work.datastore / f"{item}.nii.gz", array, image.source_affine)
    else:
        datasets = {frame.dataset.SOPInstanceUID: frame.dataset for frame in image.frames}
        _keep_dicom(item, datasets.values(), work)
        write_nifti(work.datastore / f"{item}.nii.gz", _whole(pixels, np.uint16), image.affine)


def _keep_dicom(item: str, datasets: Iterable[Dataset], work: Workspace) -> None:
    folder = work.dicom / item
    for number, dataset in enumerate(datasets, start=1):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{number}.part"
        dcmwrite(temporary, dataset, enforce_file_format=True)
        temporary.replace(folder / f"{number}.dcm")


def _whole(pixels: np.ndarray, kind: type[np.integer]) -> np.ndarray:
    """The pixels as whole numbers where they are and fit, else as float32."""
    limits = np.iinfo(kind)
    fits = pixels.min() >= limits.min and pixels.max() <= limits.max and np.array_equal(pixels, np.rint(pixels))
    return pixels.astype(kind if fits else np.float32)


def _pseudonym(header: Dataset, known: Collection[str]) -> str:
    """A name for a patient, equal for all spellings of the identifier; not the identifier: tables with it may travel.

    Stores that were begun before spellings were compared have names made of the identifier as written: those stay.
    """
    written = str(header.get("PatientID") or "")
    identities = [identity for identity in (written, plain_name(written)) if identity.strip()]
    identities = identities or [str(header.get("StudyInstanceUID"))]
    names = ["patient_" + hashlib.sha256(identity.encode()).hexdigest()[:12] for identity in identities]
    return names[0] if names[0] in known else names[-1]


def _link(item: str, found: Source, sha256: str, known: Collection[str]) -> Link:
    image = found.image
    datasets = image.datasets if isinstance(image, CTScan) else tuple(frame.dataset for frame in image.frames)
    views = tuple(image.views) if isinstance(image, PlanarScan) and found.modality != PICTURE else ()
    patient, study = found.patient or item, ""
    series: tuple[str, ...] = ()
    if datasets:
        header = datasets[0]
        patient = _pseudonym(header, known)
        study = str(header.get("StudyInstanceUID", ""))
        series = tuple(str(dataset.get("SeriesInstanceUID", "")) for dataset in datasets)
        series = tuple(dict.fromkeys(series)) if found.modality == CT else series
    return Link(
        item, found.place, image.format, views, sha256, patient, study, series, modality=found.modality
    )  # fmt: skip


def _changed(path: Path) -> datetime:
    """When a file, or the newest one of a folder, was changed last."""
    times = [each.stat().st_mtime for each in ([path, *path.iterdir()] if path.is_dir() else [path])]
    return datetime.fromtimestamp(max(times), UTC)


def _free_name(wished: str, links: dict[str, Link]) -> str:
    """A name for files and addresses."""
    stem = re.sub(r"\.(nii\.gz|nii|nrrd|nhdr|png|jpe?g|tiff?|bmp|dcm|dicom|ima|zip)$", "", wished, flags=re.IGNORECASE)
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem.replace("/", "_")).strip("-_") or "scan"
    taken = {item.lower() for item in links}
    candidate, number = name, 2
    while candidate.lower() in taken:
        candidate, number = f"{name}-{number}", number + 1
    return candidate
