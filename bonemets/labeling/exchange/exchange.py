"""Labels on their way to other programs: a folder with images and labels for ITK-SNAP or LabelMe.

::

    FOLDER/
      exchange.json                  what was exported, from which version
      labels.txt                     itk-snap: names and colors, for Segmentation > Import Label Descriptions
      ID.nii.gz, ID_label.nii.gz     itk-snap: an image and its label
      ID.png, ID.json                labelme: a picture and the polygons on it

A bone scan has an image for each view, ``ID_anterior`` and ``ID_posterior``, since each lies otherwise in space.
`bonemets.labeling.exchange.importing` takes the labels back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import bonemets
from bonemets.data.ct.scan import CTScan
from bonemets.data.files import write_bytes, write_nifti
from bonemets.data.modalities import CT, NM, read_item
from bonemets.data.outlines import outline_shapes
from bonemets.data.planar.geometry import planar_affine
from bonemets.data.planar.scan import PlanarScan
from bonemets.errors import InputError
from bonemets.labeling.store.history import LabelHistory
from bonemets.labeling.store.masks import mask_bytes, read_mask
from bonemets.labeling.store.workspace import Workspace

ITK_SNAP, LABELME = "itk-snap", "labelme"
MANIFEST = "exchange.json"
DESCRIPTIONS = "labels.txt"
# As the viewer shows them: lesion red, unsure blue.
_DESCRIPTIONS_TEXT = """\
# ITK-SnAP Label Description File
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
    0     0    0    0        0  0  0    "Clear Label"
    1   211   34   42        1  1  1    "lesion"
    2    22  104  214        1  1  1    "unsure"
"""


@dataclass(frozen=True)
class Part:
    """An image of the folder and its label.

    Args:
        image: the image's file name.
        label: the label's.
    """

    image: str
    label: str


@dataclass(frozen=True)
class Exported:
    """An item of the folder.

    Args:
        id: its name in the annotation project.
        image_sha256: of its pixels, as ``links.json`` has it.
        version: of its final label; 0 for none.
        label: ``"final"``, ``"original"`` for what a network has proposed, or ``"none"``.
        sha256: of the label, as `bonemets.labeling.store.masks.mask_bytes` writes it; shows whether it was changed.
        parts: the files, one pair for each view.
    """

    id: str
    image_sha256: str
    version: int
    label: str
    sha256: str
    parts: tuple[Part, ...]


@dataclass
class Exchange:
    """What an exported folder holds.

    Args:
        format: ``"itk-snap"`` or ``"labelme"``.
        items: its items.
        left_out: items that the format cannot hold.
    """

    format: str
    items: list[Exported] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def export_labels(work: Workspace, folder: Path, format_: str, wanted: Iterable[str] = ()) -> Exchange:
    """Write the items of a project for another program: final labels, else proposals, else nothing drawn yet.

    Args:
        work: the annotation project.
        folder: a new folder, or an empty one: what was corrected in a folder is never written over.
        format_: ``"itk-snap"`` or ``"labelme"``.
        wanted: names of items; by default all.

    Returns:
        What was written.

    Raises:
        InputError: if there is no such item, or the folder is not empty.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty; import what was corrected there, or give another folder")
    links = work.links()
    items = list(wanted) or sorted(links)
    missing = [item for item in items if item not in links]
    if missing or not items:
        raise InputError(f"{work.folder}: has no item {missing[0]!r}" if missing else f"{work.folder}: has no items")
    newest = LabelHistory(work.history).newest()
    result = Exchange(format_)
    for item in items:
        modality = links[item].modality
        if format_ == LABELME and modality == CT:
            result.left_out.append(item)
            continue
        scan = read_item(work.image(item), modality)
        tag, mask = _label(work, item, scan.pixels.shape, modality)
        kept = newest.get((item, "final"))
        names = [item] if len(links[item].views) < 2 else [f"{item}_{view}" for view in links[item].views]
        write = _write_itk_snap if format_ == ITK_SNAP else _write_labelme
        parts = tuple(write(folder, name, work.image(item), scan, mask, index) for index, name in enumerate(names))
        sha256 = hashlib.sha256(mask_bytes(scan, mask)).hexdigest()
        version = kept.version if kept else 0
        result.items.append(Exported(item, links[item].sha256, version, tag, sha256, parts))
    if format_ == ITK_SNAP:
        write_bytes(folder / DESCRIPTIONS, _DESCRIPTIONS_TEXT.encode())
    document = {"bonemets": bonemets.__version__, **asdict(result)}
    write_bytes(folder / MANIFEST, json.dumps(document, indent=1).encode())
    return result


