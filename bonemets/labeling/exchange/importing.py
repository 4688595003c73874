"""Labels back from ITK-SNAP and LabelMe, as new versions with author and base (see ``exchange.py``)."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from fastapi import HTTPException

from bonemets.data.adapters.labelme import check_size, draw_mask, read_drawing
from bonemets.data.modalities import read_item
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError
from bonemets.labeling.exchange.exchange import LABELME, Exported, is_scan, note_version, read_manifest
from bonemets.labeling.exchange.segmentations import keep_segmentation
from bonemets.labeling.store.datastore import SAVED, VersionedDatastore
from bonemets.labeling.store.masks import label_bytes, mask_bytes
from bonemets.labeling.store.workspace import Workspace


@dataclass
class Imported:
    """What `import_labels` did.

    Args:
        saved: item → its new version.
        unchanged: items whose label is as it was exported.
        refused: one line for each item that was not imported.
    """

    saved: dict[str, int] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def import_labels(
    folder: Path, work: Workspace, user: str, *, unchanged: bool = False, over_newer: bool = False
) -> Imported:
    """Save the labels of an exported folder that were changed there; a server may be running meanwhile.

    Args:
        folder: what `bonemets.labeling.exchange.exchange.export_labels` has written.
        work: the annotation project.
        user: who has corrected them.
        unchanged: whether to save those too that are as they were exported: somebody has looked and agrees.
        over_newer: whether to save also where somebody else has saved since the export; theirs stays in the history.

    Returns:
        What was done.

    Raises:
        InputError: if the folder is not an exported one.
    """
    exchange = read_manifest(folder)
    store, links = VersionedDatastore(work), work.links()
    result = Imported()
    for item in exchange.items:
        if item.id not in links or links[item.id].sha256 != item.image_sha256:
            result.refused.append(f"{item.id}: is not an image of {work.folder}; import into the project it came from")
            continue
        try:
            content = _label(folder, item, exchange.format, work)
            same = hashlib.sha256(content).hexdigest() == item.sha256
            if same and not unchanged:
                result.unchanged.append(item.id)
                continue
            version = _save(store, item, content, user, over_newer)
        except InputError as error:
            result.refused.append(str(error))
            continue
        result.saved[item.id] = version
        note_version(folder, item.id, version, hashlib.sha256(content).hexdigest())
        keep_segmentation(item.id, work, "")
    return result


def _save(store: VersionedDatastore, item: Exported, content: bytes, user: str, over_newer: bool) -> int:
    info: dict[str, str | int] = {"client_id": user}
    if not over_newer:
        info["base_version"] = item.version
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "label.nii.gz"
        path.write_bytes(content)
        try:
            store.save_label(item.id, str(path), "final", info)
        except HTTPException as error:
            if error.status_code != 409:
                raise InputError(f"{item.id}: {error.detail}") from error
            last = store.history.newest()[item.id, "final"]
            raise InputError(
                f"{item.id}: version {last.version} ({last.action} by {last.user or 'someone'}) is newer than what was"
                f" exported ({item.version}); not imported: look at it, or import with --over-newer"
            ) from error
    return int(SAVED.get()["version"])


def _label(folder: Path, item: Exported, format_: str, work: Workspace) -> bytes:
    """The label as it is stored."""
    image, modality = work.image(item.id), work.modality(item.id)
    scan = read_item(image, modality)
    if format_ == LABELME:
        size = (scan.pixels.shape[0], scan.pixels.shape[1])
        return mask_bytes(scan, np.stack([_drawn(folder / part.label, size) for part in item.parts], axis=-1))
    if not is_scan(work, item.id):
        return label_bytes(image, _existing(folder / item.parts[0].label), modality)[0]
    views = [_on_view(folder / part.image, _existing(folder / part.label)) for part in item.parts]
    mask = np.concatenate(views, axis=-1)
    if mask.shape != scan.pixels.shape:
        sizes = [" x ".join(map(str, shape)) for shape in (mask.shape, scan.pixels.shape)]
        raise InputError(f"{folder / item.parts[0].label}: is {sizes[0]} pixels, the scan {sizes[1]}; export again")
    return mask_bytes(scan, mask)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path}: is missing; save the label there, or export again")
    return path


def _on_view(image: Path, label: Path) -> np.ndarray:
    """The label of a view, (H, W, 1)."""
    content, _ = label_bytes(_existing(image), label)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "label.nii.gz"
        path.write_bytes(content)
        return read_planar(path).pixels.astype(np.uint8)


def _drawn(path: Path, size: tuple[int, int]) -> np.ndarray:
    drawing = read_drawing(_existing(path))
    check_size(drawing, size)
    return draw_mask(drawing.shapes, size)
