"""The papers' numbers: kept as printed, read as numbers, and recomputed by independent arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest

from bonemets.errors import InputError
from bonemets.networks import nets
from ledger import metric_names
from published import FORMULAS, number, read_all_published, read_published

FOLDER = Path(__file__).resolve().parents[2] / "results" / "published"
PAPERS = read_all_published(FOLDER)


@pytest.mark.parametrize(
    ("text", "value"),
    [("89.10", 89.1), ("0.6487 ± 0.0054", 0.6487), ("5,813,266", 5813266), ("≈ 0.616", 0.616), ("–", None)],
)
def test_numbers_are_read_from_what_is_printed(text, value):
    assert number(text) == value


def test_values_stay_as_printed():
    assert PAPERS["ct_mfp_deeplabv3plus_segmentation"].rows["table1_row2"].values["dice"] == "89.10"


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("harmonic_mean", (0.5, 1.0), 2 / 3),
        ("iou_of_dice", (80.0,), 100 * 0.8 / 1.2),
        ("mean", (1.0, 2.0, 6.0), 3.0),
        ("variance", (80.0, 90.0), 100 * (0.05**2 + 0.05**2)),
        # A tenth of all pixels right in one class: IoU 0.5 of lesion is Dice 2/3.
        ("lesion_dice", (100 * (0.995 + 0.5) / 2,), 200 / 3),
        ("macro_dice", (100 * (0.995 + 0.5) / 2,), 50 * (2 * 0.995 / 1.995 + 2 / 3)),
    ],
)
def test_formulas(name, given, value):
    assert FORMULAS[name].compute(*given) == pytest.approx(value)


def test_every_row_has_what_runs_it_or_says_why_not():
    for published in PAPERS.values():
        for row in published.rows.values():
            if row.network:
                assert hasattr(nets, row.network), row
            if row.same_as:
                assert published.overlay(row), row
                first = published.rows[published.setting(row.key)]
                assert set(row.values) != set(first.values) or row.values == first.values, row


def test_our_names_of_metrics_are_those_of_the_reference():
    names = {metric.ours for published in PAPERS.values() for table in published.tables for metric in table.metrics}
    assert names - {None} <= metric_names()


def test_what_does_not_follow_from_its_own_row_is_found():
    """Rows whose printed number is off by more than rounding."""
    wrong = {
        (published.bundle.split("_")[1], row.key)
        for published in PAPERS.values()
        for table in published.tables
        for row in table.rows
        for check in table.checks
        if check.column in ("dice", "mean") and not check.holds(row)
    }
    assert wrong == {
        *(("mfp", key) for key in ("table2_row1", "table2_row4", "table4_row3", "table4_row6")),
        *(("sc", f"table2_row{number}") for number in range(2, 9)),
        *(("dual", f"table2_row{number}") for number in (1, 5, 6)),
        *(("msa", key) for key in ("table5_row1", "table5_row12", "table11_row4")),
        *(("multi", key) for key in ("table7_row1", "table8_row1")),
    }


def test_a_row_that_does_not_fit_its_table_is_refused(tmp_path):
    text = (FOLDER / "spect_dual_pooling_segmentation.yaml").read_text("utf-8")
    path = tmp_path / "paper.yaml"
    path.write_text(text.replace("[0.6086, 0.5157, 0.7467]", "[0.6086, 0.5157]"))
    with pytest.raises(InputError, match="table2, row 1: 2 values for 3 columns"):
        read_published(path)
    path.write_text(text.replace("headline: table2_row6", "headline: table2_row7"))
    with pytest.raises(InputError, match="there is no row table2_row7"):
        read_published(path)
    path.write_text(text.replace("as: harmonic_mean", "as: geometric_mean"))
    with pytest.raises(InputError, match="geometric_mean"):
        read_published(path)
