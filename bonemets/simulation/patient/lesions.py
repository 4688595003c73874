"""Bone metastases: how many, where, how large, how hot."""

from __future__ import annotations

from typing import Any

import numpy as np

from bonemets.simulation.patient.spots import Anatomy, Spot, describe, lumps
from bonemets.simulation.skeleton.anatomy import BONE_IDS, bones_of

NEGATIVE_SHARE = 0.30
"""Patients without any metastasis (bone scans find them in 33-63 % by primary tumor, 10.5603/NMR.2013.0037; the cohort
keeps more positives, since they are what networks learn from)."""
SUPERSCAN_SHARE = 0.02

SITE_SHARE = {
    "cervical_spine": 2.0,
    "thoracic_spine": 21.4,
    "lumbar_spine": 13.4,
    "sacrum": 6.5,
    "pelvis": 22.0,
    "ribs": 21.2,
    "sternum": 4.1,
    "skull": 2.1,
    "scapulae": 1.6,
    "clavicles": 0.9,
    "humeri": 2.4,
    "femora": 3.0,
    "lower_legs": 0.1,
}
"""Percent of lesions per region: mean of prostate and breast cancer (Wang 2013, 10.3892/ol.2012.1005, table III)."""

RATIO_MEDIAN, RATIO_SIGMA = 5.0, 0.60
"""Lesion to normal bone, lognormal: SUVmax 36.6 ± 24.8 against 7.1 ± 2.0 (10.1007/s12149-019-01410-4, 211 lesions)
gives a median of 4.3; raised a little because the published values suffer from partial volume."""
RADIUS_MEDIAN, RADIUS_SIGMA = 0.0105, 0.45
"""Radius in meters, lognormal: chosen so that most lesions are 6 to 16 pixels long in the image, as Figure 10 of the
Multi-Attention U-Net paper has it (there in its unit; 2.26 mm pixels)."""


def _count(rng: np.random.Generator) -> int:
    """Number of lesions of a positive patient: skewed, single to disseminated.

    Groups of Liu 2021 (10.1186/s12880-021-00662-9): up to 3, 4 to 6 and more than 6 lesions. Their shares are chosen
    against Table 2 of the Multi-Attention U-Net paper, where 2.65 +- 2.44 (men) and 3.20 +- 2.43 (women) lesions are
    seen in the anterior and 3.09 +- 3.56 and 3.34 +- 3.33 in the posterior view; of 80 simulated patients, those with
    metastases showed 2 and 2.5 in the median and 4.0 and 4.8 in the mean.
    """
    group = rng.choice(3, p=[0.50, 0.26, 0.24])
    if group == 0:
        return int(rng.integers(1, 4))
    if group == 1:
        return int(rng.integers(4, 7))
    return int(min(7 + rng.geometric(0.16) - 1, 45))


def draw_status(rng: np.random.Generator) -> dict[str, Any]:
    """Draw whether the patient has metastases, a superscan, and how many lesions there are."""
    positive = bool(rng.uniform() >= NEGATIVE_SHARE)
    superscan = bool(positive and rng.uniform() < SUPERSCAN_SHARE / (1 - NEGATIVE_SHARE))
    count = _count(rng) if positive else 0
    if superscan:
        count = int(rng.integers(40, 70))
    return {"metastases": positive, "superscan": superscan, "lesions": count}


