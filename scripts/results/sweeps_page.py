"""docs/reference/measured-sweeps.md: the sweeps' models side by side, with intervals and paired tests."""

from __future__ import annotations

from collections.abc import Mapping

from bonemets.sweep.page import COMPARED_NAMES
from bonemets.sweep.summary import COMPARISONS, FIGURE, INTERVALS, SHOWN, SweepSummary
from results_page import anchor
from results_tables import DASH, table

NOTICE = "<!-- Written by scripts/results/make_tables.py from results/sweeps/; change the records, not this file. -->"
INTRODUCTION = """\
Models that were trained and measured alike, on the same patients. Each number links to its record, which says on what
data, with which seeds and how it differs from the paper; [metrics](metrics.md) defines the columns. *Mean ± standard
deviation* is over seeds: how far training varies. *95 % intervals* are over patients: how far other patients would move
the number. The tests compare each patient with itself (Wilcoxon's signed-rank test, Holm's correction over all rows of
the table). [Sweep](../how-to/sweep.md) says how to run them."""


def sweeps_page(sweeps: Mapping[str, SweepSummary]) -> str:
    """The page."""
    lines = ["# Measured sweeps", "", NOTICE, "", INTRODUCTION, ""]
    if not sweeps:
        lines += ["None yet.", ""]
    for folder, sweep in sweeps.items():
        lines += _sweep(folder, sweep)
    return "\n".join(lines)


def _sweep(folder: str, sweep: SweepSummary) -> list[str]:
    about, place = sweep.about, f"../../results/sweeps/{folder}"
    part = "test patients" if about["section"] == "test" else "held-out folds"
    if about["pooled"]:
        part += ", pooled: each patient predicted once, by the network that did not train on it"
    kind = "**simulated**" if about["simulated"] else "real"
    trials = about["trials"]
    lines = (
        [f"## {about['name']}", "", about["description"], ""] if about["description"] else [f"## {about['name']}", ""]
    )
    lines += [
        f"Data: {about['data']} ({kind}), {about['patients']} patients, {about['images']} images "
        f"({about['images'] / about['patients']:g} make a scan); {part}. Split `{about['split_sha256'][:12]}`. "
        f"{trials['finished']} of {trials['planned']} trainings are finished. "
        f"Specification: [{folder}.yaml](../../results/sweeps/{folder}.yaml).",
        "",
    ]  # fmt: skip
    shown = [(key, name) for key, name in SHOWN if any(row[key] for row in sweep.models)]
    rows = [
        [
            f"[{row['model']}](published-and-measured.md#{anchor(row['record'])})",
            row["measurements"],
            *(_spread(row, key) for key, _ in shown),
            *(_interval(row, key) for key in INTERVALS),
            f"{float(row['hours']):.1f}",
        ]
        for row in sweep.models
    ]
    names = dict(SHOWN)
    headings = ["model", "seeds", *(name for _, name in shown)]
    headings += [f"{names[key]}: mean over patients, 95 % interval" for key in INTERVALS]
    lines += [*table([*headings, "hours"], rows, len(headings)), ""]
    lines += [f"![{about['name']}: every measurement, and the mean over patients]({place}/{FIGURE})", ""]
    tests = [row for row in sweep.comparisons if int(row["patients"])]
    if tests:
        lines += [f"Against `{sweep.models[0]['model']}` ([{COMPARISONS}]({place}/{COMPARISONS})):", ""]
        rows = [
            [
                row["model"],
                COMPARED_NAMES[row["metric"]],
                row["patients"],
                f"{float(row['difference']):+.3f}",
                f"{float(row['low']):+.3f} to {float(row['high']):+.3f}" if row["low"] else DASH,
                _p(row["p"]),
                _p(row["p_holm"]),
            ]
            for row in tests
        ]
        lines += table(["model", "metric", "patients", "difference", "95 % interval", "p", "p, corrected"], rows, 5)
        lines += [""]
    return lines


def _spread(row: Mapping[str, str], key: str) -> str:
    if not row[key]:
        return DASH
    return f"{float(row[key]):.3f}" + (f" ± {float(row[f'{key} sd']):.3f}" if row[f"{key} sd"] else "")


def _interval(row: Mapping[str, str], key: str) -> str:
    if not row[f"{key} low"]:
        return DASH
    return f"{float(row[f'{key} patients']):.3f} ({float(row[f'{key} low']):.3f}{DASH}{float(row[f'{key} high']):.3f})"


def _p(value: str) -> str:
    if not value:
        return DASH
    return "< 0.001" if float(value) < 0.001 else f"{float(value):.3f}"
