"""How much tracer every part of the skeleton and the soft tissue takes up.

Concentrations are relative to muscle (= 1). The table was fitted to the NEMA NM1 scan (see
docs/explanation/simulation.md); ratios between sites agree with published SUVs: vertebrae 3.9 ± 0.3 (Rohani 2020,
10.31616/asj.2019.0308), thoracic and lumbar spine and pelvis 2.9-3.7, humerus 0.9-1.0, ribs 1.0-1.2 before
partial-volume correction (Nautiyal, Indian J Nucl Med, "Normal skeletal SUV ... time-dependent").
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from bonemets.simulation.patient.world import NEMA, World
from bonemets.simulation.skeleton.anatomy import BONE_IDS, BONES, MIDPLANE_X, REGIONS, bones_of
from bonemets.simulation.skeleton.skeleton import Skeleton

REGION_UPTAKE = {
    "skull": 9.5,
    "cervical_spine": 13.0,
    "thoracic_spine": 11.0,
    "lumbar_spine": 13.0,
    "sacrum": 11.0,
    "pelvis": 11.0,
    "ribs": 14.5,
    "sternum": 18.0,
    "costal_cartilage": 2.0,
    "clavicles": 13.0,
    "scapulae": 13.0,
    "humeri": 8.5,
    "forearms": 6.0,
    "hands": 6.0,
    "femora": 8.0,
    "lower_legs": 4.9,
    "feet": 5.4,
}
"""Concentration in bone, muscle = 1."""

_LONG = ("humerus", "radius", "ulna", "femur", "tibia", "fibula")

_JOINT_GAIN = {
    ("sacrum", "pelvis"): 0.95,
    ("humeri", "scapulae"): 1.6,
    ("clavicles", "scapulae"): 0.9,
    ("clavicles", "sternum"): 1.2,
    ("sternum", "costal_cartilage"): 0.15,
    ("ribs", "costal_cartilage"): 0.10,
    ("ribs", "thoracic_spine"): 0.30,
    ("lumbar_spine", "lumbar_spine"): 0.30,
    ("lumbar_spine", "sacrum"): 0.35,
    ("thoracic_spine", "thoracic_spine"): 0.15,
    ("femora", "pelvis"): 0.4,
    ("femora", "lower_legs"): 0.35,
    ("lower_legs", "lower_legs"): 0.15,
    ("lower_legs", "feet"): 0.25,
    ("feet", "feet"): 0.20,
    ("hands", "hands"): 0.5,
    ("forearms", "hands"): 0.5,
    ("forearms", "humeri"): 0.5,
    ("skull", "skull"): 0.0,
}
"""Extra uptake of the bone beside a joint, as a share of the bone's own; chosen by eye. Sacroiliac joints, shoulders
and sternoclavicular joints are the brightest in normal scans."""


@lru_cache(maxsize=2)
def relative_pattern(skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Uptake within each bone, relative to the bone's mean concentration (the same for all patients).

    Args:
        skeleton: the bones.

    Returns:
        (P,) factor per point, and (P,) joint term to be added with a factor that varies between patients.
    """
    pattern = np.ones(len(skeleton.bone), np.float32)
    for bone in BONES.values():
        part = skeleton.points_of(bone)
        depth, end = skeleton.depth[part], skeleton.end[part]
        if bone.rsplit("_", 1)[0] in _LONG:
            # metaphyses take up more than the shaft; the marrow canal little, the spongy ends half
            profile = 0.9 + 0.30 * np.exp(-end / 22)
            spongy = {"humerus": 0.75, "femur": 0.22, "tibia": 0.45}.get(bone.rsplit("_", 1)[0], 0.36)
            pattern[part] = profile * np.where(depth > 5, np.where(end > 50, 0.25, spongy), 1.0)
        if bone.startswith("femur"):
            pattern[part] *= 1 + 1.0 * (skeleton.rest[part, 2] > 0.86)  # head, neck and trochanters
    x, y, z = skeleton.rest.T
    off = np.abs(x - MIDPLANE_X)
    skull, jaw = skeleton.points_of("skull"), skeleton.points_of("mandible")
    pattern[skull] = _skull_pattern(off[skull], y[skull], z[skull])
    pattern[jaw] = np.where(y[jaw] < 0.150, 0.58, 0.45) * np.where(z[jaw] > 1.615, 1.2, 1.0)
    for side in ("right", "left"):
        hip = skeleton.points_of(f"hip_{side}")
        crest = np.exp(-(((1.082 - z[hip]) / 0.014) ** 2))
        posterior = np.clip((y[hip] - 0.165) / 0.04, 0, 1) * (z[hip] > 0.97)
        wing = (z[hip] > 0.985) * (1 - posterior)  # the iliac fossa is thin bone
        lower = np.clip((0.965 - z[hip]) / 0.03, 0, 1)  # acetabulum, ischium and pubis
        behind = np.clip((y[hip] - 0.145) / 0.04, 0, 1)  # the ischium lies deep, the pubis does not
        pattern[hip] = (
            0.85 - 0.33 * wing + 0.85 * posterior + 0.40 * crest + lower * (0.50 * behind - 0.22)
        ) * np.where(skeleton.depth[hip] > 5, 0.70 - 0.15 * lower, 1.0)
        for bone, factor in (("talus", 0.48), ("calcaneus", 0.55)):  # thick, and seen end on
            pattern[skeleton.points_of(f"{bone}_{side}")] = factor
        patella = skeleton.points_of(f"patella_{side}")
        pattern[patella] = np.where(skeleton.depth[patella] > 4, 0.28, 0.55)
        scapula = skeleton.points_of(f"scapula_{side}")
        lateral = np.clip((off[scapula] - 0.085) / 0.05, 0, 1)
        pattern[scapula] = 0.90 + 0.10 * lateral  # the blade is pale because it is thin
    sacrum = skeleton.points_of("sacrum")
    lower = np.clip(0.5 + (z[sacrum] - 0.945) / 0.06, 0.5, 1)
    pattern[sacrum] = np.where(skeleton.depth[sacrum] > 6, 0.45, 0.70) * lower
    for vertebra in ("C1", "C2"):  # their arches overlap the skull base
        pattern[skeleton.points_of(vertebra)] = 0.6
    for side in ("right", "left"):  # in front and at the side the ribs are paler than behind
        for rib in range(1, 13):
            part = skeleton.points_of(f"rib_{side}_{rib}")
            pattern[part] = 0.78 + 0.22 * np.clip((y[part] - 0.19) / 0.05, 0, 1)
    for region, inner in (("thoracic_spine", 0.8), ("lumbar_spine", 0.75)):
        spine = skeleton.mask_of(bones_of(region)) & (skeleton.depth > 6)
        pattern[spine] *= inner
    for number in range(9, 13):  # lower thoracic vertebrae approach the lumbar ones
        pattern[skeleton.points_of(f"T{number}")] *= 1 + 0.07 * (number - 8)
    sternum = skeleton.points_of("sternum")
    pattern[sternum] = 0.85 + 0.35 * np.clip((z[sternum] - 1.42) / 0.03, 0, 1)
    return pattern, _joint_term(skeleton)


