"""The figure of the study of active learning: measures against the number of corrected scans."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

REFERENCE = "everything"
MEASURES = {
    "froc_sensitivity_at_1": "recall at 1 false positive per scan",
    "sensitivity_iou10": "recall at probability 0.5",
    "dice_pooled": "Dice, pooled",
}
NAMES = {
    "random": "random",
    "mean_entropy": "mean entropy",
    "test_time_disagreement": "test-time disagreement",
    "mutual_information": "mutual information",
    "view_disagreement": "view disagreement",
    "diversity": "diversity",
    "uncertain_and_diverse": "uncertain and diverse",
    REFERENCE: "everything at once",
}
# Okabe and Ito's palette, told apart with any color vision; random in black.
COLORS = dict(
    zip(NAMES, ("black", "#0072b2", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#e69f00", "#6b6b6b"), strict=True)
)
# Least distance of two labels, as a share of the axis.
LABEL_GAP = 0.05


def curves_figure(record: dict[str, Any]) -> Figure:
    """Recall and Dice against the number of corrected scans.

    Args:
        record: what ``results/active_learning.yaml`` holds.
    """
    figure = Figure(figsize=(11.5, 4.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for number, measure in enumerate(("froc_sensitivity_at_1", "dice_pooled"), start=1):
        draw(figure.add_subplot(1, 2, number), record, measure)
    return figure


def curves_svg(record: dict[str, Any]) -> bytes:
    """The figure as SVG, the same for the same numbers."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "active learning", "svg.fonttype": "path"}):
        curves_figure(record).savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def draw(axes: Axes, record: dict[str, Any], measure: str) -> None:
    """One measure: a line for each strategy, named at its end."""
    recipe = record["recipe"]
    corrected = recipe["start"] + recipe["each_round"] * np.arange(recipe["rounds"] + 1)
    shown = [name for name in NAMES if any(name in seed for seed in record["seeds"].values())]
    ends = {}
    for order, name in enumerate(shown):
        values = np.array([seed[name][measure] for seed in record["seeds"].values() if name in seed])
        middle = values.mean(axis=0)
        line, width = ":" if name == REFERENCE else "-", 2.6 if name == "random" else 1.6
        axes.plot(
            corrected, middle, color=COLORS[name], linestyle=line, linewidth=width, marker="o", markersize=3.5, zorder=3
        )
        if len(values) > 1:
            aside = corrected[1:] + (order - len(shown) / 2) * 0.12
            low, high = values[:, 1:].min(axis=0), values[:, 1:].max(axis=0)
            axes.vlines(aside, low, high, color=COLORS[name], linewidth=1, alpha=0.5)
        ends[name] = middle[-1]
    low, high = axes.get_ylim()
    places = spread(list(ends.values()), LABEL_GAP * (high - low))
    for (name, end), place in zip(ends.items(), places, strict=True):
        label = corrected[-1] + 0.04 * (corrected[-1] - corrected[0])
        axes.plot([corrected[-1], label], [end, place], color=COLORS[name], linewidth=0.7, clip_on=False)
        bold = "bold" if name == "random" else "normal"
        axes.text(label, place, f" {NAMES[name]}", color=COLORS[name], va="center", fontsize=9.5, fontweight=bold)
    axes.set_title(MEASURES[measure], fontsize=11, loc="left")
    axes.set_xlabel("corrected scans")
    axes.set_xticks(corrected)
    axes.set_xlim(corrected[0] - 0.5, corrected[-1] + 0.2)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)


def spread(places: list[float], gap: float) -> list[float]:
    """Places for labels, near the given ones, in the same order, and at least `gap` apart."""
    order = np.argsort(places, kind="stable")
    wished = np.asarray(places, dtype=float)[order] - gap * np.arange(len(places))
    # What is wished must not fall: the means of blocks that would are the nearest that does not (isotonic regression).
    blocks: list[list[float]] = []
    for wish in wished:
        blocks.append([wish])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    found = np.concatenate([np.full(len(block), np.mean(block)) for block in blocks]) + gap * np.arange(len(places))
    result = np.empty(len(places))
    result[order] = found
    return [float(value) for value in result]
