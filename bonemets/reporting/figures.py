"""Figures: scans with outlines, and training curves.

Built with matplotlib's object-oriented interface alone, so that they can be made in threads, servers and training
loops without touching pyplot's global state or a display.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bonemets.metrics.lesions import IGNORE, LESION, lesion_components
from bonemets.reporting.display import SIDES, display_gray, outlines

# Vermillion, blue and gray of the Okabe-Ito palette: told apart with any color vision, and all visible on gray.
PREDICTION_COLOR, TRUTH_COLOR, IGNORE_COLOR = "#d55e00", "#0072b2", "#6b6b6b"

HALO = [withStroke(linewidth=2.5, foreground="white")]


def overlay_figure(
    pixels: NDArray,
    views: Sequence[str],
    mask: NDArray | None = None,
    truth: NDArray | None = None,
    *,
    title: str = "",
    spacing: tuple[float, float] | None = None,
    numbers: bool = False,
    height_px: int = 1200,
    in_color: bool = False,
) -> Figure:
    """A scan in inverted gray, its views side by side, or a picture in its colors, with outlines.

    Args:
        pixels: counts, (H, W, V); or a picture's colors, (H, W, 3) uint8.
        views: name of each of the V views; anterior and posterior get R and L at their sides.
        mask: predicted mask, (H, W, V), drawn in vermillion.
        truth: label map, (H, W, V): 1 lesion, drawn in blue; 2 ignore, drawn dotted in gray. With it comes a legend.
        title: one line above.
        spacing: row and column spacing in mm; only their ratio matters here.
        numbers: write 1, 2, … beside the predicted lesions, in the order of the report's table.
        height_px: height of a view in the figure.
        in_color: whether `pixels` are colors, of a single view.

    Returns:
        The figure; `figure_png` turns it into bytes.
    """
    last_axis = 3 if in_color else len(views)
    if np.ndim(pixels) != 3 or np.shape(pixels)[2] != last_axis:
        raise ValueError(f"pixels must be (H, W, {last_axis}) for views {tuple(views)}, got shape {np.shape(pixels)}")
    rows, columns, _ = np.shape(pixels)
    count = len(views)
    aspect = 1.0 if spacing is None else spacing[0] / spacing[1]
    width_px = max(round(height_px * columns / (rows * aspect)), 120)
    # Three entries side by side need 330 px or so; below a single, narrow view they stand one below the other.
    legend_columns = 3 if count * width_px > 330 else 1
    legend_height = 34 if legend_columns == 3 else 74
    gap, top, bottom = 12, 66 if title else 40, legend_height if truth is not None else 8
    total_width, total_height = count * (width_px + gap) + gap, height_px + top + bottom
    figure = Figure(figsize=(total_width / 100, total_height / 100), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    number = 0
    for index, view in enumerate(views):
        left = gap + index * (width_px + gap)
        axes = figure.add_axes(
            (left / total_width, bottom / total_height, width_px / total_width, height_px / total_height)
        )
        shown = pixels if in_color else display_gray(pixels[..., index])
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="bilinear")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color="#d0d0d0", linewidth=0.8)
        axes.set_title(view, fontsize=12, pad=6)
        for x, align, side in zip((0.02, 0.98), ("left", "right"), SIDES.get(view, ("", "")), strict=True):
            axes.text(x, 0.99, side, transform=axes.transAxes, ha=align, va="top", fontsize=13, weight="bold")
        if truth is not None:
            _draw(axes, truth[..., index] == IGNORE, IGNORE_COLOR, linestyle=":")
            # Wider than the prediction, so that both show where they coincide.
            _draw(axes, truth[..., index] == LESION, TRUTH_COLOR, width=2.6)
        if mask is not None:
            _draw(axes, mask[..., index], PREDICTION_COLOR)
            if numbers:
                number = _number(axes, mask[..., index], number)
    if title:
        figure.text(0.5, 1 - 8 / total_height, title, ha="center", va="top", fontsize=13)
    if truth is not None:
        handles = [
            Line2D([], [], color=TRUTH_COLOR, label="truth"),
            Line2D([], [], color=PREDICTION_COLOR, label="prediction"),
            Line2D([], [], color=IGNORE_COLOR, linestyle=":", label="not counted"),
        ]
        figure.legend(
            handles=handles,
            loc="lower center",
            ncols=legend_columns,
            frameon=False,
            fontsize=10,
            borderaxespad=0.2,
            columnspacing=1.2,
        )
    return figure


def _draw(axes: Any, mask: NDArray, color: str, linestyle: str = "-", width: float = 1.3) -> None:
    axes.add_collection(LineCollection(outlines(mask), colors=color, linewidths=width, linestyles=linestyle))


def _number(axes: Any, mask: NDArray, number: int) -> int:
    """Write the next numbers right of the lesions, head to feet; return the last one."""
    labels, count = lesion_components(mask)
    pixels = [np.argwhere(labels == label) for label in range(1, count + 1)]
    for places in sorted(pixels, key=lambda p: tuple(p.mean(axis=0))):
        number += 1
        x, y = places[:, 1].max() + 3, places[:, 0].mean()
        inside = x < 0.93 * mask.shape[1]
        axes.text(
            x if inside else places[:, 1].min() - 3,
            y,
            str(number),
            ha="left" if inside else "right",
            va="center",
            fontsize=9,
            color=PREDICTION_COLOR,
            path_effects=HALO,
            clip_on=True,
        )
    return number


def training_figure(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]], *, step_name: str = "epoch", title: str = ""
) -> Figure:
    """Training curves, one panel per group of curves.

    Args:
        panels: panel title → curve name → (step, value) pairs.
        step_name: what a step is.
        title: one line above.

    Returns:
        The figure, panels side by side.
    """
    figure = Figure(figsize=(4.6 * max(len(panels), 1), 3.3), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    colors = (TRUTH_COLOR, PREDICTION_COLOR, "#009e73", "#cc79a7", "#56b4e9")
    for index, (panel, curves) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), index)
        for (name, points), color in zip(curves.items(), colors * (1 + len(curves) // len(colors)), strict=False):
            steps, values = np.asarray(points, dtype=float).reshape(-1, 2).T
            marker = "o" if len(steps) < 25 else None
            axes.plot(steps, values, color=color, linewidth=1.5, marker=marker, markersize=3, label=name)
        axes.set_title(panel, fontsize=11, loc="left")
        axes.set_xlabel(step_name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if all(value >= 0 for points in curves.values() for _, value in points):
            axes.set_ylim(bottom=0)
        axes.grid(color="#e6e6e6", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        if len(curves) > 1:
            axes.legend(frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def figure_png(figure: Figure) -> bytes:
    """The figure as PNG bytes, the same for the same figure (no date, no software version inside)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
