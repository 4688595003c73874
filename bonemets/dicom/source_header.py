"""What a new object of ours takes over from the image that it is about: patient and study; and how it refers to it."""

from __future__ import annotations

from copy import deepcopy

from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

RESEARCH_USE_ONLY = "Research use only"
SIMULATED_ONLY = "Research use only; network trained on simulated patients only"  # at most 64 characters
_PATIENT_AND_STUDY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


def source_header(original: Dataset) -> Dataset:
    """A copy of an image's header, without its sequences and pixels, that no library stumbles over.

    Cameras leave out what every object must have, if only empty, and write 0 for an unknown size or weight.
    """
    header = Dataset()
    for element in original:
        if element.tag.group in (0x0008, 0x0010, 0x0020) and element.VR != "SQ":
            header.add(deepcopy(element))
    for keyword in ("PatientSize", "PatientWeight"):
        if keyword in header and not header[keyword].value:
            del header[keyword]
    for keyword in _PATIENT_AND_STUDY:
        if keyword not in header:
            setattr(header, keyword, "")
    header.file_meta = original.file_meta
    return header


def reference_number(dataset: Dataset, number: int) -> int | None:
    """The number by which a frame is referred to; None where the class has single frames (PS3.3 table 10-3)."""
    single = dataset.SOPClassUID == SecondaryCaptureImageStorage and int(dataset.get("NumberOfFrames") or 1) == 1
    return None if single else number
