"""Make the atlas of bone names that the package carries, from the training patients of a simulated cohort.

The patients are simulated once more from their seed, since their files do not say where bones lie behind each other.
In each, the same number of lesions is placed in every region, drawn as the simulator draws metastases and projected as
it projects them; those that would be seen count, weighted by how often metastases occur there. Testing patients are not
looked at. The same cohort gives the same file. Two minutes on one core::

    python scripts/simulation/make_cohort.py results/cohorts/bone_scan_200.yaml COHORT
    python scripts/simulation/make_bone_atlas.py COHORT bonemets/anatomy/bone_atlas.npz
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bone_truth import NONE, Places, landmarks, point_regions
from bonemets.anatomy.atlas import BoneAtlas, save_atlas
from bonemets.anatomy.average import MARGIN, AverageScan, ComparableScan, make_comparable, sample, unwarp, warp
from bonemets.anatomy.regions import MIDDLE_COUNT, REGIONS, mirrored
from bonemets.anatomy.registration import place
from bonemets.data import datalist_hash, read_planar
from bonemets.data.lists.datalist import read_datalist
from bonemets.simulation import load_skeleton
from bonemets.simulation.bone_scan.camera import Scene, View, acquire, draw_acquisition, project_view
from bonemets.simulation.bone_scan.study import SIMULATION_VERSION
from bonemets.simulation.bone_scan.truth import MIN_CONTRAST, MIN_DETECTABILITY, OUTLINE_SHARE, project_spot
from bonemets.simulation.patient.grid import COLUMNS, PIXEL, pixel_of
from bonemets.simulation.patient.lesions import (
    RADIUS_MEDIAN,
    RADIUS_SIGMA,
    RATIO_MEDIAN,
    RATIO_SIGMA,
    SITE_SHARE,
)
from bonemets.simulation.patient.organs import draw_organs, draw_soft_tissue
from bonemets.simulation.patient.spots import Spot, lumps
from bonemets.simulation.patient.subject import Subject, draw_subject
from bonemets.simulation.skeleton.anatomy import bones_of
from bonemets.simulation.skeleton.skeleton import Skeleton

STEP_MM, FINE_STEP_MM = 9.04, 4.52
"""Pixels of the average scan and of the atlas: four and two of the camera's."""
HALF_WIDTH_MM = 300.0
LESIONS_PER_REGION = 8
MIN_SHARE = 0.3
"""Percent of lesions that each region has at least: regions where the simulator puts next to none get names too."""
PARAMETER_NOISE = np.array([6.0, 4.0, 0.04])
"""Added to the standard deviations of row, middle (mm) and width: bodies are not all like the simulated ones."""
SMOOTHING_MM = 6.0
MM = 1000 * PIXEL


@dataclass(frozen=True)
class Sample:
    """A lesion that would be seen: its region, its view, and its pixels (flat, in the anterior orientation)."""

    region: int
    view: int
    pixels: NDArray[np.int32]


@dataclass(frozen=True)
class Patient:
    """A training patient: its scan, its knots, and lesions in every region."""

    comparable: ComparableScan
    knots: NDArray[np.floating]
    samples: list[Sample]


def place_weights(skeleton: Skeleton) -> NDArray[np.floating]:
    """How often a metastasis begins at each point of a bone: by volume, in long bones mostly in the upper third."""
    weights = skeleton.volume.astype(np.float64)
    for bone in (f"{limb}_{side}" for limb in ("humerus", "femur") for side in ("right", "left")):
        part = skeleton.points_of(bone)
        z = skeleton.rest[part, 2]
        weights[part] *= np.where(z > z.max() - 0.36 * np.ptp(z), 1.0, 0.08)
    return weights


