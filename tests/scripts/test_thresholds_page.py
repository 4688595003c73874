"""The rule by which weights had converged, and the pages that show it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

import thresholds_page
from bonemets.errors import InputError


def weights(
    sha256: str, dice: float, *found: tuple[float, float], start: str | None = None, seen: int = 8000
) -> dict[str, Any]:
    """Thresholds .5, .6, … with so many false positives a patient and so much recall; the last of ten epochs kept."""
    rows = [
        {
            "threshold": round(0.5 + number / 10, 1),
            "dice_pooled": dice - number / 10,
            "sensitivity_iou10": recall,
            "false_positives_per_scan_iou10": false,
            "f1_iou10": 0.4 + number / 100,
        }
        for number, (false, recall) in enumerate(found)
    ]
    kept = {"epoch": 10, "epochs": 10, "batches_seen": seen}
    return {"sha256": sha256, "start_weights_sha256": start, "at": rows} | kept


BEFORE = weights("a" * 64, 0.6, (9.0, 0.5), (5.0, 0.4), (2.0, 0.1), seen=4000)


@pytest.mark.parametrize(("false", "recall"), [(9, 0.5), (7, 0.45), (5, 0.4), (3, 0.2), (20, 0.5)])
def test_recall_lies_on_a_line_between_thresholds(false: float, recall: float) -> None:
    assert thresholds_page.recall_at(BEFORE, false) == pytest.approx(recall)


def test_fewer_false_positives_than_any_threshold_has() -> None:
    assert math.isnan(thresholds_page.recall_at(BEFORE, 1.9))


@pytest.mark.parametrize(
    ("after", "converged"),
    [
        (weights("b" * 64, 0.619, (9.0, 0.519), (5.0, 0.419), (2.0, 0.119)), True),
        (weights("b" * 64, 0.62, (9.0, 0.5), (5.0, 0.4), (2.0, 0.1)), False),
        (weights("b" * 64, 0.6, (9.0, 0.5), (5.0, 0.42), (2.0, 0.1)), False),
        (weights("b" * 64, 0.5, (9.0, 0.4), (5.0, 0.3), (2.0, 0.0)), True),
        # Nothing to compare recall with at 5: all thresholds mark more.
        (weights("b" * 64, 0.6, (12.0, 0.5), (10.0, 0.4)), True),
    ],
)
def test_a_rise_of_dice_or_recall_counts(after: dict[str, Any], converged: bool) -> None:
    assert thresholds_page.had_converged(BEFORE, after, [5.0]) is converged


def test_recall_counts_by_its_mean() -> None:
    # At 2 and 5 and 9 false positives: +.03, +.01 and -.01 are +.01 in the mean; at 1 neither has any.
    one_rises = weights("b" * 64, 0.6, (9.0, 0.49), (5.0, 0.41), (2.0, 0.13))
    all_rise = weights("b" * 64, 0.6, (9.0, 0.52), (5.0, 0.41), (2.0, 0.13))
    assert thresholds_page.had_converged(BEFORE, one_rises, [1.0, 2.0, 5.0, 9.0])
    assert not thresholds_page.had_converged(BEFORE, all_rise, [1.0, 2.0, 5.0, 9.0])
    # Pictures of one lesion each are asked for Dice alone.
    assert thresholds_page.had_converged(BEFORE, all_rise, [])


def test_page_tells_verdict_and_shipped_weights() -> None:
    after = weights("b" * 64, 0.7, (5.0, 0.4), (2.0, 0.1), start="a" * 64)
    record = {
        "data": "Simulated", "part": "validation, fold 0", "patients": 3, "images": 6, "compared_at": [1.0, 5.0],
        "weights": {"7 epochs": BEFORE, "14 epochs": after},
    }  # fmt: skip
    page = thresholds_page.convergence_page({"some_bundle": record}, {"some_bundle": "b" * 64})
    assert "| 7 epochs | `aaaaaaaaaaaa` | – | 4000 | 0.600 | – | 0.400 | – |" in page
    assert "| **14 epochs, shipped** | `bbbbbbbbbbbb` | 7 epochs | 4000 | 0.700 | – | 0.400 | – |" in page
    assert "- 7 epochs: had **not** converged." in page
    assert "- 14 epochs: not known" in page
    lines = thresholds_page.thresholds_table(record, "a" * 64)
    assert lines[0].startswith("| threshold (7 epochs) |")
    assert lines[-1] == "| 0.5 | 50% | 9.0 | 0.40 | 0.60 |"
    with pytest.raises(InputError, match="the shipped weights cccccccccccc are not in results/thresholds"):
        thresholds_page.thresholds_table(record, "c" * 64)


def test_every_training_that_goes_on_counts() -> None:
    no_better, better = (weights(sha * 64, dice, (5.0, 0.4), start="a" * 64) for sha, dice in (("b", 0.6), ("c", 0.7)))
    record = {"data": "Simulated", "part": "fold 0", "patients": 3, "images": 6, "compared_at": [5.0]}
    for later, verdict in (
        ({"8": no_better}, ""),
        ({"8": no_better, "9": better}, "**not** "),
        ({"9": better}, "**not** "),
    ):
        page = thresholds_page.convergence_page({"b": record | {"weights": {"7": BEFORE, **later}}}, {"b": "a" * 64})
        assert f"- 7: had {verdict}converged" in page
        assert page.count("not known") == len(later)


def test_a_look_too_short_says_nothing() -> None:
    # Epoch 4 of 10 was kept, after 1200 of 3000 batches.
    short, long = (
        weights(sha * 64, 0.6, (5.0, 0.4), start="a" * 64, seen=4000 + seen) for sha, seen in (("b", 1200), ("c", 1440))
    )
    short["epoch"] = long["epoch"] = 4
    assert thresholds_page.length(short, BEFORE) == 3000
    assert thresholds_page.verdict(BEFORE, [short], [5.0]).startswith("not known, 3000 batches")
    assert thresholds_page.verdict(BEFORE, [short, long], [5.0]) == "had converged: 3600 batches more raise nothing."
    # A gain counts however soon it comes.
    short["at"][0]["dice_pooled"] = 0.7
    assert thresholds_page.verdict(BEFORE, [short], [5.0]) == "had **not** converged."


def test_a_gain_counts_for_all_that_it_came_from() -> None:
    no_better = weights("b" * 64, 0.6, (5.0, 0.4), start="a" * 64)
    better = weights("c" * 64, 0.7, (5.0, 0.4), start="b" * 64, seen=12000)
    assert thresholds_page.going_on(BEFORE, [BEFORE, no_better, better]) == [no_better, better]
    assert thresholds_page.verdict(BEFORE, [BEFORE, no_better], [5.0]).startswith("had converged: 4000 batches")
    for one in (BEFORE, no_better):
        assert thresholds_page.verdict(one, [BEFORE, no_better, better], [5.0]) == "had **not** converged."


def test_record_that_lacks_something_is_named(tmp_path: Path) -> None:
    (tmp_path / "some_bundle.yaml").write_text(yaml.safe_dump({"data": "d", "part": "p", "patients": 1, "images": 1}))
    with pytest.raises(InputError, match=r"some_bundle\.yaml: lacks compared_at, weights"):
        thresholds_page.read_thresholds(tmp_path)
