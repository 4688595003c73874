"""The page, tables and figures of a comparison of two runs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bonemets.data.files import write_bytes
from bonemets.data.tables import csv_bytes
from bonemets.reporting.comparison.runs import kept_step, shared_pictures
from bonemets.reporting.comparison.tracked_runs import RunStore, TrackedRun
from bonemets.reporting.display import data_uri
from bonemets.reporting.evaluation.figures import BLUE, GRAY, VERMILLION, new_figure
from bonemets.reporting.evaluation.page import significant
from bonemets.reporting.figures import figure_png
from bonemets.reporting.pages import render_page

# Curves that the page shows, as far as both runs have them, and what they are.
CURVES = {
    "train_loss": "training loss",
    "val_lesion_dice": "validation: lesion Dice, pooled",
    "val_froc_sensitivity_at_1": "validation: lesion recall at 1 FP per scan",
}
# Patients that the page lists at either end.
ENDS = 5
# Figure: column of the table of patients, and name of the axis.
SCATTERED = (
    ("froc_sensitivity_at_1", "lesion recall at 1 FP per scan"),
    ("dice_per_image_bearing", "lesion Dice"),
    ("false_positives_iou10", "false positives"),
)
ROWS = (
    ("experiment", "Experiment"), ("stage", "Stage"), ("bundle", "Bundle"), ("network", "Network"),
    ("overlays", "Overlays"), ("epoch", "Epoch of the weights"), ("commit", "Commit"), ("weights", "Weights"),
    ("configuration", "Configuration"), ("status", "Ended"), ("started", "Started"), ("duration", "Took"),
)  # fmt: skip


def write_comparison(
    output: Path, document: Mapping[str, Any], store: RunStore, first: TrackedRun, second: TrackedRun
) -> None:
    """Write comparison.json, comparisons.csv, patients.csv and index.html, each whole or not at all.

    Args:
        output: the folder.
        document: what `bonemets.reporting.comparison.runs.compare_runs` returned.
        store: where the runs' pictures are.
        first: a run.
        second: the other one.
    """
    write_bytes(output / "comparisons.csv", csv_bytes([_defined(row) for row in document["metrics"]]))
    write_bytes(output / "patients.csv", csv_bytes([_defined(row) for row in document["patients"]]))
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(output / "comparison.json", text.encode("utf-8"))
    page = render_comparison(document, store, first, second)
    write_bytes(output / "index.html", page.encode("utf-8"))


def render_comparison(document: Mapping[str, Any], store: RunStore, first: TrackedRun, second: TrackedRun) -> str:
    """The page; arguments as in `write_comparison`."""
    patients = document["patients"]
    ranked = [row for row in patients if row.get("dice_per_image_bearing_difference") is not None]
    changed = [row for row in ranked if row["dice_per_image_bearing_difference"] != 0]
    losses = [row for row in changed if row["dice_per_image_bearing_difference"] < 0][:ENDS]
    gains = [row for row in reversed(changed) if row["dice_per_image_bearing_difference"] > 0][:ENDS]
    curves = [name for name in CURVES if name in first.curves and name in second.curves]
    names = (first.name, second.name)
    return render_page(
        "compare.html.j2",
        document=document,
        rows=[row for row in (_facts(document, key, title) for key, title in ROWS) if row is not None],
        metrics=[_metric_row(metric) for metric in document["metrics"]],
        parameters=[row for row in document["parameters"] if not row["place"]],
        places=[row for row in document["parameters"] if row["place"]],
        scatter=data_uri(figure_png(patients_figure(patients, names))) if ranked else None,
        curves=data_uri(figure_png(curves_figure(first, second, curves))) if curves else None,
        ends=[("Worse", losses), ("Better", gains)],
        case_columns=[(column, name) for column, name in SCATTERED if f"{column}_first" in (patients or [{}])[0]],
        pictures=_pictures(store, first, second),
        significant=significant,
        p_value=p_value,
    )


def p_value(p: float) -> str:
    """A p value for a table: never 0."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def patients_figure(patients: Sequence[Mapping[str, Any]], names: tuple[str, str]) -> Figure:
    """A dot per patient, first run across and second run up: above the line the second has more."""
    shown = [(c, name) for c, name in SCATTERED if any(row.get(f"{c}_first") is not None for row in patients)]
    figure, panels = new_figure(3.9 * len(shown), 3.9, panels=len(shown))
    for axes, (column, title) in zip(panels, shown, strict=True):
        pairs = [(row.get(f"{column}_first"), row.get(f"{column}_second")) for row in patients]
        known = [(x, y) for x, y in pairs if x is not None and y is not None]
        more_is_worse = column.startswith("false")
        _scatter(axes, known, more_is_worse)
        top = 1.0 if not more_is_worse else max([1.0, *(value for pair in known for value in pair)])
        axes.plot((0, top), (0, top), color=GRAY, linewidth=1, linestyle="--", zorder=1)
        margin = 0.04 * top
        axes.set(xlim=(-margin, top + margin), ylim=(-margin, top + margin), title=title)
        axes.set(xlabel=f"A: {_short(names[0])}", ylabel=f"B: {_short(names[1])}")
        axes.set_aspect("equal")
        axes.title.set_fontsize(10)
        if more_is_worse:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=9, ncols=3, loc="outside lower center"
    )
    return figure


