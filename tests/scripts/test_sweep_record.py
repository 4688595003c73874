"""A sweep's measurements: folds pooled, seeds apart, and from its folder into the ledger and the tables."""

from __future__ import annotations

import importlib
import shutil
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
from sweep_samples import BUNDLE, finish, make_sweep

from bonemets.errors import InputError
from bonemets.metrics.comparison.sweeps import read_patients
from bonemets.sweep.measurements import measurements
from bonemets.sweep.page import write_sweep
from bonemets.sweep.summary import read_summaries
from ledger import read_records
from published import read_all_published
from sweep_record import find_results

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "results"))
    return importlib.import_module("record_sweep")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """What the script reads of the project's results."""
    folder = tmp_path / "project" / "results"
    shutil.copytree(ROOT / "results" / "published", folder / "published")
    (folder / "cohorts").mkdir()
    return folder


def test_folds_of_a_seed_are_one_measurement(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path, section="validation", folds=[0, 1], models=[{"bundle": BUNDLE, "name": "one"}])
    done = [finish(trial, tmp_path / "out", skill=0.4 + 0.2 * trial.fold) for trial in sweep.trials[:3]]
    found = measurements(tmp_path / "out", done, sweep.folds)["one"]
    # The trials are fold 0 of both seeds, then fold 1 of seed 0: seed 1 lacks a fold.
    (one,) = found
    assert (one.seed, one.folds) == (0, (0, 1))
    assert one.sizes["patients"] == 6 and len(one.patients) == 6
    tables = [
        read_patients(tmp_path / "out" / "trials" / f"one-fold{fold}-seed0" / "evaluation" / "patients.csv")
        for fold in (0, 1)
    ]
    values = [row["dice_per_image_bearing"] for table in tables for row in table.values()]
    assert one.value("dice_per_image_bearing") == pytest.approx(np.mean(values), rel=1e-5)
    assert one.estimates["dice_pooled"]["low"] < one.value("dice_pooled") < one.estimates["dice_pooled"]["high"]
    document = write_sweep(tmp_path / "out", sweep, done, {})
    assert document["models"]["one"]["measurements"] == 1 and document["models"]["one"]["trainings"] == 2
    assert "folds of a seed are one measurement" in (tmp_path / "out" / "index.html").read_text()


def test_a_sweep_goes_into_the_ledger_without_typing(
    tmp_path: Path, script, results: Path, monkeypatch, capsys
) -> None:
    sweep = make_sweep(tmp_path, deviations=["few pictures"])
    finished = [finish(trial, tmp_path / "out") for trial in sweep.trials[:5]]
    arguments = ["record_sweep.py", str(tmp_path / "sweep.yaml"), str(tmp_path / "out"), "--results", str(results)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert script.main() == 0, capsys.readouterr().err
    by_rows = {tuple(record["rows"]): record for record in read_records(results / "measured")}
    assert len(by_rows) == 3
    record = by_rows[(f"{BUNDLE}/table2_row8",)]
    assert record["seeds"] == [0, 1] and record["epochs"] == 3 and record["n"]["patients"] == 3
    values = [result["metrics"]["dice_per_image"] for result in finished[:2]]
    entry = record["metrics"]["dice_per_image"]
    assert entry["value"] == pytest.approx(statistics.mean(values), abs=1e-6)
    assert entry["sd"] == pytest.approx(statistics.stdev(values), abs=1e-6)
    assert record["hours"] == 0.05 and record["commit"] == "0123456789abcdef"
    # Epochs differ from the paper's 400; the ablation's own setting and the batch size do not count as deviations.
    (settings,) = [text for text in record["deviations"] if text.startswith("settings")]
    assert settings.endswith("epochs 3 (400)") and record["deviations"][-1] == "few pictures"
    # Pictures have no millimeters.
    assert not any(name.startswith("hausdorff") for name in record["metrics"])
    (comparator,) = [record for record in by_rows.values() if record["network"] == "unet"]
    assert comparator["seeds"] == [0] and comparator["features"] == [4, 8]
    row = read_all_published(results / "published")[BUNDLE].rows[comparator["rows"][0].partition("/")[2]]
    assert row.name == "U-Net"

    # More is finished: the same records, with the new seed.
    finish(sweep.trials[5], tmp_path / "out")
    assert script.main() == 0
    assert {tuple(record["seeds"]) for record in read_records(results / "measured")} == {(0, 1)}
    page = importlib.import_module("sweeps_page")
    text = page.sweeps_page(read_summaries(results / "sweeps"))
    (bearing,) = [row for row in read_records(results / "measured") if row["id"] == record["id"]]
    mean = bearing["metrics"]["dice_per_image_bearing"]
    assert "6 of 6 trainings are finished" in text and f"{mean['value']:.3f} ± {mean['sd']:.3f}" in text
    assert "[unet](published-and-measured.md#rowsunet)" in text
    assert (results / "sweeps" / "rows" / "figure.png").is_file()


def test_rows_that_a_model_stands_for(tmp_path: Path, script, results: Path) -> None:
    model = {"bundle": BUNDLE, "name": "unet", "network": {"_target_": "bonemets.networks.nets.UNet"}}
    sweep = make_sweep(tmp_path, models=[{**model, "stands_for": ["spect_msa_net_segmentation/table5_row1"]}])
    finish(sweep.trials[0], tmp_path / "out")
    script.record(tmp_path / "sweep.yaml", tmp_path / "out", results)
    (record,) = read_records(results / "measured")
    assert record["rows"] == ["spect_msa_net_segmentation/table5_row1"]
    make_sweep(tmp_path, models=[{**model, "stands_for": ["spect_msa_net_segmentation/table5_row99"]}])
    with pytest.raises(InputError, match="table5_row99, which no paper has"):
        script.record(tmp_path / "sweep.yaml", tmp_path / "out", results)


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    sweep = make_sweep(tmp_path)
    finish(sweep.trials[0], tmp_path / "out")
    assert len(find_results(sweep, tmp_path / "out")) == 1
    changed = make_sweep(tmp_path, settings={"epochs": 4})
    with pytest.raises(InputError, match="another settings than the specification"):
        find_results(changed, tmp_path / "out")


def test_nothing_finished_is_said(tmp_path: Path, script, results: Path) -> None:
    make_sweep(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="has a finished seed yet"):
        script.record(tmp_path / "sweep.yaml", tmp_path / "out", results)
    assert not (results / "measured").exists()
