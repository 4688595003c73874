"""Figures of an evaluation: Dice, FROC, lesion size, agreement and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from bonemets.metrics.evaluation.cohort import Totals
from bonemets.metrics.evaluation.evaluation import Evaluation
from bonemets.metrics.evaluation.lesion_formulas import froc_curve
from bonemets.metrics.evaluation.measures import CRITERION_LABELS
from bonemets.metrics.froc import RATES, sensitivity_at

BLUE, VERMILLION, GREEN, SKY, GRAY = "#0072b2", "#d55e00", "#009e73", "#56b4e9", "#6b6b6b"
CRITERION_COLORS = (SKY, BLUE, "#003f66")


def new_figure(width: float = 5.6, height: float = 3.7, panels: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure in this package's style and its panels, side by side; sizes in inches."""
    figure = Figure(figsize=(width, height), dpi=170, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, panels, index + 1) for index in range(panels)]
    for one in axes:
        one.grid(color="#e6e6e6", linewidth=0.8)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def dice_figure(evaluation: Evaluation) -> Figure:
    """How the lesion Dice is spread over the lesion-bearing images."""
    cohort = evaluation.cohort
    values = cohort.images["dice"][cohort.bearing]
    figure, (axes,) = new_figure()
    axes.hist(values, bins=np.linspace(0, 1, 21).tolist(), color=BLUE, edgecolor="white", linewidth=0.8)
    for value, style, name in ((np.mean(values), "-", "mean"), (np.median(values), "--", "median")):
        axes.axvline(value, color=VERMILLION, linestyle=style, linewidth=1.6, label=f"{name} {value:.2f}")
    axes.set(xlim=(0, 1), xlabel="lesion Dice of an image", ylabel="lesion-bearing images")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=9)
    return figure


def froc_figure(evaluation: Evaluation) -> Figure:
    """Sensitivity against false positives per scan; for masks the one point that they are."""
    figure, (axes,) = new_figure()
    if evaluation.cohort.has_probability:
        rates = tuple(np.geomspace(0.1, 16, 200))
        once = Totals(evaluation.cohort)
        sensitivity, false_positives = froc_curve(once)
        axes.plot(rates, sensitivity_at(sensitivity, false_positives, rates)[0], color=BLUE, linewidth=1.8)
        if evaluation.weights is not None:
            drawn = froc_curve(Totals(evaluation.cohort, evaluation.weights))
            low, high = np.nanquantile(sensitivity_at(*drawn, rates), (0.025, 0.975), axis=0)
            axes.fill_between(rates, low, high, color=BLUE, alpha=0.16, linewidth=0, label="95 % interval")
    x, y = evaluation["false_positives_per_scan_iou10"].value, evaluation["sensitivity_iou10"].value
    label = f"threshold {evaluation.settings['threshold']:g}" if evaluation.cohort.has_probability else "the masks"
    axes.plot(np.clip(x, 0.1, 16), y, "o", color=VERMILLION, markersize=7, label=label, clip_on=False, zorder=5)
    axes.set_xscale("log")
    axes.set_xticks(RATES)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlim=(0.1, 16), ylim=(0, 1), xlabel="false positives per scan", ylabel="sensitivity (IoU ≥ 0.1)")
    axes.legend(frameon=False, fontsize=9, loc="lower right" if np.nan_to_num(y) > 0.4 else "upper left")
    return figure


def size_figure(evaluation: Evaluation) -> Figure:
    """Sensitivity by lesion size at the three criteria."""
    rows = evaluation.breakdowns["size"]
    figure, (axes,) = new_figure()
    places = np.arange(len(rows))
    for index, ((criterion, label), color) in enumerate(zip(CRITERION_LABELS, CRITERION_COLORS, strict=True)):
        value, low, high = np.array([row.sensitivity[criterion] for row in rows]).T
        at = places + (index - 1) * 0.26
        axes.bar(at, np.nan_to_num(value), width=0.24, color=color, label=label)
        axes.vlines(at, low, high, color="#1d2733", linewidth=1.1)
    axes.set_xticks(places, [f"{row.group}\n{row.lesions} lesions" for row in rows])
    axes.grid(axis="x", visible=False)
    axes.set(ylim=(0, 1.0), ylabel="sensitivity")
    figure.legend(
        *axes.get_legend_handles_labels(), frameon=False, fontsize=9, ncols=3, loc="outside upper center",
        handlelength=1.2,
    )  # fmt: skip
    return figure


def agreement_figure(evaluation: Evaluation) -> Figure:
    """Bland-Altman plots of lesion count and lesion area per scan."""
    cohort = evaluation.cohort
    figure, panels = new_figure(width=11.6, panels=2)
    pairs: tuple[tuple[str, str, Any, Any], ...] = (
        ("count", "lesions", cohort.columns["findings_any"], cohort.columns["lesions_any"]),
        ("burden", "lesion area, cm²", cohort.area_predicted / 100, cohort.area_true / 100),
    )
    for axes, (key, what, measured, true) in zip(panels, pairs, strict=True):
        axes.scatter((measured + true) / 2, measured - true, s=18, color=BLUE, alpha=0.6, linewidths=0)
        axes.axhline(0, color=GRAY, linewidth=0.8)
        for part, style, name in (
            ("upper", "--", "upper limit"),
            ("bias", "-", "bias"),
            ("lower", "--", "lower limit"),
        ):
            value = evaluation[f"{key}_{part}"].value
            axes.axhline(value, color=VERMILLION, linestyle=style, linewidth=1.4)
            axes.annotate(
                f"{name} {value:+.2f}", (1, value), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                textcoords="offset points", ha="right", fontsize=9, color=VERMILLION,
            )  # fmt: skip
        axes.set(xlabel=f"{what} per scan, mean of predicted and true", ylabel="predicted minus true")
        axes.margins(y=0.12)
    return figure


def calibration_figure(evaluation: Evaluation) -> Figure:
    """Share of lesion pixels against the predicted probability, and how many pixels there are."""
    totals = Totals(evaluation.cohort)
    pixels, probability, lesion = (totals[f"{part}_all"][0] for part in ("pixels", "probability", "lesion"))
    used = pixels > 0
    figure = Figure(figsize=(5.6, 3.7), dpi=170, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot((0, 1), (0, 1), color=GRAY, linewidth=1, linestyle="--", label="perfect")
    upper.plot(
        probability[used] / pixels[used], lesion[used] / pixels[used], "o-", color=BLUE, markersize=4, label="model"
    )
    upper.set(ylim=(0, 1), ylabel="share that is lesion")
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    edges = np.linspace(0, 1, len(pixels) + 1)
    lower.bar(edges[:-1], pixels, width=np.diff(edges), align="edge", color=SKY, edgecolor="white", linewidth=0.6)
    lower.set_yscale("log")
    lower.set(xlim=(0, 1), xlabel="predicted probability", ylabel="pixels")
    for axes in (upper, lower):
        axes.grid(color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
