"""Compare Hounsfield units of simulated CT with published values and, where one has it, with a real CT.

Writes results/ct_realism.yaml and the table of docs/explanation/ct-simulation.md::

    python scripts/simulation/make_cohort.py results/cohorts/ct_40.yaml runs/ct --workers 2
    python scripts/simulation/compare_ct_simulation.py runs/ct --real EXAMPLE

EXAMPLE is a folder with ``example_ct.nii.gz`` and ``example_ct_vertebrae.nii.gz`` of TotalSegmentator's repository
(``tests/reference_files``, Apache-2.0). Without it the real column stays as it was recorded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy import ndimage

from bonemets.data import read_ct, write_bytes
from bonemets.simulation import BONES
from compare_simulation import replace_between

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "results" / "ct_realism.yaml"
# What TotalSegmentator calls the vertebrae.
REAL_VERTEBRAE = {26: "sacrum", 27: "L5", 28: "L4", 29: "L3", 30: "L2", 31: "L1", 32: "T12", 33: "T11"}
LUMBAR = ("L2", "L3", "L4")
# Rows of the table, and what is published of them.
PUBLISHED = {
    "subcutaneous fat, mode": "-100 ± 15",
    "muscle beside the spine": "30 to 55",
    "liver, unenhanced": "55 to 60",
    "lung": "about -850 at full inspiration",
    "trabecular bone, T12": "falls with age",
    "trabecular bone, L1": "226 below 30 years, then -2.5 a year: about 156 at 58 (10.1148/radiol.2019181648)",
    "cortex of the hip bone, 95th percentile": "",
    "blastic metastasis": "654 ± 176, untreated (10.2214/AJR.15.15559)",
    "lytic metastasis": "",
    "mixed metastasis": "",
}


@dataclass(frozen=True)
class Slice:
    """An axial slice, as displayed.

    Args:
        hu: (H, W).
        bones: (H, W), each pixel's bone by name; "" for none.
        spacing: of a pixel, mm.
    """

    hu: NDArray[np.float32]
    bones: NDArray[np.str_]
    spacing: float

    def disks(self, radius: float) -> NDArray[np.bool_]:
        """A disk of `radius` mm, for erosions."""
        reach = max(round(radius / self.spacing), 1)
        rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        return np.asarray(rows**2 + columns**2 <= reach**2)

    def eroded(self, mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
        """The mask without what is within `radius` mm of its edge."""
        return np.asarray(ndimage.binary_erosion(mask, self.disks(radius)))

    def of(self, *names: str) -> NDArray[np.bool_]:
        """Where the named bones are."""
        return np.isin(self.bones, names)


def muscle(one: Slice) -> NDArray[np.bool_]:
    """Areas of 0 to 100 HU, smoothed over 3 mm, beside a lumbar spinous process, 4 mm inside their edge."""
    near = np.zeros(one.hu.shape, bool)
    rows, columns = np.nonzero(one.of(*LUMBAR))
    if len(rows) < 20:
        return near
    row, column = rows.max() - 18 / one.spacing, np.median(columns)
    y, x = np.indices(near.shape)
    for side in (-32, 32):
        near |= np.hypot(y - row, x - column - side / one.spacing) < 16 / one.spacing
    smooth = ndimage.gaussian_filter(one.hu, 3 / one.spacing)
    return one.eroded(near & (smooth > 0) & (smooth < 100) & (one.bones == ""), 4)


def liver(one: Slice) -> NDArray[np.bool_]:
    """The largest area of 20 to 90 HU to the right of T11 or T12, smoothed over 4 mm, 15 mm inside its edge."""
    columns = np.nonzero(one.of("T11", "T12"))[1]
    if len(columns) < 20:
        return np.zeros(one.hu.shape, bool)
    smooth = ndimage.gaussian_filter(one.hu, 4 / one.spacing)
    inside = (smooth > 20) & (smooth < 90) & (one.bones == "")
    inside[:, int(np.median(columns) - 25 / one.spacing) :] = False
    return one.eroded(_largest(inside), 15)


def lung(one: Slice) -> NDArray[np.bool_]:
    """Air that does not reach the picture's edge, in areas of 10 cm² and more, 8 mm inside their edge."""
    labels, count = ndimage.label(one.hu < -500)
    edge = set(np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])))
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * one.spacing**2
    chosen = [label for label in range(1, count + 1) if label not in edge and sizes[label] >= 1000]
    return one.eroded(np.isin(labels, chosen), 8)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else mask


