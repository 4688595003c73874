"""A real sweep on Ray: killed without warning, run again, finished."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import torch
import yaml

from bonemets.sweep.spec import read_sweep
from bonemets.sweep.trial import run_trial

SPEC = {
    "name": "rows",
    "overlays": ["whole_body"],
    "settings": {
        "epochs": 1, "batch_size": 4, "features": [4, 4, 8, 8, 8], "window_size": [96, 96], "windows_per_scan": 1,
        "device": "cpu",
    },
    "models": [{"bundle": "spect_dual_pooling_segmentation", "rows": ["table2_row1_max", "table2_row2_average"]}],
}  # fmt: skip


def command(folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "bonemets.cli.main", "sweep", str(folder / "sweep.yaml"), "-o", str(folder / "out"),
        "--workers", "1",
    ]  # fmt: skip


@pytest.mark.slow
def test_killed_sweep_goes_on(cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**SPEC, "dataset_dir": str(cohort)}))
    # Ray gives way to all other programs, so beside another test process it would get no time.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "RAY_worker_niceness": "0"}
    trials = tmp_path / "out" / "trials"
    first = trials / "spect_dual_pooling-table2_row1_max-fold0-seed0" / "result.json"
    second = trials / "spect_dual_pooling-table2_row2_average-fold0-seed0"
    with subprocess.Popen(command(tmp_path), env=environment, stdout=subprocess.DEVNULL) as process:
        give_up = time.monotonic() + 400
        # Killed while the second training runs.
        while not (second / "train.log").is_file():
            assert process.poll() is None, "the sweep ended early"
            assert time.monotonic() < give_up
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    kept = first.read_bytes()
    assert not (second / "result.json").is_file()
    assert not (tmp_path / "out" / "index.html").exists()

    done = subprocess.run(command(tmp_path), env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    assert "row1_max-fold0-seed0: done before" in done.stdout
    assert first.read_bytes() == kept
    assert (tmp_path / "out" / "index.html").is_file()
    with (tmp_path / "out" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == [
        "spect_dual_pooling-table2_row1_max",
        "spect_dual_pooling-table2_row2_average",
    ]
    summary = json.loads((second / "evaluation" / "summary.json").read_text())
    assert summary["predictions"] == "probability"
    assert float(rows[1]["dice_pooled"]) == pytest.approx(summary["metrics"]["dice_pooled"]["value"], rel=1e-5)

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/out/mlruns.db")
    runs = client.search_runs([client.get_experiment_by_name("rows").experiment_id])
    parents = [run for run in runs if run.info.run_name == "rows"]
    assert len(parents) == 1
    finished = {run.info.run_id: run for run in runs if run.info.status == "FINISHED"}
    for row in ("row1_max", "row2_average"):
        result = json.loads((trials / f"spect_dual_pooling-table2_{row}-fold0-seed0" / "result.json").read_text())
        run = finished[result["mlflow_run_id"]]
        assert run.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        assert run.data.metrics["test.dice_pooled"] == pytest.approx(result["metrics"]["dice_pooled"])

    # Other metrics now: what is finished is measured again, with the weights that are there, into another store.
    weights = first.parent / "models" / "model.pt"
    before, result = weights.stat().st_mtime_ns, json.loads(kept)
    first.write_text(json.dumps({**result, "metrics": {"dice_pooled": 0.99}}))
    store = f"sqlite:///{tmp_path}/other.db"
    again = subprocess.run(
        [*command(tmp_path), "--measure-again", "--tracking-uri", store],
        env=environment, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    measured = json.loads(first.read_text())
    assert measured["metrics"] == result["metrics"]
    assert measured["trial"] == result["trial"]
    assert "measured_at" in measured
    assert weights.stat().st_mtime_ns == before
    other = mlflow.MlflowClient(store).get_run(measured["mlflow_run_id"])
    assert other.info.run_name == "spect_dual_pooling-table2_row1_max-fold0-seed0"
    assert other.data.metrics["test.dice_pooled"] == pytest.approx(result["metrics"]["dice_pooled"])
    assert other.info.run_id != result["mlflow_run_id"]


@pytest.mark.slow
def test_trial_of_two_processes(cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one trial, with the overlay's own preparations; the evaluation does not notice."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    model = {"bundle": "spect_dual_pooling_segmentation", "overlays": ["compact", "whole_body"]}
    spec = {**SPEC, "models": [model], "resources": {"cpus": 2, "processes": 2}, "dataset_dir": str(cohort)}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(spec))
    sweep = read_sweep(tmp_path / "sweep.yaml")
    folder = tmp_path / "trial"
    result = run_trial(sweep.trials[0], folder, f"sqlite:///{tmp_path}/mlruns.db", "rows", cpus=2)
    log = (folder / "train.log").read_text()
    assert log.count("starting at epoch 1") == 2
    assert log.count("epoch 1/1") == 1
    assert result["trial"]["processes"] == 2
    assert result["evaluation"]["patients"] == 1
    # The head began where compact.yaml puts it, -4.6, not at 0: one epoch of small steps moves it by little.
    weights = torch.load(folder / "models" / "model.pt", weights_only=True)
    assert weights["head.bias"].item() == pytest.approx(-4.6, abs=0.5)
