"""Compare simulated bone scans with the one real whole-body scan that anyone can install.

Writes results/simulation_realism.yaml and, in docs/explanation/simulation.md, the table and the figure::

    python scripts/simulation/compare_simulation.py --patients 40 --seed 0

The real scan is NEMA's NM1 (anterior, GE Millennium MG, a large man), ``JPEG-LL.dcm`` of PyPI's ``pydicom-data``.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import ndimage

from bonemets.simulation import (
    SIMULATION_VERSION,
    SimulatedStudy,
    Skeleton,
    load_skeleton,
    simulate_study,
)
from simulation_figures import draw_figures
from simulation_places import REAL_BOXES, means_of_boxes, real_scan, rows_of, simulated_masks

ROOT = Path(__file__).resolve().parents[2]


def noise_figures(image: np.ndarray, torso: tuple[int, int], flat: np.ndarray) -> dict[str, float]:
    """Noise and texture: half the mean squared difference of neighbors over the mean, and the power spectrum.

    Args:
        image: (1024, 256) counts.
        torso: first row and first column of a 256 x 230 patch.
        flat: (1024, 256) bool, a flat area (the abdomen).
    """
    smooth = ndimage.uniform_filter(image, 9)
    neighbors = 0.5 * (image[1:] - image[:-1]) ** 2
    patch = image[torso[0] : torso[0] + 256, torso[1] : torso[1] + 230]
    window = np.hanning(patch.shape[0])[:, None] * np.hanning(patch.shape[1])[None]
    power = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
    floor = float((patch * window**2).sum())  # expected power of Poisson noise
    radius = np.hypot(np.fft.fftfreq(patch.shape[0])[:, None], np.fft.fftfreq(patch.shape[1])[None])
    edges = np.geomspace(0.012, 0.35, 22)
    which = np.digitize(radius.ravel(), edges)
    profile = np.array([power.ravel()[which == i].mean() for i in range(1, len(edges))]) / floor
    frequency = np.sqrt(edges[:-1] * edges[1:])
    fit = (frequency > 0.015) & (frequency < 0.09) & (profile > 1.2)
    slope = np.polyfit(np.log(frequency[fit]), np.log(profile[fit] - 1), 1)[0]
    below = np.flatnonzero(profile < 2)
    return {
        "noise: half squared neighbor difference / mean": float(
            neighbors[flat[1:]].mean() / smooth[1:][flat[1:]].mean()
        ),
        "power above 0.35 cycles/pixel / Poisson": float(power[radius > 0.35].mean() / floor),
        "slope of the power spectrum": float(slope),
        "frequency where signal equals noise (cycles/pixel)": float(frequency[below[0]])
        if len(below)
        else float("nan"),
    }


def edge_figures(image: np.ndarray, rows: slice, level: float) -> dict[str, float]:
    """Width of the head's edge in pixels: from 10 % to 80 % of the vault's count, mean of both sides."""
    profile = ndimage.gaussian_filter1d(image[rows].mean(axis=0), 0.7)
    widths = []
    for line in (profile, profile[::-1]):
        high = int(np.argmax(line > 0.8 * level))
        low = high - int(np.argmax(line[high::-1] < 0.1 * level))
        widths.append(high - low)
    return {"head edge, 10 to 80 % (pixels)": float(np.mean(widths))}


def _ratios(means: dict[str, float]) -> dict[str, float]:
    figures = {f"{name} / abdomen": means[name] / means["abdomen"] for name in means if name != "abdomen"}
    figures["femur shaft / thigh"] = means["femur shaft"] / means["thigh, soft tissue"]
    return figures


def real_figures(image: np.ndarray) -> dict[str, float]:
    """All figures of the real scan."""
    means = means_of_boxes(image)
    flat = np.zeros(image.shape, bool)
    for a, b, c, d in REAL_BOXES["abdomen"]:
        flat[a:b, c:d] = True
    body = ndimage.gaussian_filter(image, 2) > 3
    figures = {
        "total counts (million)": float(image.sum() / 1e6),
        "mean in the body (counts/pixel)": float(image[body].mean()),
        "abdomen at 3.6 million (counts/pixel)": means["abdomen"] * 3.6e6 / float(image.sum()),
    }
    figures |= _ratios(means) | noise_figures(image, (180, 13), flat)
    figures |= edge_figures(image, slice(112, 126), means["skull vault"])
    outside = image[100:130, 20:60]
    return figures | {"background outside the body at 3.6 million (counts/pixel)": float(outside.mean())}


def simulated_figures(study: SimulatedStudy) -> dict[str, float]:
    """The same figures of a simulated anterior view; pixels of lesions and benign spots are left out."""
    image, bones = study.counts[..., 0].astype(np.float64), study.bones[..., 0]
    masks = simulated_masks(bones)
    spots = (study.lesions[..., 0] > 0) | (study.hidden[..., 0] > 0) | (study.benign[..., 0] > 0)
    spots = ndimage.binary_dilation(spots, iterations=3)
    means = {name: float(image[mask & ~spots].mean()) for name, mask in masks.items()}
    scale = 3.6e6 / float(image.sum())
    body = ndimage.gaussian_filter(study.expected[..., 0], 2) > 3 / scale
    figures = {
        "total counts (million)": float(image.sum() / 1e6),
        "mean in the body (counts/pixel)": float(image[body].mean()),
        "abdomen at 3.6 million (counts/pixel)": means["abdomen"] * scale,
    }
    top, bottom = rows_of(bones, "skull")
    first = min(max(rows_of(bones, "C7")[0], 0), 1024 - 256)
    figures |= _ratios(means) | noise_figures(image, (first, 13), masks["abdomen"] & ~spots)
    vault = slice(int(top + 0.2 * (bottom - top)), int(top + 0.4 * (bottom - top)))
    figures |= edge_figures(image, vault, means["skull vault"])
    background = study.parameters["acquisition"]["background_per_pixel"] * scale
    return figures | {"background outside the body at 3.6 million (counts/pixel)": background}


def allowed(name: str, real: float) -> tuple[float, float] | None:
    """The range of a figure that one real scan of one man allows for the median of many other patients.

    Uptake differs between patients by 7 to 32 % (standard deviation; vertebrae 3.92 +- 0.27 by mean, 7.58 +- 2.42 by
    maximum), so ratios may lie within a third of the real one; figures of the camera and of its noise must be closer.
    None where the figure is set by the acquisition that is drawn.
    """
    if name.startswith(("total", "mean in the body", "background")):
        return None
    if name.startswith(("noise", "power above")):
        return 0.9 * real, 1.1 * real
    if name.startswith("slope"):
        return real - 0.7, real + 0.7
    return real * 0.67, real * 1.4


def summarize(skeleton: Skeleton, seed: int, patients: int) -> dict[str, Any]:
    """Real figure and the distribution of the simulated one, for every row of the table."""
    real = real_figures(real_scan())
    rows = []
    for index in range(1, patients + 1):
        study = simulate_study(skeleton, seed, index)
        if not study.parameters["status"]["superscan"]:  # bones raised all over compare with nothing normal
            rows.append((study.parameters["patient"]["bmi"], simulated_figures(study)))
    table: dict[str, Any] = {}
    for name, value in real.items():
        values = np.array([figures[name] for _, figures in rows])
        heavy = np.array([figures[name] for bmi, figures in rows if bmi >= 27])
        low, median, high = np.nanpercentile(values, [0, 50, 100])
        limits = allowed(name, value)
        table[name] = {
            "real": round(value, 3),
            "simulated_min": round(float(low), 3),
            "simulated_median": round(float(median), 3),
            "simulated_max": round(float(high), 3),
            "simulated_median_bmi_27_or_more": round(float(np.nanmedian(heavy)), 3),
            "range_contains_real": bool(low <= value <= high),
        }
        if limits:
            table[name]["allowed"] = [round(min(limits), 3), round(max(limits), 3)]
            table[name]["median_is_allowed"] = bool(min(limits) <= median <= max(limits))
    return table


def table_lines(table: dict[str, Any]) -> list[str]:
    """The table in Markdown."""
    lines = [
        "| Figure (anterior view) | Real | Simulated: min / median / max | Median, BMI 27 or more | One scan allows |",
        "|---|---|---|---|---|",
    ]
    for name, row in table.items():
        digits = 2 if abs(row["real"]) < 10 else 1
        low, middle, high, heavy = (
            f"{row[key]:.{digits}f}"
            for key in ("simulated_min", "simulated_median", "simulated_max", "simulated_median_bmi_27_or_more")
        )
        limits = "{:.2f} to {:.2f}".format(*row["allowed"]) if "allowed" in row else "drawn per scan"
        mark = "" if row["range_contains_real"] and row.get("median_is_allowed", True) else " (outside)"
        lines.append(f"| {name} | {row['real']:.{digits}f} | {low} / {middle} / {high}{mark} | {heavy} | {limits} |")
    return lines


def replace_between(path: Path, marker: str, lines: list[str]) -> None:
    """Replace what stands between ``<!-- marker -->`` and ``<!-- end marker -->`` in a page."""
    text = path.read_text()
    pattern = rf"(<!-- {marker} -->\n).*?(<!-- end {marker} -->)"
    new, count = re.subn(pattern, lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{path} needs exactly one pair of markers for {marker}, found {count}")
    temporary = path.with_suffix(".tmp")
    temporary.write_text(new)
    temporary.replace(path)


def main() -> None:
    """Measure, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    skeleton = load_skeleton()
    table = summarize(skeleton, options.seed, options.patients)
    lines = table_lines(table)
    print("\n".join(lines))
    results = {
        "what": "simulated anterior views against the NEMA NM1 scan",
        "seed": options.seed,
        "patients": options.patients,
        "simulation_version": SIMULATION_VERSION,
        "figures": table,
    }
    path = ROOT / "results" / "simulation_realism.yaml"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(yaml.safe_dump(results, sort_keys=False))
    temporary.replace(path)
    page = ROOT / "docs" / "explanation" / "simulation.md"
    head = [
        f"{options.patients} simulated patients (seed {options.seed}), simulation version {SIMULATION_VERSION}.",
        "",
    ]
    replace_between(page, "realism table", head + lines)
    draw_figures(skeleton, real_scan(), options.seed, page.parent / "images")


if __name__ == "__main__":
    main()