def raise_axial_uptake(anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray:
    """Concentration in a superscan: diffusely raised in red marrow, less so toward the limbs."""
    factor = np.ones(len(anatomy.concentration), np.float32)
    axial = ("thoracic_spine", "lumbar_spine", "cervical_spine", "sacrum", "pelvis", "ribs", "sternum", "scapulae")
    factor[anatomy.skeleton.mask_of(bones_of(*axial))] = rng.uniform(2.2, 3.5)
    factor[anatomy.skeleton.mask_of(bones_of("skull", "clavicles"))] = rng.uniform(1.3, 2.2)
    for region in ("femora", "humeri"):
        limb = anatomy.skeleton.mask_of(bones_of(region))
        z = anatomy.skeleton.rest[limb, 2]
        proximal = np.clip((z - z.min()) / (z.max() - z.min()) * 2 - 0.8, 0, 1)
        factor[limb] = 1 + (rng.uniform(2.0, 3.0) - 1) * proximal
    return anatomy.concentration * factor


def draw_lesions(anatomy: Anatomy, status: dict[str, Any], rng: np.random.Generator) -> list[Spot]:
    """Draw the patient's metastases.

    A third of the lesions after the first grow beside an earlier one, in the same or a neighboring bone, so that some
    touch or overlap; 3 % are photopenic.

    Args:
        anatomy: the patient's bones and normal uptake.
        status: what :func:`draw_status` returned.
        rng: random generator of this stage.

    Returns:
        The lesions, numbered from 1.
    """
    regions = list(SITE_SHARE)
    share = np.array([SITE_SHARE[region] for region in regions])
    share = share * rng.lognormal(0, 0.5, len(share))  # the pattern of spread differs between patients
    share /= share.sum()
    clustering = rng.beta(1.2, 2.4)
    hotness = rng.lognormal(0, 0.25)  # lesions of one patient resemble each other
    spots: list[Spot] = []
    clusters: list[int] = []
    while len(spots) < status["lesions"]:
        cluster = len(spots) + 1
        if spots and rng.uniform() < clustering:
            seed = int(rng.integers(len(spots)))
            bone, center = _beside(anatomy, spots[seed], rng)
            cluster = clusters[seed]
        else:
            bone = _draw_bone(anatomy, regions[rng.choice(len(regions), p=share)], rng)
            center = _draw_place(anatomy, bone, rng)
        radius = float(np.clip(rng.lognormal(np.log(RADIUS_MEDIAN), RADIUS_SIGMA), 0.004, 0.035))
        index, weight = lumps(anatomy, [bone], center, radius, rng, satellites=int(rng.integers(0, 3)))
        if not len(index):
            continue
        cold = rng.uniform() < 0.03
        lytic = rng.uniform() < 0.3
        if cold:
            ratio = float(rng.uniform(0.05, 0.4))
            excess = anatomy.concentration[index] * (ratio - 1) * weight * anatomy.skeleton.volume[index]
        else:
            spread = rng.lognormal(np.log(RATIO_MEDIAN), RATIO_SIGMA)
            ratio = float(np.clip(spread * hotness * (0.75 if lytic else 1.1), 1.6, 25.0))
            excess = anatomy.mean_uptake(bone) * (ratio - 1) * weight * anatomy.skeleton.volume[index]
        parameters = {
            "id": len(spots) + 1,
            "kind": "photopenic" if cold else "lytic" if lytic else "blastic",
            "radius_mm": round(1000 * radius, 2),
            "cluster": cluster,
        } | describe(anatomy, bone, index, weight, ratio)
        spots.append(Spot(len(spots) + 1, index, excess.astype(np.float32), parameters))
        clusters.append(cluster)
    return spots


def _draw_bone(anatomy: Anatomy, region: str, rng: np.random.Generator) -> int:
    """A bone of the region, by volume; the mandible, long legs' lower ends and so on stay rare by region."""
    labels = [BONE_IDS[bone] for bone in bones_of(region) if "patella" not in bone]
    volume = np.array([anatomy.skeleton.volume[anatomy.skeleton.points_of(label)].sum() for label in labels])
    if region == "skull":
        volume = np.array([0.93, 0.07])
    return int(rng.choice(labels, p=volume / volume.sum()))


def _draw_place(anatomy: Anatomy, bone: int, rng: np.random.Generator) -> np.ndarray:
    """A point of the bone; red marrow only fills the proximal third of humerus and femur in adults."""
    part = anatomy.skeleton.points_of(bone)
    weight = anatomy.skeleton.volume[part].astype(np.float64)
    z = anatomy.skeleton.rest[part, 2]
    if bone in (BONE_IDS[f"{limb}_{side}"] for limb in ("femur", "humerus") for side in ("right", "left")):
        weight = weight * np.where(z > z.max() - 0.36 * np.ptp(z), 1.0, 0.08)
    if bone == BONE_IDS["skull"]:
        weight = weight * np.where(z > 1.645, 1.0, 0.2)
    return np.asarray(anatomy.points[part.start + rng.choice(len(weight), p=weight / weight.sum())], np.float64)


def _beside(anatomy: Anatomy, spot: Spot, rng: np.random.Generator) -> tuple[int, np.ndarray]:
    """A place 8 to 35 mm from an earlier lesion, in the same bone or in one near it."""
    center = np.array(spot.parameters["center_mm"]) / 1000
    sparse = anatomy.points[::5]  # enough to hit every bone
    distance = np.sqrt(np.square(sparse - center.astype(np.float32)).sum(axis=1))
    reach = rng.uniform(0.008, 0.035)
    ring = 5 * np.flatnonzero(np.abs(distance - reach) < 0.004)
    if not len(ring):
        ring = spot.index
    point = int(rng.choice(ring))
    return int(anatomy.skeleton.bone[point]), anatomy.points[point].astype(np.float64)
