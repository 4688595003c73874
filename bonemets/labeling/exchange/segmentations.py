"""Final labels as DICOM SEG, for items that came from DICOM."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import requests

from bonemets.data.ct.scan import read_ct
from bonemets.data.modalities import CT
from bonemets.dicom.algorithm import Algorithm
from bonemets.dicom.ct_seg import write_ct_seg
from bonemets.dicom.seg import write_seg
from bonemets.errors import InputError
from bonemets.labeling.intake.archive import Archive, note_sent, sent_version
from bonemets.labeling.intake.studies import read_source
from bonemets.labeling.store.history import LabelHistory
from bonemets.labeling.store.masks import read_mask
from bonemets.labeling.store.workspace import Workspace

logger = logging.getLogger(__name__)


def keep_segmentation(item: str, work: Workspace, studies: str) -> str:
    """Write the item's final label as ``segmentations/ITEM.dcm``, on the frames or slices that it was read from.

    The label is saved already; what goes wrong here is told and changes nothing about that.

    Args:
        item: the item.
        work: the annotation project.
        studies: where the studies come from; to a DICOMweb address the object is sent.

    Returns:
        What was done, for the client: the file's name, ``"sent"``, ``""`` for an item that is not from DICOM, or what
        went wrong.
    """
    try:
        version = LabelHistory(work.history).newest()[item, "final"].version
        label = work.datastore / "labels" / "final" / f"{item}.nii.gz"
        path = work.segmentations / f"{item}.dcm"
        about: dict[str, Any] = {
            "algorithm": Algorithm("bonemets label"), "algorithm_type": "SEMIAUTOMATIC",
            "series_description": f"Bone metastases, annotated, version {version}; research use only",
        }  # fmt: skip
        link = work.links().get(item)
        if link is not None and link.modality == CT:
            if link.format != "dicom":
                return ""
            # Its slices are not kept in the project, as a bone scan's frames are: they lie where they came from.
            write_ct_seg(path, read_ct(Path(studies) / link.source), read_mask(label, CT) == 1, **about)
        else:
            source = read_source(item, work)
            if source is None:
                return ""
            write_seg(path, source, np.asarray(read_mask(label) == 1), **about)
    except (InputError, ValueError) as error:
        logger.warning(f"no DICOM SEG of {item}: {error}")
        return f"not written: {error}"
    if not studies.startswith(("http://", "https://")):
        return path.name
    try:
        Archive(studies).send(path)
    except requests.RequestException as error:
        logger.warning(f"the DICOM SEG of {item} waits for the archive: {error}")
        return "not sent: the archive cannot be reached; it is sent when studies are taken in again"
    note_sent(item, version, work)
    return "sent"


def send_waiting(work: Workspace, studies: str) -> list[str]:
    """Send the final labels that the archive does not have in their newest version.

    Args:
        work: the annotation project.
        studies: the archive's DICOMweb address.

    Returns:
        The items that were sent.
    """
    newest = LabelHistory(work.history).newest()
    waiting = [
        item
        for (item, tag), version in newest.items()
        if tag == "final" and version.action == "saved" and version.version != sent_version(item, work)
    ]
    return [item for item in waiting if keep_segmentation(item, work, studies) == "sent"]
