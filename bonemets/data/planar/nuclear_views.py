"""Which view a frame of a planar nuclear-medicine object shows, and how it is stored: turned, mirrored or upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bonemets.data.planar.geometry import VIEWS, Layout, view_from_name

if TYPE_CHECKING:
    from pydicom import Dataset

# (coding scheme, value) of CID 26; SRT is the coding that DICOM used before SNOMED CT.
_VIEW_CODES = {
    ("SCT", "399321004"): "anterior", ("SRT", "G-5215"): "anterior",
    ("SCT", "399001007"): "posterior", ("SRT", "G-5216"): "posterior",
}  # fmt: skip
# CID 21.
_FEET_FIRST = ("102541007", "F-10480")
# Patient orientation's letters in LPS.
_DIRECTIONS = {
    "L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1),
}  # fmt: skip


def frame_views(dataset: Dataset, numbers: list[int]) -> list[str]:
    """Which view each frame shows, from the best evidence that the header holds.

    In this order: the detector's view code (or its text); the detector's image orientation, whose row direction times
    column direction points away from the camera; the same of the object's image or patient orientation, which speak
    for the first frame; the vendor's detector number and the words ``ANT``/``POST`` in the image and series
    descriptions, which can only speak for an object with one frame. Two frames without any of these are detector 1 =
    anterior and detector 2 = posterior, the order of every two-headed camera. A single frame without evidence is
    ``"unknown"``: detector vectors count from 1 in each object, so 1 alone says nothing, while 2 is a posterior view.

    Args:
        dataset: a DICOM object.
        numbers: frame numbers, from 1.
    """
    detectors = [_detector_number(dataset, number) for number in numbers]
    views = _evident_views(dataset, detectors)
    if len(views) == 1:
        return [views[0] or _single_frame_view(dataset, detectors[0])]
    other = {"anterior": "posterior", "posterior": "anterior"}
    first, second = views
    if first is None and second is None:
        return list(VIEWS) if detectors[0] <= detectors[1] else list(VIEWS[::-1])
    return [first or other[second or ""], second or other[first or ""]]


def frame_layouts(dataset: Dataset, numbers: list[int], views: list[str]) -> list[Layout] | None:
    """How each frame is stored, by its detector's image orientation, else by the object's image or patient orientation.

    An orientation of the object speaks for the first frame, and the others are stored in the same way. One that is
    copied to both detectors, where no view code says which view is which, speaks for the view that it shows.

    Args:
        dataset: a DICOM object.
        numbers: frame numbers, from 1.
        views: the frames' views.

    Returns:
        A layout per frame; None if the header holds no orientation.
    """
    detectors = [_detector_number(dataset, number) for number in numbers]
    own = [_detector_orientation(dataset, detector) for detector in detectors]
    if not any(directions is not None for directions in own):
        common = _object_orientation(dataset)
        return None if common is None else [_layout(common, views[0])] * len(numbers)
    is_copied = any(view is None for view in _evident_views(dataset, detectors))
    layouts = [
        None if directions is None else _layout(directions, _shown_view(directions) if is_copied else view)
        for directions, view in zip(own, views, strict=True)
    ]
    known = next(layout for layout in layouts if layout is not None)
    return [layout or known for layout in layouts]


def lies_feet_first(dataset: Dataset) -> bool:
    """Whether the patient lay in the camera feet first."""
    relations = dataset.get("PatientGantryRelationshipCodeSequence") or []
    if any(str(code.get("CodeValue")) in _FEET_FIRST for code in relations):
        return True
    return not relations and str(dataset.get("PatientPosition") or "").startswith("FF")


def _evident_views(dataset: Dataset, detectors: list[int]) -> list[str | None]:
    """The views that codes and orientations tell."""
    views = [_coded_view(dataset, detector) for detector in detectors]
    if None not in views:
        return views
    own = [_detector_orientation(dataset, detector) for detector in detectors]
    shown = [None if directions is None else _shown_view(directions) for directions in own]
    if not any(shown):
        common = _object_orientation(dataset)
        shown[0] = None if common is None else _shown_view(common)
    # Some vendors copy one orientation to both detectors: no evidence then.
    if len(set(shown)) == len(shown):
        views = [coded or by_orientation for coded, by_orientation in zip(views, shown, strict=True)]
    if len(views) == 2 and None in views and any(views):
        other = {"anterior": "posterior", "posterior": "anterior"}
        views = [view or other[views[1 - index] or ""] for index, view in enumerate(views)]
    return views


def _layout(directions: np.ndarray, view: str) -> Layout:
    """How an image is stored whose columns and rows grow in the given directions (2, 3; LPS) and that shows a view."""
    transpose = bool(abs(directions[0, 2]) > abs(directions[0, 0]))
    across, down = directions[::-1] if transpose else directions
    right = across[0] < 0
    return Layout(transpose, bool(down[2] > 0), bool(right != (view == "posterior")))


def _shown_view(directions: np.ndarray) -> str:
    """The view of an image that is turned but not mirrored: row times column direction points away from the camera."""
    return "anterior" if np.cross(*directions)[1] > 0 else "posterior"


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


def _detector_orientation(dataset: Dataset, detector: int) -> np.ndarray | None:
    """Row and column direction (2, 3) of a detector's image in LPS, where they are those of a coronal image."""
    item = _detector(dataset, detector)
    return None if item is None else _coronal(header_values(item.get("ImageOrientationPatient")))


def _object_orientation(dataset: Dataset) -> np.ndarray | None:
    """The same, as the image orientation or the patient orientation of the whole object says."""
    directions = _coronal(header_values(dataset.get("ImageOrientationPatient")))
    letters = [str(value).strip().upper() for value in header_values(dataset.get("PatientOrientation"))]
    if directions is None and len(letters) == 2 and all(value[:1] in _DIRECTIONS for value in letters):
        directions = _coronal([number for value in letters for number in _DIRECTIONS[value[:1]]])
    return directions


def _coronal(values: list) -> np.ndarray | None:
    if len(values) != 6:
        return None
    directions = np.array([float(value) for value in values]).reshape(2, 3)
    main = np.abs(directions).argmax(axis=1)
    is_coronal = sorted(main) == [0, 2] and np.abs(directions).max(axis=1).min() > 0.9
    return directions if is_coronal else None


def _single_frame_view(dataset: Dataset, detector: int) -> str:
    texts = [str(dataset.get(keyword) or "") for keyword in ("ViewPosition", "ImageID", "SeriesDescription")]
    named = next((view for view in map(view_from_name, texts) if view), None)
    return named or _vendor_view(dataset) or ("posterior" if detector == 2 else "unknown")


def _vendor_view(dataset: Dataset) -> str | None:
    """GE Genie writes each head's view as an object of its own and keeps the head's number in a private element."""
    try:
        block, study = dataset.private_block(0x0011, "GEMS_GENIE_1"), dataset.private_block(0x0009, "GEMS_GENIE_1")
        heads, head = int(study[0x27].value), int(block[0x15].value)
    except (KeyError, TypeError, ValueError):
        return None
    return {1: "anterior", 2: "posterior"}.get(head) if heads == 2 else None


def header_values(value: object) -> list:
    """A header value as a list, whether it has none, one or several."""
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)