def _scatter(axes: Axes, pairs: Sequence[tuple[float, float]], more_is_worse: bool) -> None:
    # Filled and hollow as well as blue and vermillion: told apart in gray.
    groups = (("B is better", BLUE, True), ("B is worse", VERMILLION, False), ("no difference", GRAY, None))
    for label, color, better in groups:
        found = [(x, y) for x, y in pairs if (None if x == y else (y > x) != more_is_worse) is better]
        face = "none" if better is False else color
        axes.scatter(
            [x for x, _ in found], [y for _, y in found], s=26, facecolors=face, edgecolors=color, alpha=0.75,
            label=label, zorder=3, clip_on=False,
        )  # fmt: skip


def curves_figure(first: TrackedRun, second: TrackedRun, names: Sequence[str]) -> Figure:
    """Learning curves of both runs; a mark at the epoch whose weights each kept."""
    figure, panels = new_figure(3.9 * len(names), 3.1, panels=len(names))
    for axes, name in zip(panels, names, strict=True):
        for run, color, style, letter in ((first, VERMILLION, "--", "A"), (second, BLUE, "-", "B")):
            steps, values = zip(*run.curves[name], strict=True)
            axes.plot(steps, values, style, color=color, linewidth=1.6, label=f"{letter}: {_short(run.name)}")
            kept = [(step, value) for step, value in run.curves[name] if step == run.metrics.get("best_epoch")]
            axes.plot([step for step, _ in kept], [value for _, value in kept], "o", color=color, markersize=6)
        axes.set(xlabel="epoch", title=CURVES[name])
        axes.title.set_fontsize(10)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if name != "train_loss":
            axes.set_ylim(0, 1)
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=9, ncols=2, loc="outside lower center"
    )
    return figure


def _pictures(store: RunStore, first: TrackedRun, second: TrackedRun) -> list[dict[str, Any]]:
    """The scans that both drew, side by side, at the weights that each kept."""
    shown = []
    for scan in shared_pictures(first, second):
        sides = []
        for letter, run in (("A", first), ("B", second)):
            step = kept_step(run, scan)
            when = f", epoch {step}" if run.tags.get("stage") == "train" else ""
            sides.append({"title": f"{letter}{when}", "image": data_uri(store.picture(run, scan, step))})
        shown.append({"name": scan.replace("_", " "), "sides": sides})
    return shown


def _facts(document: Mapping[str, Any], key: str, title: str) -> dict[str, Any] | None:
    """One line of the table of runs; None where neither run knows it."""
    values = []
    for side in ("first", "second"):
        run = document[side]
        value = _minutes(run["seconds"]) if key == "duration" else run[key]
        if key == "epoch" and value is not None:
            value = int(value)
        if key in ("commit", "weights", "configuration") and value:
            # Enough to tell them apart; comparison.json has all of it.
            value = value[:12] + ("+changes" if value.endswith("+changes") else "")
        values.append(value)
    if values == [None, None]:
        return None
    shown = ["–" if value is None else value for value in values]
    return {"title": title, "values": shown, "differs": key not in ("started", "duration") and shown[0] != shown[1]}


def _metric_row(metric: Mapping[str, Any]) -> dict[str, Any]:
    clear = metric["p_holm"] is not None and metric["p_holm"] < 0.05
    better = None
    if clear and metric["difference"]:
        better = "B" if (metric["difference"] > 0) == metric["higher_is_better"] else "A"
    return {**metric, "better": better}


def _minutes(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _short(name: str, length: int = 34) -> str:
    """A run's name for an axis: the end of a long one tells trials of a sweep apart."""
    return name if len(name) <= length else f"…{name[-length + 1 :]}"


def _defined(row: Mapping[str, Any]) -> dict[str, Any]:
    """None as NaN, which is an empty cell in a CSV file."""
    return {key: math.nan if value is None else value for key, value in row.items()}
