"""Measure how often `RemoveBladder` finds the bladder of simulated patients, and what it takes from their lesions.

The simulator knows the counts that the bladder adds to each view. Example::

    python scripts/simulation/measure_bladder.py --patients 40 --seed 2026 --pictures FOLDER
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from bonemets.simulation import load_skeleton, simulate_study
from bonemets.simulation.bone_scan.camera import Scene, acquire, draw_acquisition, project_view
from bonemets.simulation.bone_scan.study import VIEWS, SimulatedStudy
from bonemets.simulation.bone_scan.truth import outline_spots, project_spot
from bonemets.simulation.patient.grid import pixel_of
from bonemets.simulation.patient.organs import draw_organs, draw_soft_tissue
from bonemets.simulation.patient.spots import Spot
from bonemets.simulation.patient.subject import draw_subject
from bonemets.simulation.skeleton.skeleton import Skeleton
from bonemets.transforms import RemoveBladder, body_mask, find_bladder


@dataclass(frozen=True)
class View:
    """One view: counts and lesions as displayed, the counts that the bladder adds, and where they are plain."""

    name: str
    counts: NDArray[np.float32]
    lesions: NDArray[np.bool_]
    bladder_counts: NDArray[np.float32]
    bladder: NDArray[np.bool_]

    @property
    def heat(self) -> float:
        """How many times as hot as hot normal bone the bladder is, smoothed as in `find_bladder`."""
        smooth = ndimage.gaussian_filter(self.counts, 2.0)
        return float(smooth[self.bladder].max(initial=0.0) / np.percentile(self.counts[body_mask(self.counts)], 90))


def simulate_views(skeleton: Skeleton, seed: int, patient: int) -> list[View]:
    """Simulate a patient, and project the bladder alone into both views."""
    study = simulate_study(skeleton, seed, patient)
    subject = draw_subject(skeleton, seed, patient)
    superscan = subject.status["superscan"]
    organs, _ = draw_organs(skeleton, subject.points, subject.person, superscan, subject.rng["organs"])
    soft, _ = draw_soft_tissue(subject.body, skeleton, subject.points, subject.person, superscan, subject.rng["uptake"])
    points, activity = organs.arrays()
    bones = subject.anatomy.concentration * skeleton.volume
    for spot in (*subject.lesions, *subject.benign):
        np.add.at(bones, spot.index, spot.excess)
    positions = np.concatenate([subject.points, points])
    scene = Scene(
        positions=positions,
        pixel=pixel_of(positions, subject.body.top),
        activity=np.concatenate([np.maximum(bones, 0), activity]).astype(np.float32),
        bone_volume=np.concatenate([skeleton.volume, np.zeros(len(points), np.float32)]),
        soft=soft,
        body=subject.body,
    )
    acquisition = draw_acquisition(subject.body, subject.rng["acquisition"])
    projections = (project_view(scene, True, acquisition), project_view(scene, False, acquisition))
    expected, scanned, scales = acquire(projections, acquisition)
    # No other organ is within 9 cm of the middle of the hips; genitals begin 9.5 cm below it.
    hips = [subject.points[skeleton.points_of(f"hip_{side}")].mean(axis=0) for side in ("right", "left")]
    offset = points - np.mean(hips, axis=0)
    near = np.flatnonzero((np.abs(offset) < 0.09).all(axis=1) & (offset[:, 2] > -0.085))
    bladder = Spot(1, len(subject.points) + near, activity[near])
    views = []
    for number, (name, seen) in enumerate(zip(VIEWS, projections, strict=True)):
        shown, hidden, _ = outline_spots([bladder], scene, seen, expected[..., number], scanned, scales[number])
        added = np.zeros(shown.shape, np.float32)
        signal, window = project_spot(bladder, scene, seen, scales[number])
        added[window] = signal
        outline = (shown + hidden) > 0
        if name == "posterior":  # displayed mirrored
            added, outline = added[:, ::-1], outline[:, ::-1]
        views.append(_view(study, number, name, added, outline))
    return views


def _view(study: SimulatedStudy, number: int, name: str, added: NDArray, outline: NDArray) -> View:
    counts, lesions = study.counts[..., number].astype(np.float32), study.lesions[..., number] > 0
    return View(name, counts, lesions, added, outline)


def picture(view: View, without: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pelvis before and after, dark where hot; red: the bladder, blue: lesions."""
    rows = np.nonzero(view.bladder)[0]
    middle = int(rows.mean()) if rows.size else len(view.counts) // 2
    part = np.s_[max(middle - 110, 0) : max(middle - 110, 0) + 200]
    top = np.percentile(view.counts[body_mask(view.counts)], 99)
    tiles = []
    for counts in (view.counts, without):
        gray = (255 * (1 - np.clip(np.sqrt(counts / top), 0, 1))).astype(np.uint8)
        tile = np.stack([gray] * 3, axis=-1)
        for mask, color in ((view.bladder, (220, 0, 0)), (view.lesions, (0, 0, 220))):
            tile[mask & ~ndimage.binary_erosion(mask)] = color
        tiles.append(tile[part])
    return np.concatenate(tiles, axis=1)


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--pictures", type=Path, help="folder for a picture of every view")
    arguments = parser.parse_args()
    skeleton, remove = load_skeleton(), RemoveBladder()
    views = [view for n in range(arguments.patients) for view in simulate_views(skeleton, arguments.seed, n + 1)]
    hot, removed, shares, false, lesion_pixels, touched, lesion_views = 0, 0, [], 0, 0, 0, 0
    for number, view in enumerate(views):
        without = remove.remove(view.counts)
        changed = without < view.counts
        found = bool(find_bladder(view.counts).any())
        at_bladder = bool((changed & view.bladder).any())
        false += found and not at_bladder
        if view.heat >= remove.contrast:
            hot += 1
            removed += found and at_bladder
        if found and at_bladder:
            # What the bladder adds is gone where the counts fell by as much.
            shares.append(np.minimum(view.counts - without, view.bladder_counts).sum() / view.bladder_counts.sum())
        lesion_pixels += int(view.lesions.sum())
        lost = int((changed & view.lesions).sum())
        touched += lost
        lesion_views += lost > 0
        if arguments.pictures:
            arguments.pictures.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(view, without)).save(arguments.pictures / f"{number // 2 + 1:03d}_{view.name}.png")
    print(f"{len(views)} views of {arguments.patients} patients, seed {arguments.seed}")
    print(f"bladder at least {remove.contrast:g} times as hot as bone: {hot} views; removed in {removed}")
    share = np.median(shares) if shares else 0.0
    print(f"all views in which it was removed: {len(shares)}; share of its counts that went: median {share:.2f}")
    print(f"views in which something else was removed: {false}")
    lowered = f"{touched} of {lesion_pixels} ({touched / max(lesion_pixels, 1):.2%})"
    print(f"lesion pixels lowered: {lowered}, in {lesion_views} views")


if __name__ == "__main__":
    main()
