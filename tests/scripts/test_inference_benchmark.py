"""The inference benchmark: every runtime gives the network's own numbers, and results are merged by bundle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import inference
import inference_worker

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "bundles" / "skin_sc_unext_segmentation"


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    task = {"bundle": str(BUNDLE), "overlays": ["compact"], "folder": str(folder), "size": [32, 64], "threads": 1}
    task |= {"seconds": 0.0, "repeats": 2}
    answer = inference_worker.export(task)
    assert answer["input"] == [1, 3, 32, 64] and answer["parameters"] > 10_000
    return task


@pytest.mark.slow  # the export
@pytest.mark.parametrize("runtime", ["eager", "torchscript", "onnxruntime", "openvino"])
def test_a_runtime_gives_the_networks_own_logits(task, runtime):
    answer = inference_worker.measure(task | {"runtime": runtime})
    assert answer["difference"] < 1e-5
    assert answer["passes"] == 2
    assert 0 < answer["fastest_ms"] <= answer["median_ms"]
    assert 0 < answer["libraries_mb"] <= answer["peak_memory_mb"]


@pytest.mark.slow
def test_stages_of_the_inference_configuration_are_timed(tmp_path):
    task = {"bundle": str(BUNDLE), "folder": str(tmp_path), "size": [48, 40], "threads": 1, "repeats": 2}
    answer = inference_worker.pipeline(task)
    assert answer["what"] == "a picture of 48×40, PNG" and answer["passes"] == 2
    assert list(answer["median_ms"]) == ["pre-processing", "inference", "post-processing and writing"]
    assert all(value > 0 for value in answer["median_ms"].values())
    assert list((tmp_path / "masks").rglob("picture_seg.png"))


def test_passes_go_on_until_the_time_is_up():
    times = inference_worker.timed(lambda: sum(range(20_000)), seconds=0.05, repeats=1)
    assert sum(times) >= 50 > sum(times[:-1])


def test_peak_memory_is_that_of_the_process_and_not_of_its_parent():
    ballast = bytearray(300_000_000)
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import inference_worker as w; "
    answer = subprocess.run(
        [sys.executable, "-c", code + "print(w.memory_mb('VmHWM'))"], capture_output=True, text=True
    )
    assert float(answer.stdout) < 150 < len(ballast) / 1e6


def test_widths_are_merged_on_the_same_machine_only():
    common = {"machine": {"cores": 2}, "threads": 2, "repeats": 3}
    paper = common | {"widths": [{"name": "paper", "at": 1}], "pipeline": {"passes": 3}}
    compact = common | {"widths": [{"name": "compact", "at": 2}]}
    merged = inference.merge(compact, paper)
    assert [width["name"] for width in merged["widths"]] == ["paper", "compact"]
    assert inference.merge(merged, compact)["pipeline"] == {"passes": 3}
    assert inference.merge(merged, common | {"widths": [{"name": "paper", "at": 3}]})["widths"][0]["at"] == 3
    assert inference.merge(merged, compact | {"machine": {"cores": 4}})["widths"] == compact["widths"]
    assert inference.merge(None, paper) is paper


@pytest.mark.slow
def test_the_script_keeps_what_it_does_not_measure(tmp_path):
    output = tmp_path / "results.yaml"
    output.write_text(yaml.safe_dump({"bundles": {"another": {"threads": 1}}}))
    command = [sys.executable, ROOT / "benchmarks" / "inference.py", "--bundle", BUNDLE, "--width", "compact"]
    command += ["--runtime", "onnxruntime", "--threads", "1", "--repeats", "1", "--seconds", "0", "--size", "32", "32"]
    subprocess.run([*command, "--no-pipeline", "-o", output], check=True, capture_output=True)
    found = yaml.safe_load(output.read_text())["bundles"]
    assert found["another"] == {"threads": 1}
    (width,) = found[BUNDLE.name]["widths"]
    assert width["runtimes"]["onnxruntime"]["difference"] < 1e-5
    assert {"processor", "cores", "torch", "onnxruntime"} <= set(found[BUNDLE.name]["machine"])
