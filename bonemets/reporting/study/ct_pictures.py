"""How a CT is shown: the slices with findings in a bone window, outlined and numbered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bonemets.data.ct.scan import CTScan
from bonemets.reporting.display import SIDES, data_uri, outlines, png_bytes
from bonemets.reporting.figures import HALO, PREDICTION_COLOR
from bonemets.reporting.pages import svg_path

# Width 1800, level 400: what radiologists read bones in.
BONE_WINDOW = (-500.0, 1300.0)
# With more slices a page or a picture would be too large to read.
MAXIMUM_SLICES = 12
COLUMNS = 4


def shown_slices(findings: Sequence[Mapping[str, Any]], slices: int) -> list[int]:
    """Indices of the slices to show, head to feet.

    Those where findings are largest, of the surest findings if there are many; three over the whole if there are none.
    """
    sure = sorted(findings, key=lambda finding: -finding["probability_max"])
    chosen = list(dict.fromkeys(finding["slice"] - 1 for finding in sure))[:MAXIMUM_SLICES]
    if not chosen:
        chosen = list({slices // 4, slices // 2, (3 * slices) // 4})
    return sorted(chosen, reverse=True)


def window_gray(scan: CTScan, index: int) -> NDArray[np.uint8]:
    """A slice in the bone window, (H, W) uint8, white for dense bone; a picture as it is."""
    low, high = (0.0, 255.0) if scan.format == "image" else BONE_WINDOW
    return np.round(255 * np.clip((scan.pixels[..., index] - low) / (high - low), 0, 1)).astype(np.uint8)


def slice_name(index: int, slices: int) -> str:
    """A slice's name on pages and pictures."""
    return f"slice {index + 1} of {slices}"


def ct_drawing(
    scan: CTScan, numbered: NDArray, findings: Sequence[Mapping[str, Any]], chosen: Sequence[int]
) -> list[dict[str, Any]]:
    """What the page's ``scan`` macro draws of the chosen slices.

    Args:
        scan: the CT.
        numbered: (H, W, K), each finding's number where it is.
        findings: as in ``result.json``.
        chosen: indices of slices.

    Returns:
        One dict per slice.
    """
    rows, columns, slices = scan.pixels.shape
    aspect = scan.spacing[0] / scan.spacing[1]
    largest = {finding["number"]: finding["slice"] - 1 for finding in findings}
    drawn = []
    for index in chosen:
        parts = []
        for number in np.unique(numbered[..., index])[1:].tolist():
            inside = numbered[..., index] == number
            places = np.argwhere(inside)
            right = places[:, 1].max() + 4 < 0.93 * columns
            parts.append(
                {
                    "number": number,
                    "linked": largest[number] == index,
                    "path": svg_path(outlines(inside), aspect),
                    "x": int(places[:, 1].max() + 4 if right else places[:, 1].min() - 3),
                    "y": round(float(places[:, 0].mean() + 0.5) * aspect, 1),
                    "anchor": "start" if right else "end",
                }
            )
        drawn.append(
            {
                "name": slice_name(index, slices),
                "sides": SIDES["axial"],
                "image": data_uri(png_bytes(window_gray(scan, index))),
                "width": columns,
                "height": round(rows * aspect, 1),
                "findings": parts,
                "truth": "",
                "ignore": "",
            }
        )
    return drawn


def ct_figure(scan: CTScan, numbered: NDArray, chosen: Sequence[int], *, title: str = "") -> Figure:
    """The chosen slices side by side with outlines and numbers.

    Args:
        scan: the CT.
        numbered: (H, W, K), each finding's number where it is.
        chosen: indices of slices.
        title: one line above.

    Returns:
        The figure; `bonemets.reporting.figures.figure_png` turns it into bytes.
    """
    rows, columns, slices = scan.pixels.shape
    across = min(len(chosen), COLUMNS)
    down = math.ceil(len(chosen) / across)
    height = 4.0 * rows * scan.spacing[0] / (columns * scan.spacing[1]) + 0.3
    figure = Figure(figsize=(4.0 * across, height * down + 0.4), dpi=100, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for place, index in enumerate(chosen, start=1):
        axes = figure.add_subplot(down, across, place)
        axes.imshow(
            window_gray(scan, index), cmap="gray", vmin=0, vmax=255, aspect=scan.spacing[0] / scan.spacing[1],
            interpolation="bilinear",
        )  # fmt: skip
        axes.set_title(slice_name(index, slices), fontsize=11)
        axes.set_axis_off()
        for x, align, side in zip((0.02, 0.98), ("left", "right"), SIDES["axial"], strict=True):
            axes.text(
                x, 0.98, side, transform=axes.transAxes, ha=align, va="top", fontsize=12, weight="bold", color="white"
            )
        for number in np.unique(numbered[..., index])[1:]:
            inside = numbered[..., index] == number
            axes.add_collection(LineCollection(outlines(inside), colors=PREDICTION_COLOR, linewidths=1.4))
            edge = np.argwhere(inside)
            axes.text(
                edge[:, 1].max() + 4, edge[:, 0].mean(), str(number), va="center", fontsize=10, color=PREDICTION_COLOR,
                path_effects=HALO, clip_on=True,
            )  # fmt: skip
    if title:
        figure.suptitle(title, fontsize=12)
    return figure
