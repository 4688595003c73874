"""The README's picture, from what `make demo` left: one held-out simulated patient and the real NEMA scan.

Called as ``python scripts/demo/make_overview.py demo docs/images/overview.png``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bonemets.data import read_planar, read_study
from bonemets.data.files import write_bytes
from bonemets.reporting.display import SIDES, display_gray, outlines
from bonemets.reporting.figures import PREDICTION_COLOR, TRUTH_COLOR, figure_png

ROWS = slice(40, 800)
"""From head to feet in both scans."""


def panels(demo: Path, patient: str) -> list[tuple[str, str, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Title, view, counts, prediction and truth of each panel, (H, W) each."""
    scans = {"simulated": demo / "cohort" / patient / "scan.dcm", "real": next((demo / "real_scan").glob("*.dcm"))}
    found = []
    for kind, path in scans.items():
        scan = read_study(path)[0]
        results = demo / ("results" if kind == "simulated" else "results_real")
        mask = _mask(results, scan.dataset.StudyInstanceUID if scan.dataset else "")
        for v, view in enumerate(scan.views):
            truth = None
            if kind == "simulated":
                truth = read_planar(demo / "cohort" / patient / f"{view}_label.nii.gz").pixels[..., 0] == 1
            name = "Simulated patient" if kind == "simulated" else "Real scan (NEMA NM1)"
            found.append((name, view, scan.pixels[..., v], mask[..., v] > 0, truth))
    return found


def _mask(results: Path, study: str) -> np.ndarray:
    for file in sorted(results.glob("*/result.json")):
        if json.loads(file.read_text("utf-8"))["study"]["study_instance_uid"] == study:
            return read_planar(file.parent / "mask.nii.gz").pixels
    raise FileNotFoundError(f"no result of this study in {results}")


def draw(demo: Path, patient: str) -> Figure:
    """All panels in a row, with a legend."""
    shown = panels(demo, patient)
    figure = Figure(figsize=(9, 9.3), dpi=110, facecolor="white")
    for i, (name, view, counts, mask, truth) in enumerate(shown):
        axes = figure.add_axes((i / len(shown), 0.05, 1 / len(shown), 0.88))
        axes.imshow(display_gray(counts)[ROWS], cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
        for outlined, color, width in ((truth, TRUTH_COLOR, 2.2), (mask, PREDICTION_COLOR, 1.4)):
            for line in outlines(outlined[ROWS]) if outlined is not None else ():
                axes.plot(line[:, 0], line[:, 1], color=color, linewidth=width)
        axes.set_title(f"{name}\n{view}", fontsize=11)
        for side, x in zip(SIDES[view], (0.02, 0.98), strict=True):
            axes.text(x, 0.99, side, transform=axes.transAxes, va="top", ha="left" if x < 0.5 else "right", fontsize=10)
        axes.set_axis_off()
    for x, color, text in ((0.22, TRUTH_COLOR, "truth (simulated)"), (0.52, PREDICTION_COLOR, "marked by the network")):
        figure.text(x, 0.02, f"◯ {text}", color=color, fontsize=11)
    return figure


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="the folder that make demo made")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--patient", default="patient_0009", help="one of the held-out patients")
    arguments = parser.parse_args()
    write_bytes(arguments.picture, figure_png(draw(arguments.demo, arguments.patient)))


if __name__ == "__main__":
    main()
