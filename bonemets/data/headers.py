"""Header values of DICOM objects as they are found in the wild: text, numbers and identifiers, or nothing."""

from __future__ import annotations

import math
import re
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

# What pydicom raises on values that are not what their data element should hold.
HEADER_ERRORS = (ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError)
_UID = re.compile(r"(?:0|[1-9]\d*)(?:\.(?:0|[1-9]\d*))+")


def header_texts(dataset: Dataset, keyword: str) -> list[str]:
    """The values of a data element as text, without padding; empty if there are none, or a sequence."""
    if keyword not in dataset:
        return []
    from pydicom.tag import Tag

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = dataset[keyword].value
            values = list(value) if isinstance(value, (list, tuple)) or _is_multiple(value) else [value]
            values = [_text(one) for one in values]
    except HEADER_ERRORS:
        # The bytes in the file, where they are no value of their kind, such as a number with a comma.
        raw = getattr(dataset.get_item(Tag(keyword)), "value", None)
        values = raw.decode("latin-1").split("\\") if isinstance(raw, bytes) else []
    values = [value.strip(" \0\t\r\n") for value in values]
    return values if any(values) else []


def header_numbers(dataset: Dataset, keyword: str) -> list[float]:
    """The values of a data element as numbers, a decimal comma included; empty if any is no finite number."""
    try:
        numbers = [float(text.replace(",", ".")) for text in header_texts(dataset, keyword)]
    except ValueError:
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []


def header_uid(dataset: Dataset, keyword: str) -> str:
    """A unique identifier; empty if there is none, or none that is valid (PS3.5 section 9.1)."""
    texts = header_texts(dataset, keyword)
    if len(texts) != 1 or len(texts[0]) > 64 or not _UID.fullmatch(texts[0]):
        return ""
    # What refers to the image must name it as it names itself, blanks included.
    return texts[0] if str(dataset[keyword].value) == texts[0] else ""


def pixel_spacing(dataset: Dataset) -> tuple[float, float] | None:
    """Row and column spacing in mm; None where the header does not say, or not in two positive numbers."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        numbers = header_numbers(dataset, keyword)
        if len(numbers) == 2 and min(numbers) > 0:
            return numbers[0], numbers[1]
    return None


def _is_multiple(value: object) -> bool:
    from pydicom.multival import MultiValue

    return isinstance(value, MultiValue)


def _text(value: object) -> str:
    from pydicom import Dataset

    if value is None or isinstance(value, Dataset):
        return ""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
