"""What a new object of ours takes over from the image that it is about: patient and study; and how it refers to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime

from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from bonemets.data.headers import header_numbers, header_texts, header_uid
from bonemets.dicom.identifiers import make_uid
from bonemets.errors import InputError

RESEARCH_USE_ONLY = "Research use only"
SIMULATED_ONLY = "Research use only; network trained on simulated patients only"  # at most 64 characters
UTF_8 = "ISO_IR 192"
_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
# What people and programs write for "M", "F" and "O", in small letters.
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "w": "F", "o": "O", "other": "O"}
_DATES = ("%Y%m%d", "%Y.%m.%d", "%Y-%m-%d", "%Y/%m/%d")
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?)?")
# Planar scans and CT lie in space by these; each with how many numbers it has.
_PLACE = {
    "PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3, "SliceThickness": 1,
    "SpacingBetweenSlices": 1,
}  # fmt: skip


def source_header(original: Dataset) -> Dataset:
    """Patient, study and identifiers of an image, in values that DICOM allows and in Unicode (UTF-8).

    A value that says the same in another form is put right: dates with points, a sex in words, a name in two values.
    What cannot be understood is left empty, or out where DICOM allows that: a wrong patient ID would be worse than
    none. Cameras leave out what every object must have, if only empty.

    Args:
        original: the image.

    Raises:
        InputError: an identifier is missing or not valid, so that nothing can refer to the image.
    """
    header = Dataset()
    for keyword in _IDENTIFIERS:
        setattr(header, keyword, checked_uid(original, keyword))
    if frame_of_reference := header_uid(original, "FrameOfReferenceUID"):
        header.FrameOfReferenceUID = frame_of_reference
    header.SpecificCharacterSet = UTF_8
    header.Modality = "".join(header_texts(original, "Modality")[:1])[:16]
    for keyword, allowed in _REQUIRED.items():
        setattr(header, keyword, allowed(original, keyword) or "")
    for keyword, allowed in _OPTIONAL.items():
        if value := allowed(original, keyword):
            setattr(header, keyword, value)
    header.file_meta = deepcopy(original.file_meta)
    return header


def slice_header(original: Dataset) -> Dataset:
    """`source_header` of a CT slice, with its size and its place in space.

    Raises:
        InputError: an identifier is missing or not valid, or the slice has no place in space.
    """
    header = source_header(original)
    header.Rows, header.Columns = original.Rows, original.Columns
    for keyword, count in _PLACE.items():
        numbers = header_numbers(original, keyword)
        if len(numbers) == count:
            texts = [decimal(number) for number in numbers]
            setattr(header, keyword, texts if count > 1 else texts[0])
    if "FrameOfReferenceUID" not in header:
        header.FrameOfReferenceUID = make_uid("frame of reference", header.SeriesInstanceUID)
    return header


def checked_uid(dataset: Dataset, keyword: str) -> str:
    """An identifier that nothing can do without.

    Raises:
        InputError: it is missing or not valid.
    """
    if uid := header_uid(dataset, keyword):
        return uid
    what = "is no valid identifier" if header_texts(dataset, keyword) else "is missing"
    file = getattr(dataset, "filename", None) or "the DICOM object"
    raise InputError(f"{file}: its {keyword} {what}, so that no SEG can refer to it; export it again with a valid one")


def decimal(number: float) -> str:
    """A number as a decimal string of at most 16 characters (PS3.5 table 6.2-1)."""
    return next(text for digits in range(15, 0, -1) if len(text := f"{number:.{digits}g}") <= 16)


def reference_number(dataset: Dataset, number: int) -> int | None:
    """The number by which a frame is referred to; None where the class has single frames (PS3.3 table 10-3)."""
    single = dataset.SOPClassUID == SecondaryCaptureImageStorage and int(dataset.get("NumberOfFrames") or 1) == 1
    return None if single else number


def _line(original: Dataset, keyword: str) -> str:
    """One line of text without control characters; several values are none."""
    texts = header_texts(original, keyword)
    return _printable(texts[0]) if len(texts) == 1 else ""


def _printable(text: str) -> str:
    """Text without control characters and without what pydicom leaves of escape sequences (ISO 2022 IR 58)."""
    return re.sub(r"\x1b\$?[()*+,\-./]?[0-~]|[\x00-\x1f\x7f-\x9f]", "", text).strip()


def _at_most(length: int) -> Callable[[Dataset, str], str]:
    def identifier(original: Dataset, keyword: str) -> str:
        text = _line(original, keyword)
        return text if len(text) <= length else ""

    return identifier


def _description(original: Dataset, keyword: str) -> str:
    return _line(original, keyword)[:64].strip()


def _person(original: Dataset, keyword: str) -> str:
    """A person's name: three writings of at most five parts and 64 characters each (PS3.5 section 6.2.1)."""
    joined = _printable(" ".join(filter(None, header_texts(original, keyword))))
    writings = ["^".join(part.strip() for part in writing.split("^")[:5])[:64] for writing in joined.split("=")[:3]]
    return "=".join(writings).rstrip("=^ ") if any(writing.strip("^ ") for writing in writings) else ""


def _date(original: Dataset, keyword: str) -> str:
    text = _line(original, keyword)
    for form in _DATES:
        try:
            return datetime.strptime(text, form).strftime("%Y%m%d") if len(text) >= 8 else ""  # noqa: DTZ007
        except ValueError:
            continue
    return ""


def _time(original: Dataset, keyword: str) -> str:
    found = _TIME.fullmatch(_line(original, keyword))
    if found is None or int(found[1]) > 23 or int(found[2] or 0) > 59 or int(found[3] or 0) > 59:
        return ""
    return "".join(part or "" for part in found.groups()[:3]) + (f".{found[4]}" if found[4] else "")


def _sex(original: Dataset, keyword: str) -> str:
    return _SEXES.get(_line(original, keyword).lower(), "")


def _age(original: Dataset, keyword: str) -> str:
    text = _line(original, keyword).upper()
    return text if re.fullmatch(r"\d{3}[DWMY]", text) else ""


def _measure(original: Dataset, keyword: str) -> str:
    """A size or weight; cameras write 0 for unknown."""
    numbers = header_numbers(original, keyword)
    return decimal(numbers[0]) if len(numbers) == 1 and numbers[0] > 0 else ""


# What every object has, if only empty, and what may be there (PS3.3 C.7.1.1, C.7.2.1 and C.7.2.2).
_REQUIRED: dict[str, Callable[[Dataset, str], str]] = {
    "PatientID": _at_most(64),
    "PatientName": _person,
    "PatientBirthDate": _date,
    "PatientSex": _sex,
    "AccessionNumber": _at_most(16),
    "StudyID": _at_most(16),
    "StudyDate": _date,
    "StudyTime": _time,
    "ReferringPhysicianName": _person,
}
_OPTIONAL: dict[str, Callable[[Dataset, str], str]] = {
    "IssuerOfPatientID": _at_most(64),
    "StudyDescription": _description,
    "PatientAge": _age,
    "PatientSize": _measure,
    "PatientWeight": _measure,
}
