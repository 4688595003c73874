"""Which part of a data list is evaluated: the one that was asked for, else the one that the predictions are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bonemets.data.lists.datalist import describe_part, load_datalist
from bonemets.errors import InputError
from bonemets.metrics.evaluation.matching import Case, Matches, match_predictions


@dataclass(frozen=True)
class Part:
    """The part of a data list that is evaluated, with its predictions.

    Args:
        cases: its items, each with its prediction.
        data: what it is, for the summary; see `bonemets.data.lists.datalist.describe_part`.
        notes: what the user should know: which part was chosen, and what was left out.
    """

    cases: list[Case]
    data: dict[str, Any]
    notes: tuple[str, ...]


def part_with_predictions(
    predictions: Path, datalist: Path, section: str | None = None, fold: int | None = None
) -> Part:
    """Find the predictions of a part of a data list; those of its other parts are left out.

    Args:
        predictions: folder of the predictions.
        datalist: the data list.
        section: ``"test"``, ``"validation"`` or ``"all"``. By default the test part, or the whole list if it has none;
            if the predictions do not cover that, the fold that they cover.
        fold: the fold of the validation section, by default 0; given without `section` it means that section.

    Raises:
        InputError: an item of the part has no prediction or several, or a file belongs to no item of the list.
    """
    items = load_datalist(datalist, section="all")
    matches = match_predictions(predictions, items, datalist.parent.resolve())
    if section is None and fold is not None:
        section = "validation"
    chosen = section is None
    if section is None:
        section, fold = _choose(items, matches)
    wanted = _places(items, section, fold or 0)
    if not wanted:
        which = f" with fold {fold or 0}" if section == "validation" else ""
        raise InputError(f"{datalist}: has no {section} items{which}; choose another --section or --fold")
    cases = matches.cases(items, wanted)
    others = len(matches.found.keys() - set(wanted))
    notes = []
    if chosen and len(wanted) < len(items):
        name = f"fold {fold}" if section == "validation" else f"{section} part"
        notes.append(
            f"the {name} of the data list is evaluated, {len(wanted)} of {len(items)} items; "
            "--section all takes all, --section validation --fold K one fold"
        )
    if others:
        notes.append(f"predictions of {others} items of other parts are left out")
    return Part(cases, describe_part(datalist, section, fold or 0), tuple(notes))


def _choose(items: Sequence[Mapping[str, Any]], matches: Matches) -> tuple[str, int | None]:
    """The first part whose items all have a prediction, else the first one."""
    folds = sorted({int(item["fold"]) for item in items if item.get("fold") is not None})
    first: tuple[str, int | None] = ("test", None) if _places(items, "test", 0) else ("all", None)
    parts = [first, *(("validation", fold) for fold in folds)]
    return next((part for part in parts if matches.cover(_places(items, part[0], part[1] or 0))), first)


def _places(items: Sequence[Mapping[str, Any]], section: str, fold: int) -> list[int]:
    """Places of a part's items in the whole list, in which those of the test part have no fold."""
    if section == "all":
        return list(range(len(items)))
    wanted = None if section == "test" else fold
    return [place for place, item in enumerate(items) if item.get("fold") == wanted]
