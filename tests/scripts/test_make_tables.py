"""Tables of results: what is generated is up to date, overlays and papers' rows belong together, records show up."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

import make_tables
import results_page
import results_tables
from bonemets.errors import InputError
from ledger import write_record
from published import read_all_published

ROOT = Path(__file__).resolve().parents[2]
PAPERS = read_all_published(ROOT / "results" / "published")
BUNDLES = sorted(path.name for path in (ROOT / "bundles").iterdir() if (path / "configs" / "metadata.json").is_file())
BUNDLE = "spect_dual_pooling_segmentation"
METHOD_ROWS = [(name, row.key) for name in PAPERS for row in PAPERS[name].rows.values() if row.overlay]
RECORD = {
    "id": "dual_pooling",
    "network": "dual_pooling_unet",
    "status": "substitute-data",
    "rows": [f"{BUNDLE}/table2_row6"],
    "data": {"name": "bone_scan_200", "kind": "simulated", "section": "test", "split_sha256": "a1" * 32},
    "n": {"patients": 50, "images": 100},
    "seeds": [0],
    "metrics": {"dice_pooled": {"value": 0.5123, "low": 0.45, "high": 0.58}, "recall_pooled": {"value": 0.4}},
    "commit": "0123456789abcdef",
    "hardware": {"processor": "some processor", "cores": 2},
    "hours": 1.5,
    "date": "2026-11-21",
    "command": "python -m monai.bundle run --epochs 3",
}


@pytest.fixture
def project(tmp_path):
    """A copy of what the script reads and writes."""
    for name in BUNDLES:
        for part in ("docs/README.md", "configs/metadata.json", "configs/train.yaml"):
            target = tmp_path / "bundles" / name / part
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "bundles" / name / part, target)
        # Large, and only read.
        (tmp_path / "bundles" / name / "models").symlink_to(ROOT / "bundles" / name / "models")
    shutil.copytree(ROOT / "results" / "published", tmp_path / "results" / "published")
    shutil.copy(ROOT / "results" / "shifted_bone_scans.yaml", tmp_path / "results")
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path


def run(monkeypatch, project: Path, *more: str) -> int:
    monkeypatch.setattr(sys, "argv", ["make_tables.py", "--root", str(project), *more])
    return make_tables.main()


def numbers(text: str) -> set[float]:
    return {float(found.rstrip(",").replace(",", "")) for found in re.findall(r"\d[\d,]*\.?\d*", text)}


def test_every_paper_has_a_bundle_and_every_bundle_a_paper():
    assert sorted(PAPERS) == BUNDLES


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_overlay_is_a_row_and_every_row_of_the_method_has_its_overlay(bundle):
    overlays = {path.stem for path in (ROOT / "bundles" / bundle / "configs" / "ablations").glob("*.yaml")}
    assert overlays == {row.overlay for row in PAPERS[bundle].rows.values() if row.overlay}


@pytest.mark.parametrize(("bundle", "key"), METHOD_ROWS)
def test_an_overlay_says_what_the_paper_printed(bundle, key):
    row, table = next((r, t) for t in PAPERS[bundle].tables for r in t.rows if r.key == key)
    assert row.overlay.startswith(f"{key}_")
    lines = (
        (ROOT / "bundles" / bundle / "configs" / "ablations" / f"{row.overlay}.yaml").read_text("utf-8").splitlines()
    )
    assert re.match(rf"# {table.label}, row {key.partition('_row')[2]}\b.*: ", lines[0])
    comment = next(line for line in lines if line.startswith("# Published (the authors' data): "))
    said = numbers(" ".join(re.findall(r"\d+\.\d+|\d+(?:,\d{3})+", comment)))  # sizes such as 1, 2, 4 are no results
    paper = PAPERS[bundle]
    # A count may come from another table's row of the same setting.
    same = [other for other in paper.rows.values() if paper.setting(other.key) == paper.setting(key)]
    printed = set().union(*(numbers(value) for other in (*same, *table.rows) for value in other.values.values()))
    recomputed = {round(value, 2) for check in table.checks if (value := check.value(row)) is not None}
    shares = {round(value / 100, 6) for value in printed | recomputed}
    assert said <= printed | recomputed | shares
    for metric in table.metrics:
        if metric.ours or metric.key == "parameters":
            given = numbers(row.values[metric.key])
            assert given <= said or {round(value / 100, 6) for value in given} <= said, metric.printed


def test_tables_are_up_to_date(monkeypatch, capsys):
    assert run(monkeypatch, ROOT, "--check") == 0, capsys.readouterr().err


def test_a_record_reaches_every_table(monkeypatch, project, capsys):
    write_record(project / "results" / "measured", RECORD)
    assert run(monkeypatch, project, "--check") == 1
    assert "published-and-measured.md differs" in capsys.readouterr().err
    assert run(monkeypatch, project) == 0
    assert run(monkeypatch, project, "--check") == 0
    bundle = project / "bundles" / BUNDLE
    card = (bundle / "docs" / "README.md").read_text("utf-8")
    assert "| 0.6414 / 0.5812 / 0.7169 | 0.512 (0.450–0.580) / 0.400 / – | `substitute-data` |" in card
    assert card.count("`not-run` |") == 5
    assert "50 patients, 100 images, split `a1a1a1a1a1a1`; seed 0; commit `0123456789`; some processor, 1.5 h" in card
    page = (project / "docs" / "reference" / "published-and-measured.md").read_text("utf-8")
    assert "[dual_pooling](#dual_pooling) | `substitute-data` |" in page and RECORD["command"] in page
    assert "| 0.6414 | 0.512 (0.450–0.580) | `dice_pooled` | bone_scan_200, 50 patients |" in page


def test_shifted_cohorts_are_measured_with_the_weights_that_ship(monkeypatch, project):
    record = project / "results" / "shifted_bone_scans.yaml"
    measured = yaml.safe_load(record.read_text("utf-8"))
    entry = measured["detectors"][BUNDLE]
    entry["picture"]["sensitivity_at_2"] = {"value": 0.4321, "low": 0.31, "high": 0.62}
    record.write_text(yaml.safe_dump(measured))
    assert run(monkeypatch, project) == 0
    assert "0.43 (0.31–0.62)" in (project / "README.md").read_text("utf-8")
    entry["weights_sha256"] = "f" * 64
    record.write_text(yaml.safe_dump(measured))
    assert run(monkeypatch, project) == 0
    text = (project / "README.md").read_text("utf-8")
    assert "not measured | – |" in text and "0.43 (0.31–0.62)" not in text


def test_the_headline_is_that_of_the_shipped_weights(monkeypatch, project):
    folder = project / "bundles" / BUNDLE
    sha256 = json.loads((folder / "models" / "model.json").read_text("utf-8"))["sha256"]
    metrics = {"dice_pooled": {"value": 0.5123, "low": 0.45, "high": 0.58}, "recall_pooled": {"value": 0.4}}
    record = RECORD | {"id": f"shipped.{BUNDLE}", "rows": [], "metrics": metrics, "weights_sha256": [sha256]}
    write_record(project / "results" / "measured", record)
    assert run(monkeypatch, project) == 0
    told = json.loads((folder / "configs" / "metadata.json").read_text("utf-8"))["eval_metrics"]
    assert (told["dice_pooled"], told["section"], told["weights_sha256"]) == (0.5123, "test", sha256)
    assert "| 0.51 (0.45–0.58) | – | – | – |" in (project / "README.md").read_text("utf-8")
    other = record | {"weights_sha256": ["f" * 64]}
    write_record(project / "results" / "measured", other, replace=True)
    assert run(monkeypatch, project) == 0
    assert json.loads((folder / "configs" / "metadata.json").read_text("utf-8"))["eval_metrics"] == {}


def test_rows_that_are_the_same_setting_share_a_record(monkeypatch, project):
    row = "ct_mfp_deeplabv3plus_segmentation/table5_row1"
    record = RECORD | {"rows": [row], "metrics": {"macro_dice_pooled": {"value": 0.8768}}}
    write_record(project / "results" / "measured", record)
    assert run(monkeypatch, project) == 0
    page = (project / "docs" / "reference" / "published-and-measured.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if "/ 87.7 [dual_pooling]" in line]
    assert [re.search(r"`(\w+)`", line).group(1) for line in rows] == ["table1_row1_aspp", "table5_row1_deeplabv3plus"]


def test_the_better_status_and_then_the_newest_record_is_shown(project):
    older = RECORD | {"id": "older", "date": "2026-01-01", "status": "same-data"}
    ledger = results_tables.Ledger([RECORD, older], PAPERS)
    row = PAPERS[BUNDLE].rows["table2_row6"]
    assert ledger.best(PAPERS[BUNDLE], row) is older
    newest = RECORD | {"id": "newest", "date": "2026-12-01"}
    ledger = results_tables.Ledger([newest, RECORD], PAPERS)
    assert ledger.best(PAPERS[BUNDLE], row) is newest


def test_speed_is_shown_with_its_machine():
    entry = {"median_ms": 100.0, "fastest_ms": 90.0, "passes": 3, "peak_memory_mb": 900, "libraries_mb": 300}
    runtimes = {"eager": entry | {"difference": 0.0}, "openvino": entry | {"median_ms": 40.0, "difference": 2e-6}}
    width = {"name": "paper", "parameters": 51_012_157, "input": [1, 1, 1024, 256], "runtimes": runtimes}
    machine = {"processor": "a processor", "cores": 4, "torch": "2", "onnxruntime": "1", "openvino": "3"}
    found = {"machine": machine, "threads": 2, "repeats": 3, "widths": [width]}
    lines = results_tables.speed(BUNDLE, {"bundles": {BUNDLE: found}})
    assert "paper, 51,012,157 parameters, input 1×1×1024×256:" in lines
    assert "| OpenVINO | 40 | 2.50 | 900 | 2e-06 |" in lines
    assert lines[-1].startswith("a processor, 2 of 4 cores; PyTorch 2, ONNX Runtime 1, OpenVINO 3.")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": [f"{BUNDLE}/table9_row1"]}, "table9_row1"),
        ({"rows": ["no_such_bundle/table2_row1"]}, "no_such_bundle"),
    ],
)
def test_a_record_of_no_row_is_refused(monkeypatch, project, capsys, change, message):
    write_record(project / "results" / "measured", RECORD | change)
    assert run(monkeypatch, project) == 2
    assert message in capsys.readouterr().err


def test_a_card_without_markers_is_refused(project):
    card = project / "card.md"
    with pytest.raises(InputError, match="card.md: needs '<!-- generated: speed -->'"):
        make_tables.replace_block("no markers", "speed", ["a"], card)
    text = "<!-- generated: speed -->\nold\n<!-- /generated -->\n"
    assert make_tables.replace_block(text, "speed", ["new"], card) == text.replace("old", "new")


def test_commands_name_files_and_networks_that_are_there():
    for published in PAPERS.values():
        for row in published.rows.values():
            text = results_page.command(published, row) or ""
            for files in re.findall(r"--config_file \"(\[.*?\])\"", text):
                for name in yaml.safe_load(files):
                    assert (ROOT / "bundles" / published.bundle / name).is_file()
            for network in re.findall(r"--network_def \"(\{.*?\})\"", text):
                assert yaml.safe_load(network)["_target_"] == f"bonemets.networks.nets.{row.network}"


@pytest.mark.parametrize(("kind", "other", "shown"), [("real", True, 2), ("simulated", True, 1), ("real", False, 0)])
def test_weights_measured_on_other_data_say_so_in_the_card(kind, other, shown):
    from weights_tables import weights

    bundle = ROOT / "bundles" / BUNDLE
    shipped = json.loads((bundle / "models" / "model.json").read_text("utf-8"))
    data = {"name": "Hospital scans", "kind": kind, "section": "test"}
    data["split_sha256"] = "a1" * 32 if other else shipped["datalist"]["sha256"]
    metrics = {"dice_per_image": {"value": 0.51239, "low": 0.45, "high": 0.58}}
    record = RECORD | {"data": data, "metrics": metrics, "weights_sha256": [shipped["sha256"]]}
    lines = weights(bundle, [record, RECORD])
    assert ("| measured on Hospital scans |" in "\n".join(lines)) == other
    assert sum("0.512 (0.450–0.580)" in line or "says how far that carries" in line for line in lines) == shown