def region_shares(
    skeleton: Skeleton, regions: NDArray[np.uint8], weights: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Percent of metastases per region: the simulator's, divided by volume among the parts of its own regions."""
    shares = np.zeros(len(REGIONS))
    for name, percent in SITE_SHARE.items():
        for bone in bones_of(name):
            part = skeleton.points_of(bone)
            of_bone = skeleton.volume[part].sum() / skeleton.volume[skeleton.mask_of(bones_of(name))].sum()
            counts = np.bincount(regions[part], weights[part], NONE + 1)[:NONE]
            shares += percent * of_bone * counts / max(counts.sum(), 1e-9)
    return np.maximum(shares, MIN_SHARE)


def scene_of(subject: Subject) -> Scene:
    """What the camera would see of a patient, without the patient's own lesions."""
    superscan = subject.status["superscan"]
    organs, _ = draw_organs(subject.skeleton, subject.points, subject.person, superscan, subject.rng["organs"])
    soft, _ = draw_soft_tissue(
        subject.body, subject.skeleton, subject.points, subject.person, superscan, subject.rng["uptake"]
    )
    points, activity = organs.arrays()
    positions = np.concatenate([subject.points, points])
    bones = subject.anatomy.concentration * subject.skeleton.volume
    return Scene(
        positions=positions,
        pixel=pixel_of(positions, subject.body.top),
        activity=np.concatenate([bones, activity]).astype(np.float32),
        bone_volume=np.concatenate([subject.skeleton.volume, np.zeros(len(points), np.float32)]),
        soft=soft,
        body=subject.body,
    )


def draw_spots(
    subject: Subject, regions: NDArray[np.uint8], weights: NDArray[np.floating], rng: np.random.Generator
) -> Iterator[tuple[int, Spot]]:
    """Lesions in every region, as the simulator draws metastases."""
    for region in range(NONE):
        members = np.flatnonzero(regions == region)
        starts = rng.choice(members, LESIONS_PER_REGION, p=weights[members] / weights[members].sum())
        for start in starts:
            bone = int(subject.skeleton.bone[start])
            radius = float(np.clip(rng.lognormal(np.log(RADIUS_MEDIAN), RADIUS_SIGMA), 0.004, 0.035))
            center = subject.points[start].astype(np.float64)
            index, weight = lumps(subject.anatomy, [bone], center, radius, rng, satellites=int(rng.integers(0, 3)))
            ratio = float(np.clip(rng.lognormal(np.log(RATIO_MEDIAN), RATIO_SIGMA), 1.6, 25.0))
            excess = subject.anatomy.mean_uptake(bone) * (ratio - 1) * weight * subject.skeleton.volume[index]
            yield region, Spot(1, index, excess.astype(np.float32))


def sample_lesions(subject: Subject, regions: NDArray[np.uint8], weights: NDArray[np.floating]) -> list[Sample]:
    """Place lesions in every region, one at a time, and keep those that would be seen."""
    scene = scene_of(subject)
    acquisition = draw_acquisition(subject.body, subject.rng["acquisition"])
    views: tuple[View, View] = (project_view(scene, True, acquisition), project_view(scene, False, acquisition))
    expected, scanned, scales = acquire(views, acquisition)
    rng = np.random.default_rng([subject.seed, subject.number])
    samples = []
    for region, spot in draw_spots(subject, regions, weights, rng):
        for number, view in enumerate(views):
            pixels = visible_pixels(spot, scene, view, expected[..., number], scanned, scales[number])
            if len(pixels):
                samples.append(Sample(region, number, pixels))
    return samples


def visible_pixels(
    spot: Spot, scene: Scene, view: View, background: NDArray, scanned: NDArray, counts_per_unit: float
) -> NDArray[np.int32]:
    """Flat pixels of a lesion's outline, none if not seen: the rule of `bonemets.simulation.bone_scan.truth`."""
    signal, window = project_spot(spot, scene, view, counts_per_unit)
    signal = signal * scanned[window]
    peak = float(signal.max(initial=0.0))
    if peak <= 1e-6:
        return np.zeros(0, np.int32)
    mask = signal >= OUTLINE_SHARE * peak
    behind = np.maximum(background[window][mask], 0.1)
    if peak < MIN_CONTRAST * behind.mean() or signal[mask].sum() < MIN_DETECTABILITY * np.sqrt(behind.sum()):
        return np.zeros(0, np.int32)
    row, column = np.nonzero(mask)
    return ((row + window[0].start) * COLUMNS + column + window[1].start).astype(np.int32)


def average_scan(patients: list[Patient]) -> AverageScan:
    """Average the scans of patients whose knots are known, each together with its mirror image."""
    knots = np.array([patient.knots for patient in patients])
    below_top = (knots[:, :, 0] - knots[:, :1, 0]).mean(axis=0)
    parameters = knots.copy()
    parameters[:, :, 2] /= knots[:, :, 2].mean(axis=0)
    mean, precision = parameter_statistics(parameters)
    rows = np.arange(-MARGIN, below_top[-1] + MARGIN, STEP_MM)
    columns = np.arange(-HALF_WIDTH_MM + STEP_MM / 2, HALF_WIDTH_MM, STEP_MM)
    columns -= (columns[0] + columns[-1]) / 2
    blank = np.zeros((2, len(rows), len(columns)), np.float32)
    empty = AverageScan(below_top, mean, precision, rows, columns, blank, blank, blank)
    total, squares, count = (np.zeros(blank.shape) for _ in range(3))
    for patient, own in zip(patients, parameters, strict=True):
        values, known = sample(patient.comparable, *warp(empty, own))
        for part, what in ((total, values * known), (squares, values**2 * known), (count, known)):
            part += (what + what[:, :, ::-1]) / 2
    values = total / np.maximum(count, 1)
    spread = np.sqrt(np.maximum(squares / np.maximum(count, 1) - values**2, 0))
    # As they are stored.
    stored = (part.astype(np.float16).astype(np.float32) for part in (values, spread, count / len(patients)))
    return AverageScan(below_top, mean, precision, rows, columns, *stored)


def parameter_statistics(parameters: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Mean (K, 3) and inverse covariance (3K, 3K) of the patients' parameters, wherever in the picture they lie.

    Args:
        parameters: (N, K, 3) row, middle and relative width.
    """
    shapes = parameters.copy()
    shapes[:, :, :2] -= parameters[:, :, :2].mean(axis=1, keepdims=True)
    mean = shapes.mean(axis=0)
    mean[:, 1] = 0
    differences = np.concatenate([shapes - mean, (shapes - mean) * (1, -1, 1)]).reshape(2 * len(shapes), -1)
    covariance = differences.T @ differences / len(differences)
    precision = np.linalg.inv(covariance + np.diag(np.tile(PARAMETER_NOISE, parameters.shape[1]) ** 2))
    # A shift of the whole costs nothing.
    shifts = np.zeros((len(precision), 2))
    shifts[0::3, 0], shifts[1::3, 1] = 1, 1
    pushed = precision @ shifts
    return mean, precision - pushed @ np.linalg.solve(shifts.T @ pushed, pushed.T)


def region_chances(
    average: AverageScan, patients: list[Patient], shares: NDArray[np.floating]
) -> tuple[NDArray[np.uint8], NDArray[np.floating], NDArray[np.floating]]:
    """Chance of every region at every place of the average scan, given that a lesion is seen there.

    The patients are laid on the average scan as any other scan would be, from the image alone: how far that goes wrong
    is part of the chances.

    Returns:
        (2, N, R, C) uint8, chances times 255 in the anterior and posterior view, for the regions of the middle and
        those of the right side; rows and columns of the places in mm.
    """
    rows = np.arange(average.rows[0], average.rows[-1], FINE_STEP_MM)
    columns = np.arange(-HALF_WIDTH_MM + FINE_STEP_MM / 2, HALF_WIDTH_MM, FINE_STEP_MM)
    columns -= (columns[0] + columns[-1]) / 2
    density = np.zeros((2, len(REGIONS), len(rows), len(columns)), np.float32)
    for patient in patients:
        found = place(average, patient.comparable)
        if found is None:
            continue
        for sample_ in patient.samples:
            row, column = np.divmod(sample_.pixels, COLUMNS)
            u, x = unwarp(average, found.parameters, (row + 0.5) * MM, (column + 0.5 - COLUMNS / 2) * MM)
            i, j = np.rint((u - rows[0]) / FINE_STEP_MM), np.rint((x - columns[0]) / FINE_STEP_MM)
            inside = (i >= 0) & (i < len(rows)) & (j >= 0) & (j < len(columns))
            target = density[sample_.view, sample_.region]
            np.add.at(target, (i[inside].astype(int), j[inside].astype(int)), shares[sample_.region])
    density = ndimage.gaussian_filter(density, (0, 0, SMOOTHING_MM / FINE_STEP_MM, SMOOTHING_MM / FINE_STEP_MM))
    density = (density + density[:, [mirrored(region) for region in range(len(REGIONS))], :, ::-1]) / 2
    total = density.sum(axis=1, keepdims=True)
    enough = total > 1e-4 * total.max()
    chances = np.where(enough, density / np.maximum(total, 1e-9), 0)
    right = [*range(MIDDLE_COUNT), *range(MIDDLE_COUNT, len(REGIONS), 2)]
    return np.rint(255 * chances[:, right]).astype(np.uint8), rows, columns


def read_patient(
    cohort: Path, number: int, seed: int, skeleton: Skeleton, regions: NDArray[np.uint8], weights: NDArray[np.floating]
) -> Patient:
    """One training patient."""
    subject = draw_subject(skeleton, seed, number)
    scan = read_planar(cohort / f"patient_{number:04d}" / "scan.dcm")
    comparable = make_comparable(scan.pixels, scan.views, scan.spacing)
    return Patient(comparable, landmarks(Places.of(subject)), sample_lesions(subject, regions, weights))


def main() -> None:
    """Make the atlas."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path, help="folder of a simulated cohort of bone scans")
    parser.add_argument("output", type=Path, help="the atlas (.npz)")
    parser.add_argument("--patients", type=int, default=40, help="how many of its training patients, the first ones")
    arguments = parser.parse_args()
    datalist = arguments.cohort / "datalist.json"
    facts = json.loads((arguments.cohort / "cohort.json").read_text("utf-8"))
    numbers = sorted({int(item["patient"].rsplit("_", 1)[1]) for item in read_datalist(datalist)["training"]})
    numbers = numbers[: arguments.patients]
    skeleton = load_skeleton()
    regions, weights = point_regions(skeleton), place_weights(skeleton)
    patients = []
    for done, number in enumerate(numbers, start=1):
        patients.append(read_patient(arguments.cohort, number, facts["seed"], skeleton, regions, weights))
        print(f"\r{done} of {len(numbers)} patients", end="", flush=True)
    average = average_scan(patients)
    chances, rows, columns = region_chances(average, patients, region_shares(skeleton, regions, weights))
    provenance: dict[str, Any] = {
        "data": f"simulated bone scans, seed {facts['seed']}, simulation version {SIMULATION_VERSION}",
        "patients": len(patients),
        "datalist_sha256": datalist_hash(datalist),
        "lesions_placed_per_region_and_patient": LESIONS_PER_REGION,
        "views_with_a_visible_one": sum(len(patient.samples) for patient in patients),
        "script": "scripts/simulation/make_bone_atlas.py",
    }
    save_atlas(arguments.output, BoneAtlas(average, chances, rows, columns, provenance))
    print(f"\n{arguments.output}: {arguments.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
