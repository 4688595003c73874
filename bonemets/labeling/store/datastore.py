"""MONAI Label's store of images and labels in a folder, made safe: versions, conflicts, kills, several processes.

The layout is MONAI Label's own (``datastore_v2.json``, ``ID.nii.gz`` or ``ID.png``, ``labels/TAG/ID.nii.gz``), so its
other tools and ``bonemets datalist --format monailabel`` read it.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import re
import shutil
import time
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import HTTPException
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastoreModel
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from bonemets.data.ct.scan import CTScan
from bonemets.data.files import write_bytes
from bonemets.data.modalities import NM, read_item
from bonemets.data.planar.scan import PlanarScan
from bonemets.errors import InputError
from bonemets.labeling.store.history import LabelHistory, Version
from bonemets.labeling.store.masks import label_bytes, read_mask
from bonemets.labeling.store.shared_datastore import SharedDatastore
from bonemets.labeling.store.workspace import Workspace

logger = logging.getLogger(__name__)

# Who the present request comes from; `bonemets.labeling.server.access` sets it.
USER: ContextVar[str] = ContextVar("user", default="")
# What the present request has saved, for the answer to the client.
SAVED: ContextVar[dict[str, Any]] = ContextVar("saved", default={})  # noqa: B039
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
EXTENSION = ".nii.gz"
IMAGE_EXTENSIONS = (EXTENSION, ".png")
# What the server alone says of a label, and of an image.
LABEL_FACTS, IMAGE_FACTS = ("version", "user", "time"), ("modality",)


class VersionedDatastore(SharedDatastore):
    """A local datastore that loses nothing.

    *Deviations from MONAI Label's*, beside those of `SharedDatastore`: labels are checked against their image and
    rewritten on its grid as uint8. Labels of every tag but ``original`` (a model's proposals) get a version; a label
    that an annotator started from an older version than the current one is refused with status 409 if the client says
    so (``base_version`` in its parameters). Names that lead out of the folder are refused.

    Args:
        work: the annotation project.
    """

    def __init__(self, work: Workspace) -> None:
        self.work = work
        self.modality: str | None = None
        self.history = LabelHistory(work.history)
        super().__init__(work.datastore, IMAGE_EXTENSIONS)
        self.refresh()

    # --- what is there

    def refresh(self) -> None:
        """Take in images that were added, and finish or note what happened to labels while no server ran."""
        files = {
            path.name.removesuffix(extension): extension
            for extension in IMAGE_EXTENSIONS
            for path in self.work.datastore.glob(f"*{extension}")
        }
        links = self.work.links()
        with self._change() as model:
            for gone in set(model.objects) - set(files):
                del model.objects[gone]
            for added in sorted(set(files) - set(model.objects)):
                info = {"ts": int(time.time()), "name": f"{added}{files[added]}"}
                model.objects[added] = ImageLabelModel(image=DataModel(info=info, ext=files[added]))
            for image, entry in model.objects.items():
                entry.image.info["modality"] = links[image].modality if image in links else NM
            self._recover(model)

    def _recover(self, model: LocalDatastoreModel) -> None:
        newest, replaced = self.history.newest(), self.history.replaced_sha256()
        for (image, tag), version in newest.items():
            path = self._label_file(image, tag)
            if image in model.objects and version.file and _sha256(path) in ("", replaced[image, tag]):
                # Stopped between keeping the label and putting it in place.
                self.history.restore(version, path)
                logger.warning(f"restored version {version.version} of label {tag} of {image}")
            elif version.action == "removed" and _sha256(path) == replaced[image, tag]:
                path.unlink(missing_ok=True)
        folders = [path for path in (self.work.datastore / "labels").iterdir() if path.is_dir()]
        for tag in sorted(path.name for path in folders if TAG.fullmatch(path.name)):
            for image, entry in model.objects.items():
                path = self._label_file(image, tag)
                if not path.is_file():
                    entry.labels.pop(tag, None)
                    continue
                kept = newest.get((image, tag))
                if tag != DefaultLabelTag.ORIGINAL and (kept is None or kept.sha256 != _sha256(path)):
                    kept = self._take_in(image, tag, path)
                if tag not in entry.labels or (kept and entry.labels[tag].info.get("version") != kept.version):
                    info = {"ts": int(path.stat().st_mtime), "name": path.name, **(kept.summary() if kept else {})}
                    entry.labels[tag] = DataModel(info=info, ext=EXTENSION)

    def _take_in(self, image: str, tag: str, path: Path) -> Version | None:
        """Keep a label that another program has put there, as a version of its own."""
        try:
            content, lesion_pixels = label_bytes(self.work.image(image), path, self.work.modality(image))
        except InputError as error:
            logger.warning(f"label {tag} of {image} was left as it is: {error}")
            return None
        version = self.history.add(image, tag, "found", content, user="", lesion_pixels=lesion_pixels)
        write_bytes(path, content)
        return version

    # --- items of one modality

    def of_modality(self, modality: str | None) -> VersionedDatastore:
        """The same datastore, of which only the images of one modality are seen; None for all."""
        view = copy.copy(self)
        view.modality = modality
        return view

    def modality_of(self, image: str) -> str:
        """The modality of an image."""
        return str(self.get_image_info(image).get("modality", NM))

    def progress(self) -> dict[str, dict[str, int]]:
        """Modality → how many images there are, and how many have a final label."""
        labeled = set(self.get_labeled_images())
        counts: dict[str, dict[str, int]] = {}
        for image in self.list_images():
            count = counts.setdefault(self.modality_of(image), {"total": 0, "labeled": 0})
            count["total"] += 1
            count["labeled"] += image in labeled
        return counts

    def list_images(self) -> list[str]:
        """The images' names."""
        return self._seen(super().list_images())

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """The images that have a final label."""
        return self._seen(super().get_labeled_images(label_tag, labels))

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """The images that have no final label."""
        return self._seen(super().get_unlabeled_images(label_tag, labels))

    def _seen(self, images: list[str]) -> list[str]:
        return [image for image in images if self.modality in (None, self.modality_of(image))]

    # --- pixels

    def read(self, image: str) -> PlanarScan | CTScan:
        """An image's pixels, (H, W, V) as displayed, with what is known of them."""
        return read_item(self.get_image_uri(image), self.modality_of(image))

    def read_label(self, image: str, tag: str) -> np.ndarray:
        """A label's values, (H, W, V) as displayed."""
        return read_mask(self.get_label_uri(image, tag), self.modality_of(image))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The label's file; empty if there is none."""
        return super().get_label_uri(label_id, label_tag) if TAG.fullmatch(str(_plain(label_tag))) else ""

    # --- changes

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Check a label, keep it as a version, and put it in place.

        Args:
            image_id: the item.
            label_filename: the label's file, in any format that images of its modality are read from.
            label_tag: ``final``, ``original``, or another word.
            label_info: what the client says of it; its ``base_version`` is the version that the annotator started
                from, 0 for none.

        Returns:
            The label's name: the item's.

        Raises:
            HTTPException: 404 there is no such image, 400 the label does not fit it, 409 the label has changed since
                the annotator got it.
        """
        tag = _plain(label_tag)
        if image_id not in self._datastore.objects:
            raise HTTPException(404, f"there is no image {image_id!r}")
        if not TAG.fullmatch(tag):
            raise HTTPException(400, f"a tag is made of letters, digits, _ and -, got {tag!r}")
        try:
            modality = self.work.modality(image_id)
            content, lesion_pixels = label_bytes(self.work.image(image_id), Path(label_filename), modality)
        except InputError as error:
            # The name of the uploaded file means nothing to the client.
            raise HTTPException(400, str(error).replace(f"{label_filename}: ", "the label ")) from error
        info = {key: value for key, value in (label_info or {}).items() if key not in LABEL_FACTS}
        SAVED.set({"tag": tag})
        with self._change() as model:
            if tag != DefaultLabelTag.ORIGINAL:
                version = self._add_version(image_id, tag, content, info, lesion_pixels)
                info |= version.summary() | {"replaces": version.replaces}
                SAVED.set({"tag": tag, "version": version.version, "replaces": version.replaces})
            write_bytes(self._label_file(image_id, tag), content)
            info |= {"ts": int(time.time()), "name": f"{image_id}{EXTENSION}", "lesion_pixels": lesion_pixels}
            model.objects[image_id].labels[tag] = DataModel(info=info, ext=EXTENSION)
        return image_id

    def _add_version(self, image: str, tag: str, content: bytes, info: dict[str, Any], lesion_pixels: int) -> Version:
        client = str(info.get("client_id") or "")[:200]
        user = USER.get() or client
        base = info.pop("base_version", None)
        current = self.history.newest().get((image, tag))
        number = current.version if current else 0
        if base is not None:
            if not isinstance(base, int):
                raise HTTPException(400, f"base_version must be a whole number, got {base!r}")
            if base != number:
                what = f"{current.action} by {current.user or 'someone'} at {current.time}" if current else "none"
                raise HTTPException(
                    409,
                    f"label {tag!r} of {image} is at version {number} ({what}), yours began from version {base}: load "
                    "the current one and add your changes, or save under another tag",
                )
        return self.history.add(
            image, tag, "saved", content, user=user, client=client, base=base, lesion_pixels=lesion_pixels
        )  # fmt: skip

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Take a label away; its versions stay in the history."""
        tag = _plain(label_tag)
        if tag not in self.get_labels_by_image_id(label_id):
            raise HTTPException(404, f"there is no label {tag!r} of {label_id!r}")
        with self._change() as model:
            if tag != DefaultLabelTag.ORIGINAL:
                self.history.add(label_id, tag, "removed", user=USER.get())
            self._label_file(label_id, tag).unlink(missing_ok=True)
            model.objects[label_id].labels.pop(tag, None)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refuse: images come in through the studies' folder or the archive, so that each has a link to its source."""
        raise HTTPException(403, "images are added to the studies' folder; POST /bonemets/studies takes in new ones")

    def remove_image(self, image_id: str) -> None:
        """Take an image from the work list, with its labels; their versions stay in the history."""
        if image_id not in self._datastore.objects:
            raise HTTPException(404, f"there is no image {image_id!r}")
        for tag in self.get_labels_by_image_id(image_id):
            self.remove_label(image_id, tag)
        with self._change() as model:
            self.work.image(image_id).unlink(missing_ok=True)
            del model.objects[image_id]

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known of an image."""
        with self._change() as model:
            if image_id not in model.objects:
                raise ImageNotFoundException(f"Image {image_id} not found")
            facts = {key: value for key, value in info.items() if key not in IMAGE_FACTS}
            model.objects[image_id].image.info.update(facts)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known of a label; who saved which version cannot be changed."""
        tag = _plain(label_tag)
        with self._change() as model:
            label = model.label(label_id, tag)
            if label is None:
                raise LabelNotFoundException(f"Label: {label_id} Tag: {tag} not found")
            label.info.update({key: value for key, value in info.items() if key not in LABEL_FACTS})

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """A zip archive of the labeled images.

        Raises:
            HTTPException: 404 if nothing is labeled yet.
        """
        if not self.datalist():
            raise HTTPException(404, "no image has a final label yet")
        path = super().get_dataset_archive(limit_cases)
        return shutil.move(path, f"{path}.zip")

    def _label_file(self, image: str, tag: str) -> Path:
        return self.work.datastore / "labels" / tag / f"{image}{EXTENSION}"


def _plain(tag: str) -> str:
    """A tag as text, also where MONAI Label gives its enumeration."""
    return str(getattr(tag, "value", tag))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
