"""The pictures of docs/explanation/simulation.md; called by compare_simulation.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from bonemets.simulation import SimulatedStudy, Skeleton, simulate_study
from bonemets.simulation.patient.lesions import draw_status
from bonemets.simulation.patient.patient import draw_patient, generators

GAMMA = 0.6
COLORS = {"lesions": (220, 0, 0), "hidden": (0, 120, 255), "benign": (0, 150, 0)}


def gray(counts: np.ndarray, white_to_black: float) -> np.ndarray:
    """Counts as an inverted gray image, black at ``white_to_black`` counts."""
    return (255 - 255 * np.clip(counts / white_to_black, 0, 1) ** GAMMA).astype(np.uint8)


def own_window(counts: np.ndarray) -> float:
    """Upper end of the display: 99.3th percentile, so that the bladder does not decide."""
    return max(float(np.percentile(counts[counts > 0], 99.3)), 1.0)


def _patient(seed: int, sex: str, bmi: tuple[float, float], lesions: tuple[int, int]) -> int:
    """First patient of the cohort with that sex, body-mass index and number of lesions (from, to)."""
    for index in range(1, 3000):
        rng = generators(seed, index)
        person, status = draw_patient(rng["patient"]), draw_status(rng["lesions"])
        fits = person["sex"] == sex and bmi[0] <= person["bmi"] <= bmi[1]
        if fits and lesions[0] <= status["lesions"] <= lesions[1]:
            return index
    raise SystemExit(f"no patient of sex {sex}, index {bmi} with {lesions} lesions")


def outlines(study: SimulatedStudy, view: int, rows: slice, zoom: int) -> np.ndarray:
    """A view with the outlines of visible lesions (red), hidden ones (blue) and benign spots (green)."""
    counts = study.counts[rows, :, view]
    large = np.repeat(np.repeat(gray(counts, own_window(study.counts[..., view])), zoom, axis=0), zoom, axis=1)
    image = np.stack([large] * 3, axis=-1)
    for name in ("hidden", "benign", "lesions"):
        labels = np.repeat(np.repeat(getattr(study, name)[rows, :, view], zoom, axis=0), zoom, axis=1)
        edge = (ndimage.grey_erosion(labels, 3) != labels) & (labels > 0)
        image[edge] = COLORS[name]
    return image


def _save(image: np.ndarray, path: Path, quality: int = 82) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=quality, optimize=True)


def draw_figures(skeleton: Skeleton, real: np.ndarray, seed: int, folder: Path) -> None:
    """Draw the three figures into a folder.

    Args:
        skeleton: the bones.
        real: (1024, 256) counts of the NEMA scan.
        seed: seed of the simulated patients.
        folder: where to write the JPEG files.
    """
    chosen = [("M", (30.0, 34.0), (0, 0)), ("F", (24.0, 28.0), (1, 6)), ("M", (20.0, 23.0), (5, 12))]
    studies = [simulate_study(skeleton, seed, _patient(seed, *wanted)) for wanted in chosen]
    window = own_window(real)  # the same gray scale for all, after scaling to the real scan's total
    panels = [gray(real, window)]
    for view in (0, 1):
        for study in studies:
            counts = study.counts[..., view]
            panels.append(gray(counts * (real.sum() / counts.sum()), window))
    _save(np.hstack(panels)[20:940], folder / "real_and_simulated.jpg")

    sheet = [simulate_study(skeleton, seed + 1, index + 1) for index in range(10)]
    tiles = [[gray(s.counts[..., v], own_window(s.counts[..., v])) for s in sheet for v in (0, 1)]]
    rows = [np.hstack(tiles[0][i : i + 10]) for i in (0, 10)]
    picture = Image.fromarray(np.vstack([row[:960] for row in rows]))
    picture = picture.resize((picture.width * 5 // 8, picture.height * 5 // 8), Image.Resampling.BILINEAR)
    _save(np.asarray(picture), folder / "simulated_patients.jpg", quality=72)

    many = simulate_study(skeleton, seed, _patient(seed, "M", (22.0, 27.0), (12, 25)))
    few = studies[2]
    pictures = []
    for study in (few, many):
        first = int(np.flatnonzero((study.bones[..., 0] > 0).any(axis=1))[0]) + 60
        pictures += [outlines(study, view, slice(first, first + 400), 2) for view in (0, 1)]
    _save(np.hstack(pictures), folder / "lesion_outlines.jpg")
