"""Compare simulated bone scans with the one real whole-body scan that anyone can install.

Writes results/simulation_realism.yaml and, in docs/explanation/simulation.md, the table and the figure::

    python scripts/compare_simulation.py --patients 40 --seed 0

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
from simulation_figures import draw_figures

from bonemets.simulation import (
    BONES,
    SIMULATION_VERSION,
    SimulatedStudy,
    Skeleton,
    load_skeleton,
    simulate_study,
)

ROOT = Path(__file__).resolve().parents[1]
IDS = {name: label for label, name in BONES.items()}

# Rectangles (first row, last row, first column, last column) drawn by eye on the real scan.
REAL_BOXES: dict[str, list[tuple[int, int, int, int]]] = {
    "abdomen": [(322, 350, 95, 119), (322, 350, 171, 190)],
    "lumbar spine": [(308, 345, 142, 151)],
    "sternum": [(250, 290, 131, 139)],
    "chest with ribs": [(236, 285, 84, 118)],
    "face": [(143, 168, 123, 152)],
    "skull vault": [(108, 130, 115, 158)],
    "shoulder": [(204, 230, 57, 82), (192, 215, 193, 217)],
    "femur shaft": [(537, 587, 79, 88), (520, 560, 172, 183)],
    "thigh, soft tissue": [(537, 587, 100, 114), (520, 560, 150, 163)],
    "knee": [(602, 642, 68, 106), (602, 642, 152, 186)],
    "tibia": [(690, 735, 83, 96), (690, 735, 155, 166)],
    "foot": [(785, 830, 83, 108), (785, 830, 132, 158)],
}


def real_scan() -> np.ndarray:
    """The NEMA scan as counts (1024, 256)."""
    import pydicom
    from pydicom.data import get_testdata_file

    path = get_testdata_file("JPEG-LL.dcm")
    if path is None:
        raise SystemExit("the real scan is missing: pip install pydicom-data")
    return pydicom.dcmread(path).pixel_array.astype(np.float64)


def _means_of_boxes(image: np.ndarray) -> dict[str, float]:
    return {
        name: float(np.mean([image[a:b, c:d].mean() for a, b, c, d in boxes])) for name, boxes in REAL_BOXES.items()
    }


def _rows(bones: np.ndarray, *names: str) -> tuple[int, int]:
    """First and last row of the named bones."""
    rows = np.flatnonzero(np.isin(bones, [IDS[name] for name in names]).any(axis=1))
    return int(rows[0]), int(rows[-1])


def _columns(bones: np.ndarray, rows: slice, *names: str) -> tuple[int, int]:
    columns = np.flatnonzero(np.isin(bones[rows], [IDS[name] for name in names]).any(axis=0))
    return int(columns[0]), int(columns[-1])


def simulated_masks(bones: np.ndarray) -> dict[str, np.ndarray]:
    """The same places as :data:`REAL_BOXES`, found through the simulation's own map of the bones."""
    masks = {name: np.zeros(bones.shape, bool) for name in REAL_BOXES}

    def share(low: int, high: int, a: float, b: float) -> slice:
        return slice(int(low + a * (high - low)), int(low + b * (high - low)) + 1)

    top, bottom = _rows(bones, "L2", "L3", "L4")
    rows = share(top, bottom, 0.25, 0.95)
    left, right = _columns(bones, rows, "L2", "L3", "L4")
    middle = (left + right) // 2
    masks["lumbar spine"][share(top, bottom, 0.0, 0.9), middle - 4 : middle + 5] = True
    masks["abdomen"][rows, middle - 42 : middle - 24] = True
    masks["abdomen"][rows, middle + 25 : middle + 43] = True
    top, bottom = _rows(bones, "sternum")
    rows = share(top, bottom, 0.35, 0.8)
    left, right = _columns(bones, rows, "sternum")
    masks["sternum"][rows, (left + right) // 2 - 3 : (left + right) // 2 + 5] = True
    left, right = _columns(bones, rows, *(f"rib_right_{i}" for i in range(4, 9)))
    masks["chest with ribs"][share(top, bottom, 0.3, 1.0), left + 5 : right - 4] = True
    top, bottom = _rows(bones, "skull")
    left, right = _columns(bones, slice(top, bottom), "skull")
    center = (left + right) // 2
    masks["face"][share(top, bottom, 0.66, 0.98), center - 14 : center + 15] = True
    masks["skull vault"][share(top, bottom, 0.14, 0.42), center - 20 : center + 21] = True
    for side in ("right", "left"):
        _limb_masks(bones, side, masks, share)
    return masks


def _limb_masks(bones: np.ndarray, side: str, masks: dict[str, np.ndarray], share: Any) -> None:
    top, bottom = _rows(bones, f"humerus_{side}")
    rows = share(top, bottom, 0.0, 0.16)
    left, right = _columns(bones, rows, f"humerus_{side}")
    masks["shoulder"][rows, left : right + 1] = True
    inward = 1 if side == "right" else -1
    top, bottom = _rows(bones, f"femur_{side}")
    for row in range(int(top + 0.5 * (bottom - top)), int(top + 0.66 * (bottom - top))):
        columns = np.flatnonzero(bones[row] == IDS[f"femur_{side}"])
        center = (columns[0] + columns[-1]) // 2
        masks["femur shaft"][row, center - 4 : center + 5] = True
        soft = center + inward * 20
        masks["thigh, soft tissue"][row, soft - 6 : soft + 7] = True
    left, right = _columns(bones, share(top, bottom, 0.9, 1.0), f"femur_{side}")
    masks["knee"][int(bottom - 22) : bottom + 19, left : right + 1] = True
    top, bottom = _rows(bones, f"tibia_{side}")
    for row in range(int(top + 0.35 * (bottom - top)), int(top + 0.62 * (bottom - top))):
        columns = np.flatnonzero(bones[row] == IDS[f"tibia_{side}"])
        if len(columns):
            masks["tibia"][row, columns[0] - 1 : columns[-1] + 2] = True
    feet = [name for name in IDS if name.endswith(f"_{side}") and name.startswith(("metatarsal", "cun", "tal", "cub"))]
    top, bottom = _rows(bones, *feet)
    left, right = _columns(bones, slice(top, bottom), *feet)
    masks["foot"][share(top, bottom, 0.0, 0.9), left : right + 1] = np.isin(
        bones[share(top, bottom, 0.0, 0.9), left : right + 1], [IDS[name] for name in feet]
    )


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
    means = _means_of_boxes(image)
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
    top, bottom = _rows(bones, "skull")
    first = min(max(_rows(bones, "C7")[0], 0), 1024 - 256)
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
