"""The table of decision thresholds."""

from __future__ import annotations

import pytest

import thresholds_page
from bonemets.errors import InputError

RECORD = {
    "weights": {
        "7 epochs": {
            "sha256": "a" * 64,
            "at": [
                {
                    "threshold": threshold, "sensitivity_iou10": 0.5, "false_positives_per_scan_iou10": 9.0,
                    "f1_iou10": f1, "dice_pooled": 0.6,
                }
                for threshold, f1 in ((0.5, 0.4), (0.7, 0.2), (0.8, 0.3))
            ],
        }
    }
}  # fmt: skip


def test_the_shipped_weights_thresholds_with_the_best_f1_in_bold() -> None:
    lines = thresholds_page.thresholds_table(RECORD, "a" * 64)
    assert lines[0].startswith("| threshold (7 epochs) |")
    assert lines[2:] == ["| **0.5** | 50% | 9.0 | 0.40 | 0.60 |", "| 0.8 | 50% | 9.0 | 0.30 | 0.60 |"]


def test_a_record_of_other_weights_is_refused() -> None:
    with pytest.raises(InputError, match="the shipped weights cccccccccccc are not in results/thresholds"):
        thresholds_page.thresholds_table(RECORD, "c" * 64)
