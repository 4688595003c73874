"""Write what the study of active learning found: the record of its numbers, the figure, and the page in the docs.

With the study's folder the numbers are gathered from it first; without, figure and page are made from the record::

    python scripts/active_learning/active_learning_page.py [WORK]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from active_learning_figure import MEASURES, NAMES, REFERENCE, curves_svg
from bonemets.data.files import write_bytes
from bonemets.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "results" / "active_learning_recipe.yaml"
TEMPLATE = Path(__file__).with_name("active_learning_template.md")
RECORD = ROOT / "results" / "active_learning.yaml"
PAGE = ROOT / "docs" / "explanation" / "active-learning.md"
FIGURE = PAGE.parent / "images" / "active-learning.svg"
PRIMARY, FALSE_POSITIVES = "froc_sensitivity_at_1", "false_positives_per_scan_iou10"
HEADER = """# The study of active learning: every number, for every seed and strategy; round 0 is the common start.
#   python scripts/active_learning/active_learning_study.py results/active_learning_recipe.yaml COHORT WORK
#   python scripts/active_learning/active_learning_page.py WORK
"""

Record = dict[str, Any]


def gather(work: Path, recipe: Record) -> Record:
    """All numbers that a study has left so far.

    Args:
        work: the study's folder.
        recipe: its recipe.

    Returns:
        The record. Strategies whose rounds are not all done are named in ``unfinished`` and left out.

    Raises:
        InputError: if none is done.
    """
    seeds: dict[int, Record] = {}
    unfinished: dict[int, list[str]] = {}
    steps: list[Record] = []
    choosing: dict[str, list[float]] = {}
    for seed in recipe["seeds"]:
        folder = work / f"seed_{seed}"
        for strategy in recipe["strategies"]:
            paths = [folder / "start.json"]
            paths += [folder / strategy / f"round_{number}.json" for number in range(1, recipe["rounds"] + 1)]
            if not all(path.is_file() for path in paths):
                unfinished.setdefault(seed, []).append(strategy)
                continue
            rounds = [json.loads(path.read_text("utf-8")) for path in paths]
            steps += rounds[1:]
            choosing.setdefault(strategy, []).extend(step["cpu_seconds"]["choosing"] for step in rounds[1:])
            seeds.setdefault(seed, {})[strategy] = {
                "patients": [len(step["labeled"]) for step in rounds],
                "lesions_drawn": [step["lesions_labeled"] for step in rounds],
                **{key: [round(step["measures"][key], 4) for step in rounds] for key in (*MEASURES, FALSE_POSITIVES)},
            }
    if not seeds:
        raise InputError(f"{work}: no strategy has all its rounds yet; run the study first")
    starts = [json.loads((work / f"seed_{seed}" / "start.json").read_text("utf-8")) for seed in seeds]
    machines = {json.dumps(step["machine"], sort_keys=True) for step in [*starts, *steps]}
    dropout = work / "dropout.json"
    total = sum(sum(step["cpu_seconds"].values()) for step in [*starts, *steps])
    return {
        "recipe": recipe,
        "lesions_tested": starts[0]["measures"]["lesions"],
        "datalist_sha256": json.loads((work / "study.json").read_text("utf-8"))["datalist_sha256"],
        "machines": [json.loads(machine) for machine in sorted(machines)],
        "cpu_hours": round(total / 3600, 3),
        "cpu_seconds": {
            "start": mean([step["cpu_seconds"]["training"] for step in starts]),
            "training_a_round": mean([step["cpu_seconds"]["training"] for step in steps]),
            "testing_a_round": mean([step["cpu_seconds"]["testing"] for step in steps]),
            "choosing_a_round": {strategy: mean(seconds) for strategy, seconds in choosing.items()},
        },
        "unfinished": unfinished,
        "seeds": seeds,
        "dropout": json.loads(dropout.read_text("utf-8")) if dropout.is_file() else None,
        "comparison": {key: compare(seeds, key) for key in MEASURES},
    }


def mean(values: list[float]) -> float:
    """The mean to two digits after the point."""
    return round(float(np.mean(values)), 2) if values else 0.0


def area(values: list[float]) -> float:
    """Mean height of a curve, by trapezoids; rounds are equally far apart."""
    return float(np.trapezoid(values) / (len(values) - 1))


def compare(seeds: dict[int, Record], measure: str) -> Record:
    """Each strategy's area under its curve minus random's of the same seed, for the seeds that have both."""
    found: Record = {}
    strategies = dict.fromkeys(strategy for curves in seeds.values() for strategy in curves)
    for strategy in strategies:
        both = [seed for seed, curves in seeds.items() if strategy in curves and "random" in curves]
        areas = [area(seeds[seed][strategy][measure]) for seed in both]
        against = [area(seeds[seed]["random"][measure]) for seed in both]
        found[strategy] = {
            "seeds": both,
            "areas": [round(value, 4) for value in areas],
            "differences": [round(one - other, 4) for one, other in zip(areas, against, strict=True)],
        }
    return found


def table(record: Record) -> str:
    """Strategies by rows: the last round's measures, what was drawn, and areas against random seed by seed."""
    head = [*(MEASURES[key] for key in MEASURES), "lesions drawn", "area of recall against random, by seed", "seconds"]
    lines = ["| strategy | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for strategy in record["recipe"]["strategies"]:
        curves = [seed[strategy] for seed in record["seeds"].values() if strategy in seed]
        if not curves:
            continue
        cells = [span([curve[key][-1] for curve in curves], "{:.2f}") for key in MEASURES]
        cells.append(span([curve["lesions_drawn"][-1] for curve in curves], "{:.0f}"))
        differences = record["comparison"][PRIMARY].get(strategy, {}).get("differences", [])
        cells.append("–" if strategy == "random" else ", ".join(f"{value:+.3f}" for value in differences))
        cells.append(f"{record['cpu_seconds']['choosing_a_round'][strategy]:.1f}")
        lines.append(f"| {NAMES[strategy]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def span(values: list[float], form: str) -> str:
    """The mean, and the least and the greatest where there are several."""
    low, middle, high = (form.format(function(values)) for function in (min, np.mean, max))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def verdict(record: Record) -> str:
    """Who wins, from the areas under the curves of the primary measure."""
    compared = {
        strategy: entry["differences"]
        for strategy, entry in record["comparison"][PRIMARY].items()
        if strategy not in ("random", REFERENCE) and entry["differences"]
    }
    number = max((len(differences) for differences in compared.values()), default=0)
    if not number:
        return "No strategy has been compared with random yet."

    def named(rule: Callable[[list[float]], bool]) -> str:
        return ", ".join(NAMES[strategy] for strategy, differences in compared.items() if rule(differences)) or "none"

    best = max(compared, key=lambda strategy: float(np.mean(compared[strategy])))
    gain = float(np.mean(compared[best]))
    first = (
        f"**Random wins**: no strategy has a greater mean area; {NAMES[best]} comes next ({gain:+.3f})."
        if gain <= 0
        else f"On average, **{NAMES[best]}** is first ({gain:+.3f} in recall against random)."
    )
    seeds = {1: "the only seed", 2: "both seeds"}.get(number, f"all {number} seeds")
    lines = [
        f"{first} Better than random in {seeds}: {named(lambda d: min(d) > 0)}.\n"
        f"Worse in {seeds}: {named(lambda d: max(d) < 0)}.",
        f"Of {len(compared)} strategies without any effect, {len(compared) * 0.5**number:.1f} would beat random in\n"
        f"{seeds} by chance, so this ranks strategies but proves nothing about any of them.",
    ]
    return "\n\n".join(lines)


def unfinished(record: Record) -> str:
    """Which seeds are done."""
    done = [seed for seed in record["recipe"]["seeds"] if seed not in record["unfinished"]]
    text = f"Seeds done: {', '.join(map(str, done)) or 'none'}."
    for seed, strategies in record["unfinished"].items():
        some = strategies if len(strategies) < len(record["recipe"]["strategies"]) else ["all strategies"]
        text += f" **Not done of seed {seed}**: {', '.join(NAMES.get(name, name) for name in some)}."
    return text


def headroom(record: Record) -> str:
    """How much all labels would bring, for the size of the differences."""
    entry = record["comparison"][PRIMARY].get(REFERENCE)
    if not entry:
        return ""
    last = [
        seed[REFERENCE][PRIMARY][-1] - seed["random"][PRIMARY][-1] for seed in map(record["seeds"].get, entry["seeds"])
    ]
    patients = next(iter(record["seeds"].values()))[REFERENCE]["patients"][-1]
    return (
        f"Upper bound: with the masks of all {patients} patients from the first round on, and the same number of\n"
        f"steps, recall after the last round is {span(last, '{:+.2f}')} against random's."
    )


def dropout_table(found: Record | None) -> str:
    """What Monte Carlo dropout says of weights that were trained without dropout."""
    if not found:
        return "Not measured yet."
    rows = [
        "| trained | mean entropy | mutual information | rank correlation | Dice, dropout off → on |",
        "|---" * 5 + "|",
    ]
    for name, key in (("with dropout", "trained_with_dropout"), ("without", "trained_without")):
        entry = found[key]
        dice = f"{entry['dice_pooled']:.2f} → {entry['dice_pooled_with_dropout_on']:.2f}"
        bits = f"{entry['mean_entropy']:.5f} | {entry['mutual_information']:.5f}"
        rows.append(f"| {name} | {bits} | {entry['rank_correlation']:.2f} | {dice} |")
    return "\n".join(rows)


def page(record: Record) -> str:
    """The page."""
    recipe, seconds, machine = record["recipe"], record["cpu_seconds"], record["machines"][-1]
    commits = {str(each["commit"]) for each in record["machines"]}
    return TEMPLATE.read_text("utf-8").format(
        **recipe,
        kind=recipe["network"]["_target_"],
        widths=", ".join(map(str, recipe["network"]["features"])),
        dropout=recipe["network"]["dropout"],
        verdict=verdict(record),
        headroom=headroom(record),
        table=table(record),
        unfinished=unfinished(record),
        dropout_table=dropout_table(record["dropout"]),
        end=recipe["start"] + recipe["rounds"] * recipe["each_round"],
        steps=recipe["start_steps"] + recipe["rounds"] * recipe["round_steps"],
        lesions=record["lesions_tested"],
        hours=record["cpu_hours"],
        start_seconds=seconds["start"],
        training_seconds=seconds["training_a_round"],
        testing_seconds=seconds["testing_a_round"],
        datalist=record["datalist_sha256"][:16],
        machine=f"{machine['processor']}, torch {machine['torch']}",
        commits=", ".join(sorted(commit[:10] + commit[40:] for commit in commits)),
    )


def main() -> None:
    """Gather if asked to, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, nargs="?", help="folder of the study")
    work = parser.parse_args().work
    if work is not None:
        record = gather(work, yaml.safe_load(RECIPE.read_text("utf-8")))
        text = yaml.safe_dump(record, sort_keys=False, width=140, default_flow_style=None)
        write_bytes(RECORD, (HEADER + text).encode())
    record = yaml.safe_load(RECORD.read_text("utf-8"))
    FIGURE.parent.mkdir(exist_ok=True)
    write_bytes(FIGURE, curves_svg(record))
    write_bytes(PAGE, page(record).encode())


if __name__ == "__main__":
    main()