def _skull_pattern(off: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Vault 1; maxilla, nose and the sinuses brighter; zygomatic arches and orbits paler (as in the NEMA scan)."""
    face = (y < 0.175) & (z < 1.668)
    nose = face & (off < 0.028) & (z < 1.650)
    pattern = 1.12 - 0.47 * np.clip((0.175 - y) / 0.025, 0, 1)  # the frontal bone is paler than the back of the head
    pattern[face] = 0.56
    pattern[nose] = 1.40
    pattern[face & (off > 0.045)] = 0.36
    base = (y >= 0.175) & (z < 1.640)
    pattern[base] = 0.75
    return np.asarray(pattern, np.float32)


def _joint_term(skeleton: Skeleton) -> np.ndarray:
    gain = np.zeros((len(BONES) + 1, len(BONES) + 1), np.float32)
    for a, name_a in BONES.items():
        for b, name_b in BONES.items():
            pair = (REGIONS[name_a], REGIONS[name_b])
            gain[a, b] = _JOINT_GAIN.get(pair, _JOINT_GAIN.get(pair[::-1], 0.15))
    for side in ("right", "left"):
        gain[BONE_IDS[f"patella_{side}"], BONE_IDS[f"femur_{side}"]] = 0.1
        gain[BONE_IDS[f"femur_{side}"], BONE_IDS[f"patella_{side}"]] = 0.1
    gain[:, 0] = 0
    # the sacroiliac joints are long and their meshes touch only here and there: a wider band
    pelvic = skeleton.mask_of(["sacrum", "hip_right", "hip_left"])
    near = np.exp(-np.square(skeleton.neighbor / np.where(pelvic, 8.0, 5.0).astype(np.float32)))
    return np.asarray(gain[skeleton.bone, skeleton.facing] * near, np.float32)


def draw_uptake(
    skeleton: Skeleton, patient: dict[str, Any], rng: np.random.Generator, world: World = NEMA
) -> tuple[np.ndarray, dict[str, Any]]:
    """Draw one patient's concentration at every point of the skeleton.

    With age the spine fades and the shafts brighten (84 healthy women: lumbar r = -0.55, iliac -0.45, femur shaft
    +0.39, hdl.handle.net/11573/106606); the vault is hotter in women after the menopause. Spreads between regions
    (10 %) and bones (8 %) and the texture (7 %) are chosen by eye.

    Args:
        skeleton: the bones.
        patient: sex and age.
        rng: random generator of this stage.
        world: factors on the regions, and spreads.

    Returns:
        (P,) float32 concentration (muscle = 1), and the parameters drawn.
    """
    years = patient["age_years"] - 58
    regions = {
        name: float(value * world.regions.get(name, 1.0) * rng.lognormal(0, world.region_sigma))
        for name, value in REGION_UPTAKE.items()
    }
    for name in ("thoracic_spine", "lumbar_spine", "pelvis", "sacrum"):
        regions[name] *= 1 - 0.004 * years
    for name in ("femora", "humeri", "lower_legs", "forearms"):
        regions[name] *= 1 + 0.004 * years
    if patient["sex"] == "F" and patient["age_years"] > 52:
        regions["skull"] *= float(rng.uniform(1.0, 1.35))
    # contrast between bone and soft tissue: time after injection, kidney function, hydration
    avidity = float(rng.lognormal(0.10, world.avidity_sigma))
    joints = float(rng.lognormal(0.0, 0.30) * (1 + 0.008 * years))
    bones, wear = np.ones(len(BONES) + 1, np.float32), np.ones(len(BONES) + 1, np.float32)
    for label, name in BONES.items():
        bones[label] = avidity * regions[REGIONS[name]] * rng.lognormal(0, world.bone_sigma)
        wear[label] = joints * rng.lognormal(0, 0.30)
    pattern, joint = relative_pattern(skeleton)
    concentration = bones[skeleton.bone] * (pattern + wear[skeleton.bone] * joint)
    concentration *= 1 + 0.07 * _texture(skeleton.rest, rng)
    parameters = {"region_uptake": regions, "bone_avidity": avidity, "joint_factor": joints}
    return concentration, parameters


def _texture(points: np.ndarray, rng: np.random.Generator, waves: int = 6) -> np.ndarray:
    """Smooth random field with unit spread: a few plane waves of 20 to 60 mm."""
    field = np.zeros(len(points), np.float32)
    for _ in range(waves):
        direction = rng.normal(size=3)
        k = (direction / np.sqrt((direction**2).sum()) * 2 * np.pi / rng.uniform(0.02, 0.06)).astype(np.float32)
        phase = np.float32(rng.uniform(0, 2 * np.pi))
        field += np.cos(points[:, 0] * k[0] + points[:, 1] * k[1] + points[:, 2] * k[2] + phase)
    return field * np.float32(np.sqrt(2 / waves))