def places(one: Slice) -> dict[str, NDArray[np.bool_]]:
    """Where the tissues are that can be told without a map of the organs."""
    chest = one.of(*(f"T{number}" for number in range(4, 12))).any()
    return {
        "muscle beside the spine": muscle(one),
        "liver, unenhanced": liver(one),
        "lung": lung(one) if chest else np.zeros(one.hu.shape, bool),
        "trabecular bone, T12": _largest(one.eroded(one.of("T12"), 6)),
        "trabecular bone, L1": _largest(one.eroded(one.of("L1"), 6)),
    }


def fat_mode(slices: list[Slice]) -> float:
    """The most frequent value between -200 and 0 HU of slices through the lumbar spine, in bins of 5 HU."""
    values = [one.hu[(one.hu > -200) & (one.hu < 0)] for one in slices if one.of(*LUMBAR).any()]
    if not values:
        return float("nan")
    counts, edges = np.histogram(np.concatenate(values), np.arange(-202.5, 5, 5))
    return float(edges[np.argmax(counts)] + 2.5)


def measured(
    slices: list[Slice], unenhanced: bool, diseased: list[NDArray[np.bool_]]
) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation in each place of one patient; (mode, NaN) of the fat."""
    values: dict[str, list[NDArray]] = {}
    for one, lesions in zip(slices, diseased, strict=True):
        for name, inside in places(one).items():
            values.setdefault(name, []).append(one.hu[inside & ~lesions])
    found = {"subcutaneous fat, mode": (fat_mode(slices), float("nan"))}
    for name, parts in values.items():
        together = np.concatenate(parts)
        if len(together) >= 50 and (unenhanced or name != "liver, unenhanced"):
            found[name] = (float(together.mean()), float(together.std()))
    hips = np.concatenate(
        [one.hu[one.of("hip_left", "hip_right") & ~bad] for one, bad in zip(slices, diseased, strict=True)]
    )
    if len(hips):
        found["cortex of the hip bone, 95th percentile"] = (float(np.percentile(hips, 95)), float("nan"))
    return {name: pair for name, pair in found.items() if np.isfinite(pair[0])}


def simulated_patients(cohort: Path) -> Iterator[tuple[list[Slice], list[NDArray[np.int_]], dict[str, Any]]]:
    """Slices, numbers of the lesions and what was drawn, patient by patient."""
    names = np.array([BONES.get(label, "") for label in range(max(BONES) + 1)])
    for record in sorted(cohort.glob("patient_*/patient.json")):
        slices, lesions = [], []
        for path in sorted(record.parent.glob("ct/slice_??.nii.gz")):
            scan = read_ct(path)
            beside = {
                part: read_ct(path.with_name(path.name.replace(".nii", f"_{part}.nii")))
                for part in ("bones", "lesions")
            }
            slices.append(
                Slice(scan.pixels[..., 0], names[beside["bones"].pixels[..., 0].astype(int)], scan.spacing[0])
            )
            lesions.append(beside["lesions"].pixels[..., 0].astype(int))
        yield slices, lesions, json.loads(record.read_text())["parameters"]["ct"]


def lesion_values(
    slices: list[Slice], lesions: list[NDArray[np.int_]], ct: dict[str, Any]
) -> list[tuple[str, float, float, float]]:
    """Kind, mean and standard deviation of each lesion, and the area of its largest section in mm²."""
    found = []
    for lesion in ct["lesions"]:
        sections = [numbers == lesion["id"] for numbers in lesions]
        values = np.concatenate([one.hu[inside] for one, inside in zip(slices, sections, strict=True)])
        if len(values) >= 20:
            area = max(float(inside.sum()) for inside in sections) * slices[0].spacing ** 2
            found.append((lesion["kind"], float(values.mean()), float(values.std()), area))
    return found


def simulated_figures(cohort: Path) -> dict[str, Any]:
    """Over patients, and over lesions: mean of the means, mean of the deviations, deviation of the means."""
    collected: dict[str, list[tuple[float, float]]] = {}
    areas = []
    patients = 0
    for slices, lesions, ct in simulated_patients(cohort):
        patients += 1
        for name, pair in measured(
            slices, ct["contrast"] == "unenhanced", [numbers > 0 for numbers in lesions]
        ).items():
            collected.setdefault(name, []).append(pair)
        for kind, mean, deviation, area in lesion_values(slices, lesions, ct):
            collected.setdefault(f"{kind} metastasis", []).append((mean, deviation))
            areas.append(area)
    if not patients:
        raise SystemExit(f"{cohort}: no patient with CT slices; simulate a cohort with --modality ct")
    figures = {name: _summary(np.array(pairs)) for name, pairs in collected.items()}
    low, middle, high = np.percentile(areas, (10, 50, 90))
    return {
        "patients": patients,
        "figures": figures,
        "lesion_section_mm2": {"p10": round(low), "median": round(middle), "p90": round(high), "lesions": len(areas)},
    }


def _summary(pairs: NDArray) -> dict[str, Any]:
    within = pairs[:, 1]
    return {
        "mean": round(float(pairs[:, 0].mean()), 1),
        "within": None if np.isnan(within).all() else round(float(np.nanmean(within)), 1),
        "between": round(float(pairs[:, 0].std()), 1),
        "number": len(pairs),
    }


def real_figures(folder: Path) -> dict[str, Any]:
    """The same of TotalSegmentator's example, whose vertebrae a model has marked."""
    scan, marked = read_ct(folder / "example_ct.nii.gz"), read_ct(folder / "example_ct_vertebrae.nii.gz")
    names = np.array([REAL_VERTEBRAE.get(label, "") for label in range(int(marked.pixels.max()) + 1)])
    slices = [
        Slice(scan.pixels[..., index], names[marked.pixels[..., index].astype(int)], scan.spacing[0])
        for index in range(scan.pixels.shape[2])
    ]
    found = measured(slices, True, [np.zeros(scan.pixels.shape[:2], bool)] * len(slices))
    return {
        name: {"mean": round(mean, 1), "within": None if np.isnan(within) else round(within, 1)}
        for name, (mean, within) in found.items()
    }


