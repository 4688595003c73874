"""DICOM unique identifiers that follow from what they name."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("0f5a5f0e-6c1b-5b0e-9a53-0e6d9b1f6f4c")


def make_uid(*parts: object) -> str:
    """A ``2.25`` identifier (PS3.5 B.2) from a name-based UUID: equal parts give an equal identifier."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(str(part) for part in parts)).int}"
