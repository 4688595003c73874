"""Tracer outside the bones: kidneys, bladder, urine, blood pool, glands, injection site; and the soft-tissue pattern.

Ranges have no published source unless named: they are chosen by eye against the NEMA NM1 scan and textbook figures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from bonemets.simulation.patient.body import Body
from bonemets.simulation.patient.grid import COLUMNS, PIXEL, ROWS
from bonemets.simulation.patient.world import NEMA, World
from bonemets.simulation.skeleton.anatomy import BONE_IDS
from bonemets.simulation.skeleton.skeleton import Skeleton

FAT_UPTAKE = 0.45
"""Concentration in subcutaneous fat, muscle = 1 (chosen by eye: limbs fade toward the skin in the real scan)."""
LUNG_UPTAKE = 0.35
"""Concentration in the lungs per volume, muscle = 1 (density 0.28 and blood)."""


class Cloud:
    """Points with activity that are added to the skeleton's points."""

    def __init__(self) -> None:
        self._positions: list[np.ndarray] = []
        self._activity: list[np.ndarray] = []

    def add(self, positions: np.ndarray, activity: np.ndarray | float) -> None:
        """Add points (n, 3) in meters with activity per point (concentration times mL)."""
        self._positions.append(positions.astype(np.float32))
        self._activity.append(np.broadcast_to(np.float32(activity), len(positions)).astype(np.float32))

    def ellipsoid(
        self,
        rng: np.random.Generator,
        center: np.ndarray,
        radii: tuple[float, float, float],
        concentration: float,
        tilt: float = 0.0,
        floor: float = -1.0,
    ) -> None:
        """Add a uniform ellipsoid.

        Args:
            rng: random generator.
            center: its middle, and ``radii`` its half-axes, in meters.
            radii: see ``center``.
            concentration: relative to muscle.
            tilt: turn about the front-to-back axis in radians.
            floor: height, as a share of the vertical radius, below which it is folded up: -1 leaves it whole.
        """
        volume = 4 / 3 * np.pi * radii[0] * radii[1] * radii[2] * 1e6
        count = int(np.clip(volume * 60, 300, 12000))
        points = rng.normal(size=(count, 3))
        points *= (rng.uniform(size=(count, 1)) ** (1 / 3)) / np.sqrt((points**2).sum(axis=1, keepdims=True))
        z = points[:, 2]
        points[:, 2] = np.where(z < floor, floor + 0.45 * (floor - z), z)
        points *= np.array(radii)
        x, z = points[:, 0].copy(), points[:, 2].copy()
        points[:, 0] = x * np.cos(tilt) - z * np.sin(tilt)
        points[:, 2] = x * np.sin(tilt) + z * np.cos(tilt)
        self.add(center + points, concentration * volume / count)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions (n, 3) and activities (n,) of all points."""
        return np.concatenate(self._positions), np.concatenate(self._activity)


def draw_organs(
    skeleton: Skeleton,
    points: np.ndarray,
    patient: dict[str, Any],
    superscan: bool,
    rng: np.random.Generator,
    world: World = NEMA,
) -> tuple[Cloud, dict[str, Any]]:
    """Draw the organs.

    Args:
        skeleton: the bones.
        points: (P, 3) posed bone points in meters.
        patient: sex and age.
        superscan: the skeleton has taken up nearly everything; kidneys and bladder are faint.
        rng: random generator of this stage.
        world: what patients are drawn from.

    Returns:
        The organs' points, and the parameters drawn (concentrations relative to muscle).
    """

    def center(*bones: str) -> np.ndarray:
        return np.asarray(np.mean([points[skeleton.points_of(bone)][::7].mean(axis=0) for bone in bones], axis=0))

    cloud = Cloud()
    fade = 0.12 if superscan else 1.0
    parameters: dict[str, Any] = {}
    parameters["kidneys"] = _kidneys(cloud, center("L1"), center("L2"), fade, rng, world)
    parameters["bladder"] = _bladder(cloud, center("hip_right", "hip_left"), patient, fade, rng, world)
    heart = center("T8") + np.array([0.022, -0.085, 0.0])
    pool = float(rng.uniform(0.2, 0.7))
    cloud.ellipsoid(rng, heart, (0.045, 0.040, 0.045), pool)  # blood pool above the surrounding soft tissue
    liver = float(max(0.0, rng.normal(0.10, 0.12)))
    cloud.ellipsoid(rng, center("T11") + np.array([-0.065, -0.065, -0.01]), (0.075, 0.065, 0.065), liver)
    neck, jaw = center("C6"), center("mandible")
    thyroid = float(rng.lognormal(np.log(2.0), 0.5))
    salivary = float(rng.lognormal(np.log(1.8), 0.5))
    nasal = float(rng.lognormal(np.log(6.0), 0.45))
    for sign in (-1, 1):
        cloud.ellipsoid(rng, neck + np.array([sign * 0.018, -0.045, -0.012]), (0.010, 0.009, 0.022), thyroid)
        cloud.ellipsoid(rng, jaw + np.array([sign * 0.050, 0.025, 0.028]), (0.011, 0.015, 0.022), salivary)
        cloud.ellipsoid(rng, jaw + np.array([sign * 0.026, 0.0, -0.018]), (0.011, 0.013, 0.009), salivary)
    cloud.ellipsoid(rng, jaw + np.array([0.0, -0.018, 0.058]), (0.013, 0.020, 0.018), nasal)
    parameters |= {"blood_pool": pool, "liver": liver, "thyroid": thyroid, "salivary": salivary, "nasal": nasal}
    parameters["injection"] = _injection(cloud, skeleton, points, rng, world)
    parameters["contamination"] = _contamination(
        cloud, center("hip_right", "hip_left"), center("femur_left"), rng, world
    )
    return cloud, parameters


def _kidneys(
    cloud: Cloud, l1: np.ndarray, l2: np.ndarray, fade: float, rng: np.random.Generator, world: World
) -> dict[str, float]:
    level = float(rng.lognormal(np.log(world.kidney_level), 0.40) * fade)
    drawn = {}
    for name, sign in (("right", -1), ("left", 1)):
        single = rng.uniform() < 0.012  # removed or not working
        factor = 0.0 if single else float(level * rng.lognormal(0, 0.15))
        middle = (l1 + l2) / 2 + np.array([sign * 0.060, 0.024, 0.006 - 0.014 * (sign < 0)]) + rng.normal(0, 0.006, 3)
        size = rng.normal(1.0, 0.07)
        # the upper poles lean toward the spine
        cloud.ellipsoid(rng, middle, (0.024 * size, 0.022 * size, 0.050 * size), factor, tilt=sign * 0.25)
        pelvis = float(factor * rng.choice([0.0, 0.6, 2.0], p=[0.5, 0.35, 0.15]))  # urine in the renal pelvis
        cloud.ellipsoid(rng, middle + np.array([-sign * 0.014, 0, -0.004]), (0.009, 0.009, 0.014), pelvis)
        if rng.uniform() < 0.12 and factor:  # a stretch of ureter
            t = rng.uniform(0.15, 0.8) + rng.uniform(0, 0.18, 200)[:, None]
            start, stop = middle + np.array([-sign * 0.018, 0, -0.02]), middle + np.array([-sign * 0.025, -0.02, -0.21])
            cloud.add(start + np.clip(t, 0, 1) * (stop - start) + rng.normal(0, 0.0015, (200, 3)), factor * 0.015)
        drawn[name] = factor
    return drawn


def _bladder(
    cloud: Cloud, pelvis: np.ndarray, patient: dict[str, Any], fade: float, rng: np.random.Generator, world: World
) -> dict[str, float]:
    """Full to nearly empty; dome-shaped with a flat floor."""
    level = float(rng.lognormal(np.log(world.bladder_level[0]), world.bladder_level[1]) * np.sqrt(fade))
    size = float(rng.uniform(0.45, 1.15))
    radii = (0.044 * size, 0.034 * size, 0.036 * size)
    middle = pelvis + np.array([rng.normal(0, 0.005), -0.030, -0.036 + 0.020 * size])
    if not world.bladder_shape:
        cloud.ellipsoid(rng, middle, radii, level, floor=-0.45)
    else:
        middle = middle + np.array([0.0, 0.0, rng.normal(*world.bladder_offset_m)])
        across, deep, tall = (float(radius * rng.lognormal(0, world.bladder_shape)) for radius in radii)
        cloud.ellipsoid(rng, middle, (across, deep, tall), level, floor=float(rng.choice([-1.0, -0.45, -0.1, 0.2])))
        if rng.uniform() < 0.3:  # the neck of a full bladder: a triangle with its tip down
            cloud.ellipsoid(rng, middle - np.array([0, 0, 0.7 * tall]), (0.45 * across, 0.5 * deep, 0.8 * tall), level)
    urethra = float(rng.uniform(0.0, 1.6)) if patient["sex"] == "M" else 0.0
    if urethra:  # urine and blood pool in the genitals, clear in the real scan
        bump = pelvis + np.array([0.0, -0.085, -0.135]) + rng.normal(0, 0.004, 3)
        cloud.ellipsoid(rng, bump, (0.022, 0.020, 0.040), urethra)
    return {"concentration": level, "size": size, "genital": urethra}


def _injection(
    cloud: Cloud, skeleton: Skeleton, points: np.ndarray, rng: np.random.Generator, world: World
) -> dict[str, Any]:
    """Residue at the injection site: usually little; sometimes extravasated."""
    side = str(rng.choice(["right", "left"]))
    site, bone, shift = (
        ("elbow", f"humerus_{side}", -0.012),
        ("wrist", f"radius_{side}", 0.0),
        ("hand", f"metacarpal_3_{side}", 0.006),
    )[rng.choice(3, p=[0.55, 0.15, 0.30])]
    residue, leak = 0.30 * min(world.artifacts, 2.0), 0.08 * min(world.artifacts, 2.0)
    kind = str(rng.choice(["none", "residue", "extravasation"], p=[1 - residue - leak, residue, leak]))
    part = points[skeleton.points_of(bone)]
    lowest = part[part[:, 2] < np.percentile(part[:, 2], 8)].mean(axis=0)
    middle = lowest + np.array([0.0, -0.02 + shift, 0.0]) + rng.normal(0, 0.006, 3)
    activity = 0.0
    if kind == "residue":
        activity = float(rng.lognormal(np.log(60), 0.7))
        cloud.ellipsoid(rng, middle, (0.006, 0.006, 0.010), activity / 1.5)
    elif kind == "extravasation":
        activity = float(rng.lognormal(np.log(1200), 0.7))
        length = rng.uniform(0.015, 0.04)
        cloud.ellipsoid(rng, middle, (0.011, 0.009, length), activity / (4.2e6 * 0.011 * 0.009 * length))
    return {"kind": kind, "side": side, "site": site, "activity": activity}


def _contamination(
    cloud: Cloud, pelvis: np.ndarray, thigh: np.ndarray, rng: np.random.Generator, world: World
) -> dict[str, Any]:
    """Drops of urine on clothing, in some patients."""
    count = int(
        rng.choice([0, 1, 2, 3], p=[1 - 0.08 * world.artifacts, *(world.artifacts * np.array([0.04, 0.025, 0.015]))])
    )
    spots = []
    for _ in range(count):
        place = pelvis + np.array([rng.normal(0, 0.05), -0.11, rng.uniform(-0.28, -0.10)])
        activity = float(rng.lognormal(np.log(25), 0.8))
        cloud.ellipsoid(rng, place, (0.006, 0.002, 0.008), activity / 0.4)
        spots.append({"activity": activity})
    return {"spots": spots}


def draw_soft_tissue(
    body: Body,
    skeleton: Skeleton,
    points: np.ndarray,
    patient: dict[str, Any],
    superscan: bool,
    rng: np.random.Generator,
    world: World = NEMA,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Concentration of the soft tissue per pixel: mottled, paler in the head, a little brighter in the trunk.

    Returns:
        (rows, columns) float32 map of the lean tissue's concentration (muscle of an average patient = 1), and the
        parameters drawn.
    """
    level = float(rng.lognormal(np.log(world.soft_tissue[0]), world.soft_tissue[1])) * (0.6 if superscan else 1.0)
    coarse = ndimage.zoom(ndimage.gaussian_filter(rng.normal(size=(72, 24)), 0.8), (ROWS / 72, COLUMNS / 24), order=1)
    fine = ndimage.gaussian_filter(rng.normal(size=(ROWS // 2, COLUMNS // 2)).astype(np.float32), 2.2)
    fine = np.repeat(np.repeat(fine, 2, axis=0), 2, axis=1)
    mottle = 1 + 0.07 * coarse / coarse.std() + 0.05 * fine / fine.std()
    z = body.top - (np.arange(ROWS) + 0.5) * PIXEL
    skull, knee = points[skeleton.points_of("skull")], points[skeleton.points_of("patella_left")]
    brow = np.percentile(skull[:, 2], 40)
    pelvis = points[skeleton.points_of(BONE_IDS["sacrum"])][:, 2].mean()
    brain = np.interp(z, [brow - 0.02, brow + 0.02], [1.0, 0.45])
    legs = float(rng.normal(world.leg_soft_tissue, 0.06))
    limb = np.interp(z, [knee[:, 2].mean() - 0.1, pelvis - 0.18, pelvis - 0.05], [legs, legs, 1.0])
    field = level * mottle * (brain * limb)[:, None]
    return np.clip(field, 0.05, None).astype(np.float32), {"soft_tissue": level, "leg_soft_tissue": legs}
