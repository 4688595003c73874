"""Which view a frame of a planar nuclear-medicine object shows, and which way up it is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bonemets.data.planar.geometry import VIEWS, view_from_name

if TYPE_CHECKING:
    from pydicom import Dataset

# (coding scheme, value) of CID 26; SRT is the coding that DICOM used before SNOMED CT.
_VIEW_CODES = {
    ("SCT", "399321004"): "anterior", ("SRT", "G-5215"): "anterior",
    ("SCT", "399001007"): "posterior", ("SRT", "G-5216"): "posterior",
}  # fmt: skip


def frame_views(dataset: Dataset, numbers: list[int]) -> list[str]:
    """Which view each frame shows, from the best evidence that the header holds.

    In this order: the detector's view code (or its text); the detector's image orientation; the patient orientation,
    the vendor's detector number and the words ``ANT``/``POST`` in the image and series descriptions, which can only
    speak for an object with one frame. Two frames without any of these are detector 1 = anterior and detector 2 =
    posterior, the order of every two-headed camera. A single frame without evidence is ``"unknown"``: detector
    vectors count from 1 in each object, so 1 alone says nothing, while 2 is a posterior view.

    Args:
        dataset: a DICOM object.
        numbers: frame numbers, from 1.
    """
    detectors = [_detector_number(dataset, number) for number in numbers]
    views = [_coded_view(dataset, detector) for detector in detectors]
    if None in views:
        oriented = [_oriented_view(dataset, detector) for detector in detectors]
        # Some vendors copy one orientation to both detectors: no evidence then.
        if len(set(oriented)) == len(oriented):
            views = [coded or by_orientation for coded, by_orientation in zip(views, oriented, strict=True)]
    if len(views) == 1:
        return [views[0] or _single_frame_view(dataset, detectors[0])]
    other = {"anterior": "posterior", "posterior": "anterior"}
    first, second = views
    if first is None and second is None:
        return list(VIEWS) if detectors[0] <= detectors[1] else list(VIEWS[::-1])
    return [first or other[second or ""], second or other[first or ""]]


def _detector_number(dataset: Dataset, frame: int) -> int:
    vector = header_values(dataset.get("DetectorVector"))
    return int(vector[frame - 1]) if len(vector) >= frame else frame


def _detector(dataset: Dataset, number: int) -> Dataset | None:
    detectors = dataset.get("DetectorInformationSequence") or []
    return detectors[number - 1] if 1 <= number <= len(detectors) else None


def _coded_view(dataset: Dataset, detector: int) -> str | None:
    item = _detector(dataset, detector)
    codes = (item.get("ViewCodeSequence") if item is not None else None) or dataset.get("ViewCodeSequence") or []
    for code in codes:
        view = _VIEW_CODES.get((str(code.get("CodingSchemeDesignator")), str(code.get("CodeValue"))))
        meaning = str(code.get("CodeMeaning") or "")
        oblique = any(word in meaning.lower() for word in ("left", "right", "oblique", "lateral"))
        view = view or (None if oblique else view_from_name(meaning))
        if view:
            return view
    return None


def _orientation(dataset: Dataset, detector: int) -> np.ndarray | None:
    """Row and column direction (2, 3) of a detector's image in LPS, where they are those of a coronal picture."""
    item = _detector(dataset, detector)
    values = header_values(item.get("ImageOrientationPatient")) if item is not None else []
    values = values or header_values(dataset.get("ImageOrientationPatient"))
    if len(values) != 6:
        return None
    directions = np.array([float(value) for value in values]).reshape(2, 3)
    return directions if abs(directions[0, 0]) > 0.9 and abs(directions[1, 2]) > 0.9 else None


def _oriented_view(dataset: Dataset, detector: int) -> str | None:
    directions = _orientation(dataset, detector)
    if directions is None:
        return None
    return "anterior" if directions[0, 0] > 0 else "posterior"


def _single_frame_view(dataset: Dataset, detector: int) -> str:
    across = (header_values(dataset.get("PatientOrientation")) or [""])[0]
    by_orientation = {"L": "anterior", "R": "posterior"}.get(str(across)[:1])
    texts = [str(dataset.get(keyword) or "") for keyword in ("ViewPosition", "ImageID", "SeriesDescription")]
    named = next((view for view in map(view_from_name, texts) if view), None)
    return by_orientation or named or _vendor_view(dataset) or ("posterior" if detector == 2 else "unknown")


def _vendor_view(dataset: Dataset) -> str | None:
    """GE Genie writes each head's view as an object of its own and keeps the head's number in a private element."""
    try:
        block, study = dataset.private_block(0x0011, "GEMS_GENIE_1"), dataset.private_block(0x0009, "GEMS_GENIE_1")
        heads, head = int(study[0x27].value), int(block[0x15].value)
    except (KeyError, TypeError, ValueError):
        return None
    return {1: "anterior", 2: "posterior"}.get(head) if heads == 2 else None


def stored_feet_first(dataset: Dataset, frame: int) -> bool:
    """Whether the first row of a frame is the feet's: by its detector's orientation, or the patient's."""
    directions = _orientation(dataset, _detector_number(dataset, frame))
    if directions is not None:
        return bool(directions[1, 2] > 0)
    down = header_values(dataset.get("PatientOrientation"))
    return len(down) == 2 and str(down[1])[:1] == "H"


def header_values(value: object) -> list:
    """A header value as a list, whether it has none, one or several."""
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)