def table_lines(record: dict[str, Any]) -> list[str]:
    """The table in Markdown, and what stands above it."""

    def cell(row: dict[str, Any] | None) -> str:
        if row is None:
            return ""
        within = "" if row["within"] is None else f" ± {row['within']:.0f}"
        return f"{row['mean']:.0f}{within}" + (
            f" ({row['between']:.0f}, n {row['number']})" if "between" in row else ""
        )

    lines = [
        f"{record['patients']} simulated patients.",
        "",
        "| HU | Simulated | One real CT | Published |",
        "|---|---|---|---|",
    ]
    for name, published in PUBLISHED.items():
        row, real = record["figures"].get(name), record["real"].get(name)
        lines.append(f"| {name[0].upper()}{name[1:]} | {cell(row)} | {cell(real)} | {published} |")
    area = record["lesion_section_mm2"]
    spread = f"median of {area['lesions']}; 10 to 90 %: {area['p10']} to {area['p90']}"
    return [*lines, "", f"A lesion's largest section measures {area['median']} mm² ({spread})."]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path, help="folder of a cohort with CT")
    parser.add_argument("--real", type=Path, help="folder with TotalSegmentator's example")
    options = parser.parse_args()
    about = json.loads((options.cohort / "cohort.json").read_text())
    if options.real is not None:
        real = real_figures(options.real)
    else:
        real = yaml.safe_load(RECORD.read_text())["real"] if RECORD.is_file() else {}
    record = {
        "what": "Hounsfield units of simulated CT; mean, deviation within the place, deviation of the patients' means",
        "seed": about["seed"],
        "simulation_version": about["simulation_version"],
        **simulated_figures(options.cohort),
        "real": real,
    }
    lines = table_lines(record)
    print("\n".join(lines))
    write_bytes(RECORD, yaml.safe_dump(record, sort_keys=False).encode())
    replace_between(ROOT / "docs" / "explanation" / "ct-simulation.md", "realism table", lines)


if __name__ == "__main__":
    main()
