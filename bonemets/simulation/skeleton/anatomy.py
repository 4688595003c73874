"""Names of the bones, the regions that they belong to, and how myo-sim's meshes are cut into them.

The skeleton is the ``myofullbody`` model of the PyPI package ``myo-sim`` (Apache-2.0). Most of its meshes are one bone;
the cervical spine, the rib cage and the feet are several bones in one mesh and are taken apart into connected
components (:func:`split_mesh`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trimesh import Trimesh

SIDES = ("right", "left")
MIDPLANE_X = -0.025
"""Lateral position of the model's mid-sagittal plane in meters; the patient's right has smaller x."""

_CARPALS = ("scaphoid", "lunate", "triquetrum", "pisiform", "trapezium", "trapezoid", "capitate", "hamate")
_TARSALS = (
    "calcaneus",
    "cuboid",
    "navicular",
    "cuneiform_medial",
    "cuneiform_intermediate",
    "cuneiform_lateral",
)


def _phalanges(limb: str) -> list[str]:
    """Phalanges of one hand or foot, ray by ray, proximal to distal (the first ray has no middle phalanx)."""
    return [
        f"{limb}_{part}_phalanx_{ray}"
        for ray in range(1, 6)
        for part in ("proximal", "middle", "distal")
        if not (ray == 1 and part == "middle")
    ]


def _names_and_regions() -> list[tuple[str, str]]:
    """Every bone with its region, in the order of the labels."""
    table = [("skull", "skull"), ("mandible", "skull")]
    table += [(f"C{i}", "cervical_spine") for i in range(1, 8)]
    table += [(f"T{i}", "thoracic_spine") for i in range(1, 13)]
    table += [(f"L{i}", "lumbar_spine") for i in range(1, 6)]
    table += [("sacrum", "sacrum"), ("hip_right", "pelvis"), ("hip_left", "pelvis")]
    table += [(f"rib_{side}_{i}", "ribs") for side in SIDES for i in range(1, 13)]
    table += [("sternum", "sternum"), ("costal_cartilage", "costal_cartilage")]
    for bone, region in (("clavicle", "clavicles"), ("scapula", "scapulae"), ("humerus", "humeri")):
        table += [(f"{bone}_{side}", region) for side in SIDES]
    for bone in ("radius", "ulna"):
        table += [(f"{bone}_{side}", "forearms") for side in SIDES]
    hand = [*_CARPALS, *(f"metacarpal_{i}" for i in range(1, 6)), *_phalanges("hand")]
    table += [(f"{bone}_{side}", "hands") for side in SIDES for bone in hand]
    table += [(f"femur_{side}", "femora") for side in SIDES]
    for bone in ("patella", "tibia", "fibula"):
        table += [(f"{bone}_{side}", "lower_legs") for side in SIDES]
    foot = ["talus", *_TARSALS, *(f"metatarsal_{i}" for i in range(1, 6)), *_phalanges("foot")]
    table += [(f"{bone}_{side}", "feet") for side in SIDES for bone in foot]
    return table


_TABLE = _names_and_regions()
BONES: dict[int, str] = {i + 1: name for i, (name, _) in enumerate(_TABLE)}
"""Label value in the bone maps (1-based) → name of the bone."""
BONE_IDS: dict[str, int] = {name: i for i, name in BONES.items()}
REGIONS: dict[str, str] = dict(_TABLE)
"""Name of the bone → name of its region."""


def bones_of(*regions: str) -> list[str]:
    """Names of all bones in the given regions, in label order."""
    return [name for name, region in _TABLE if region in regions]


_SINGLE = [
    (r"hat_skull", "skull"),
    (r"hat_jaw", "mandible"),
    (r".*_thoracic(\d+)_s", r"T\1"),
    (r".*_lumbar(\d)", r"L\1"),
    (r"sacrum_.*", "sacrum"),
    (r"([rl])_pelvis", r"hip_\1"),
    (r"([rl])_(femur|tibia|fibula|patella|talus)", r"\2_\1"),
    (r"(clavicle|scapula|humerus|radius|ulna)_([rl])", r"\1_\2"),
    (rf"({'|'.join(_CARPALS)})_([rl])", r"\1_\2"),
    (r"(\d)mc_([rl])", r"metacarpal_\1_\2"),
    (r"(\d)proxph_([rl])", r"hand_proximal_phalanx_\1_\2"),
    (r"(\d)midph_([rl])", r"hand_middle_phalanx_\1_\2"),
    (r"(\d)distph_([rl])", r"hand_distal_phalanx_\1_\2"),
    (r"thumbprox_([rl])", r"hand_proximal_phalanx_1_\1"),
    (r"thumbdist_([rl])", r"hand_distal_phalanx_1_\1"),
]


def bone_of_mesh(mesh: str) -> str | None:
    """The bone that a whole mesh is, or None when the mesh holds several bones."""
    for pattern, name in _SINGLE:
        match = re.fullmatch(pattern, mesh)
        if match:
            bone = match.expand(name)
            return re.sub(r"_([rl])$", lambda m: "_right" if m[1] == "r" else "_left", bone)
    return None


def split_mesh(mesh: str, components: list[Trimesh]) -> dict[str, Trimesh]:
    """Name the bones of a mesh that holds several.

    Args:
        mesh: name of the mesh in the model.
        components: its connected components in world coordinates (meters, z up, patient standing).

    Returns:
        Bone → component. Parts that are no bone (the logo printed on the chest, intervertebral discs, open scraps of
        surface) are left out. Sternum and costal cartilage are one component, returned as ``sternum``.
    """
    if "cervical" in mesh:  # vertebrae have 142 to 308 vertices, discs and scraps fewer
        bodies = [c for c in components if len(c.vertices) > 100]
        bodies.sort(key=lambda c: -float(c.vertices[:, 2].mean()))
        return {f"C{i + 1}": c for i, c in enumerate(bodies)}
    if "ribcage" in mesh:
        return _split_rib_cage(components)
    side = SIDES[mesh.startswith("l_")]
    lateral = np.abs([float(c.centroid[0]) - MIDPLANE_X for c in components])
    by_ray = [components[i] for i in np.argsort(lateral)]
    if "bofoot" in mesh:  # sorted by distance from the mid-plane, the phalanges come out ray by ray
        return {f"{name}_{side}": c for name, c in zip(_phalanges("foot"), by_ray, strict=True)}
    metatarsals = [c for c in by_ray if len(c.vertices) == 112]
    tarsals = [c for c in by_ray if len(c.vertices) != 112]
    calcaneus = max(tarsals, key=lambda c: float(c.volume))
    tarsals = [c for c in tarsals if c is not calcaneus]
    cuboid = tarsals.pop()  # the most lateral one
    navicular = max(tarsals, key=lambda c: float(c.centroid[1]))  # the most posterior of the rest
    named = dict(
        zip(_TARSALS, [calcaneus, cuboid, navicular, *(c for c in tarsals if c is not navicular)], strict=True)
    )
    named |= {f"metatarsal_{i + 1}": c for i, c in enumerate(metatarsals)}
    return {f"{name}_{side}": c for name, c in named.items()}


def _split_rib_cage(components: list[Trimesh]) -> dict[str, Trimesh]:
    """Twenty-four ribs and the sternum with its cartilages; the logo (7564 vertices) and open shells are dropped."""
    bones = [c for c in components if c.is_watertight and 40 < len(c.vertices) < 800 and c.volume > 1e-6]
    sternum = max(bones, key=lambda c: len(c.vertices))
    named = {"sternum": sternum}
    for side, sign in zip(SIDES, (-1, 1), strict=True):
        ribs = [c for c in bones if c is not sternum and sign * (float(c.centroid[0]) - MIDPLANE_X) > 0]
        ribs.sort(key=lambda c: -float(c.vertices[:, 2].max()))  # the first rib reaches highest
        named |= {f"rib_{side}_{i + 1}": c for i, c in enumerate(ribs)}
    return named
