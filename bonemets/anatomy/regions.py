"""The bone regions that a finding is named after, as a nuclear physician writes them, with their SNOMED CT codes.

A *region* is what the atlas tells apart (``rib 5-8``), a *group* what several of them make up (``rib``): where the
region is not certain, its group may be.
"""

from __future__ import annotations

from dataclasses import dataclass

SIDES = ("right", "left")


@dataclass(frozen=True)
class Region:
    """A region of the skeleton.

    Args:
        name: without the side, as "rib 5-8".
        group: what it belongs to, as "rib"; the region's own name where it belongs to nothing larger.
        side: "right", "left", or "" for what lies in the middle.
        code: pydicom's keyword for the group's SNOMED CT code, ``pydicom.sr.codedict.codes.SCT.<code>``.
    """

    name: str
    group: str
    side: str
    code: str


def with_side(name: str, side: str) -> str:
    """A name with its side before it, where it has one."""
    return f"{side} {name}" if side else name


_MIDDLE = (
    ("skull vault", "skull", "Skull"),
    ("face or skull base", "skull", "Skull"),
    ("mandible", "skull", "Skull"),
    ("cervical spine", "cervical spine", "CervicalSpine"),
    ("thoracic spine T1-T6", "thoracic spine", "ThoracicSpine"),
    ("thoracic spine T7-T12", "thoracic spine", "ThoracicSpine"),
    ("lumbar spine", "lumbar spine", "LumbarSpine"),
    ("sacrum", "sacrum", "Sacrum"),
    ("manubrium", "sternum", "Sternum"),
    ("body of sternum", "sternum", "Sternum"),
)
_PAIRED = (
    ("clavicle", "clavicle", "Clavicle"),
    ("scapula", "scapula", "Scapula"),
    ("proximal humerus", "humerus", "Humerus"),
    ("humeral shaft", "humerus", "Humerus"),
    ("forearm", "forearm", "Forearm"),
    ("hand", "hand", "Hand"),
    ("rib 1-4", "rib", "Rib"),
    ("rib 5-8", "rib", "Rib"),
    ("rib 9-12", "rib", "Rib"),
    ("ilium", "hip bone", "Pelvis"),
    ("ischium or pubis", "hip bone", "Pelvis"),
    ("proximal femur", "femur", "Femur"),
    ("femoral shaft", "femur", "Femur"),
    ("distal femur", "femur", "Femur"),
    ("patella", "patella", "Patella"),
    ("lower leg", "lower leg", "LowerLeg"),
    ("foot", "foot", "Foot"),
)

REGIONS: tuple[Region, ...] = (
    *(Region(name, group, "", code) for name, group, code in _MIDDLE),
    *(Region(name, group, side, code) for name, group, code in _PAIRED for side in SIDES),
)
"""Every region; a region's place in this tuple is its number. The right one of a pair comes before the left one."""

MIDDLE_COUNT = len(_MIDDLE)
"""The first so many regions have no side."""


def mirrored(index: int) -> int:
    """Number of the same region on the patient's other side."""
    return index if index < MIDDLE_COUNT else MIDDLE_COUNT + ((index - MIDDLE_COUNT) ^ 1)


@dataclass(frozen=True)
class Bone:
    """What a finding's name says as a code.

    Args:
        label: name of the bone, as "right rib".
        side: "right", "left", or "".
        code: pydicom's keyword for its SNOMED CT code, ``pydicom.sr.codedict.codes.SCT.<code>``.
    """

    label: str
    side: str
    code: str


_BONES = {
    with_side(name, side): Bone(with_side(region.group, side), side, region.code)
    for region in REGIONS
    for name in (region.name, region.group)
    for side in (region.side, "")
}


def bone_named(name: str) -> Bone | None:
    """The bone that a name such as "right rib 5-8", "right rib" or "rib" means; None for "right rib or sternum"."""
    return _BONES.get(name)