def read_manifest(folder: Path) -> Exchange:
    """What was exported into a folder.

    Raises:
        InputError: if it was not exported by `export_labels`.
    """
    path = folder / MANIFEST
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        rows = [{**row, "parts": tuple(Part(**part) for part in row["parts"])} for row in document["items"]]
        return Exchange(document["format"], [Exported(**row) for row in rows])
    except FileNotFoundError as error:
        raise InputError(f"{path}: is missing; give a folder that `bonemets label export` has made") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); export again") from error


def note_version(folder: Path, item: str, version: int, sha256: str) -> None:
    """Note that the folder's label of an item is a version now, which the next import compares with."""
    document = json.loads((folder / MANIFEST).read_text("utf-8"))
    for row in document["items"]:
        if row["id"] == item:
            row |= {"version": version, "sha256": sha256, "label": "final"}
    write_bytes(folder / MANIFEST, json.dumps(document, indent=1).encode())


def is_scan(work: Workspace, item: str) -> bool:
    """Whether an item is a bone scan, with an exported pair of files for each view."""
    return work.modality(item) == NM


def _label(work: Workspace, item: str, shape: tuple[int, ...], modality: str) -> tuple[str, np.ndarray]:
    for tag in ("final", "original"):
        path = work.datastore / "labels" / tag / f"{item}.nii.gz"
        if path.is_file():
            return tag, read_mask(path, modality).astype(np.uint8)
    return "none", np.zeros(shape, np.uint8)


def _write_itk_snap(
    folder: Path, name: str, image: Path, scan: PlanarScan | CTScan, mask: np.ndarray, index: int
) -> Part:
    label = f"{name}_label.nii.gz"
    if isinstance(scan, PlanarScan) and len(scan.views) > 1:
        affine = planar_affine(scan.shape, scan.spacing, scan.views[index])
        pixels = scan.pixels[..., index]
        whole = pixels.min() >= 0 and pixels.max() < 2**16 and np.array_equal(pixels, np.rint(pixels))
        write_nifti(folder / f"{name}.nii.gz", pixels.astype(np.uint16 if whole else np.float32), affine)
        write_nifti(folder / label, mask[..., index], affine)
        return Part(f"{name}.nii.gz", label)
    suffix = ".png" if image.suffix == ".png" else ".nii.gz"
    write_bytes(folder / f"{name}{suffix}", image.read_bytes())
    write_bytes(folder / label, mask_bytes(scan, mask))
    return Part(f"{name}{suffix}", label)


def _write_labelme(
    folder: Path, name: str, image: Path, scan: PlanarScan | CTScan, mask: np.ndarray, index: int
) -> Part:
    picture = folder / f"{name}.png"
    folder.mkdir(parents=True, exist_ok=True)
    if image.suffix == ".png":
        write_bytes(picture, image.read_bytes())
    else:
        Image.fromarray(_gray(scan.pixels[..., index])).save(picture)
    document = {
        "version": "5.1.1", "flags": {}, "shapes": outline_shapes(mask[..., index]), "imagePath": picture.name,
        "imageData": None, "imageHeight": mask.shape[0], "imageWidth": mask.shape[1],
    }  # fmt: skip
    write_bytes(folder / f"{name}.json", json.dumps(document, indent=1).encode())
    return Part(picture.name, f"{name}.json")


def _gray(counts: np.ndarray) -> np.ndarray:
    """Counts as the viewer shows them at first: hot is dark, black from what 99.5 % of the pixels with counts reach."""
    upper = np.percentile(counts[counts > 0], 99.5) if (counts > 0).any() else 1.0
    return np.rint(255 * (1 - np.clip(counts / upper, 0, 1))).astype(np.uint8)
