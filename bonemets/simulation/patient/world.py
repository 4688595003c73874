"""What kind of patients and scans a cohort is drawn from.

`NEMA` was fitted to one real scan (NEMA NM1, a large man); cohorts made before worlds had names are of it, and CT
slices still are. `HOSPITAL` was fitted to 29 figures of 93 real views of another hospital (slim patients, little
soft tissue, 8-bit pictures). The shifted worlds are for testing only: no network is trained or chosen on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bonemets.errors import InputError

Pair = tuple[float, float]


@dataclass(frozen=True)
class World:
    """Settings of the simulator. The defaults are `NEMA`'s.

    Attributes:
        name: what ``bonemets simulate --world`` calls it.
        height_m: mean heights of women and men.
        bmi: median body-mass index.
        neck: length of the neck, model = 1; ``head`` size of the head, model = 1.
        head: see ``neck``.
        top_margin_m: median of the lognormal distance from the vertex to the first row; None: uniform 4 to 20 cm.
        soft_tissue: median and lognormal spread of the soft tissue's uptake.
        leg_soft_tissue: that of the legs, as a share.
        region_sigma: lognormal spread of the regions' uptake; ``bone_sigma`` of the single bones'.
        bone_sigma: see ``region_sigma``.
        avidity_sigma: spread of the contrast between bone and soft tissue.
        regions: factors on the regions' uptake.
        parts: factors on parts of bones (`bonemets.simulation.patient.uptake_parts`).
        parts_sigma: their lognormal spread.
        posture: share of the patients with bent knees and feet turned far out or in.
        warp_mm: amplitude of the smooth free-form warp of the skeleton; 0: none.
        bladder_offset_m: mean and spread of the bladder's height, added to the model's.
        bladder_shape: lognormal spread of its three axes; triangles, crescents and empty bladders too if above 0.
        bladder_level: median and lognormal spread of its concentration.
        kidney_level: median of the kidneys' concentration.
        artifacts: chance of an injection site, catheter, urine on clothes, relative to `NEMA`.
        counts: limits of the anterior view's counts.
        gap_mm: added to the distances from the patient to the front and to the back collimator.
        camera_blur: extra blur of the camera, standard deviation in pixels.
    """

    name: str = "nema"
    height_m: Pair = (1.605, 1.725)
    bmi: float = 24.9
    neck: float = 1.0
    head: float = 1.0
    top_margin_m: float | None = None
    soft_tissue: Pair = (0.85, 0.22)
    leg_soft_tissue: float = 0.86
    region_sigma: float = 0.10
    bone_sigma: float = 0.08
    avidity_sigma: float = 0.22
    regions: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, float] = field(default_factory=dict)
    parts_sigma: float = 0.0
    posture: float = 0.0
    warp_mm: float = 0.0
    bladder_offset_m: Pair = (0.0, 0.0)
    bladder_shape: float = 0.0
    bladder_level: Pair = (16.0, 0.7)
    kidney_level: float = 3.0
    artifacts: float = 1.0
    counts: Pair = (1.2e6, 4.0e6)
    gap_mm: Pair = (0.0, 0.0)
    camera_blur: float = 0.0


NEMA = World()
HOSPITAL = World(
    name="hospital",
    height_m=(1.53, 1.64),
    bmi=22.5,
    neck=1.15,
    head=1.02,
    top_margin_m=0.065,
    soft_tissue=(0.42, 0.30),
    leg_soft_tissue=0.72,
    region_sigma=0.20,
    bone_sigma=0.12,
    avidity_sigma=0.30,
    regions={"sternum": 1.25, "ribs": 0.85, "pelvis": 1.15, "skull": 1.05, "lower_legs": 1.1, "femora": 1.1},
    parts={
        "vertebral_body": 0.85,
        "vertebral_arch": 1.15,
        "iliac_crest": 2.8,
        "iliac_wing": 2.0,
        "face": 1.15,
        "skull_base": 0.35,
        "scapula_behind": 0.3,
        "shoulder_front": 1.1,
        "knee": 1.25,
    },
    parts_sigma=0.20,
    posture=0.35,
    warp_mm=4.0,
    bladder_offset_m=(-0.026, 0.014),
    bladder_shape=0.30,
    bladder_level=(11.0, 0.8),
    artifacts=1.3,
    gap_mm=(-15.0, -35.0),
)
# Settings that training never saw, for testing: of the skeleton's parts too.
_SHIFTED_PARTS = {**HOSPITAL.parts, "vertebral_arch": 1.05, "skull_base": 0.45, "scapula_behind": 0.5}
SHIFTED_FAINT = replace(HOSPITAL, name="shifted_faint", counts=(0.5e6, 1.2e6), soft_tissue=(0.9, 0.25), bmi=28.0,
                        height_m=(1.62, 1.76), camera_blur=0.8, bladder_level=(8.0, 0.6), kidney_level=5.0,
                        parts=_SHIFTED_PARTS)  # fmt: skip
SHIFTED_SHARP = replace(HOSPITAL, name="shifted_sharp", counts=(2.5e6, 6.0e6), soft_tissue=(0.25, 0.25), bmi=20.5,
                        parts_sigma=0.35, region_sigma=0.30, warp_mm=7.0, bladder_offset_m=(-0.03, 0.015),
                        bladder_level=(35.0, 0.8), artifacts=3.0, parts=_SHIFTED_PARTS)  # fmt: skip
WORLDS = {world.name: world for world in (NEMA, HOSPITAL, SHIFTED_FAINT, SHIFTED_SHARP)}


def find_world(name: str) -> World:
    """The world of that name.

    Raises:
        InputError: there is none.
    """
    if name not in WORLDS:
        raise InputError(f"there is no world {name!r}; choose one of {', '.join(WORLDS)}")
    return WORLDS[name]
