"""The codes by which DICOM objects name a finding's bone."""

from __future__ import annotations

from pydicom.sr.codedict import Code, codes

from bonemets.anatomy.regions import bone_named

SIDES = {"right": codes.SCT.Right, "left": codes.SCT.Left}


def bone_codes(name: str | None) -> tuple[Code, Code | None] | None:
    """SNOMED CT codes of a bone and of its side, which those in the middle have not; None for no or two bones."""
    bone = bone_named(name) if name else None
    return (getattr(codes.SCT, bone.code), SIDES.get(bone.side)) if bone else None
