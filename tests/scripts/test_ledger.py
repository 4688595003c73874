"""The ledger: what a record must say, how it is made from evaluations, and that it is written whole."""

from __future__ import annotations

import copy
import json
import math

import pytest
import yaml

from bonemets.errors import InputError
from ledger import check_record, read_records, summarize_runs, write_record

SPLIT = "a1" * 32
RECORD = {
    "id": "dual_pooling_bone_scan_200",
    "network": "dual_pooling_unet",
    "status": "substitute-data",
    "rows": ["spect_dual_pooling_segmentation/table2_row6"],
    "data": {"name": "bone_scan_200", "kind": "simulated", "section": "test", "split_sha256": SPLIT},
    "n": {"patients": 50, "images": 100, "lesions": 321},
    "seeds": [0, 1],
    "metrics": {"dice_pooled": {"value": 0.5, "sd": 0.02, "values": [0.48, 0.52]}},
    "commit": "0123456789abcdef",
    "hardware": {"processor": "some processor", "cores": 2},
    "hours": 1.5,
    "date": "2026-11-21",
    "command": "python -m monai.bundle run",
}


def evaluated(path, value, split=SPLIT, low=None, **more):
    """A summary as `bonemets evaluate` writes it."""
    entry = {"value": value, "low": low, "high": None if low is None else value + 0.1, "n": 100, "unit": ""}
    document = {
        "data": {"name": "cohort", "datalist_sha256": split, "section": "test", "fold": None, "simulated": True},
        "patients": 50,
        "images": 100,
        "lesions": 321,
        "metrics": {"dice_pooled": entry, "patient_auc": {"value": None, "low": None, "high": None}},
    }
    path.write_text(json.dumps(document | more))
    return path


def test_a_record_is_written_and_read_back(tmp_path):
    path = write_record(tmp_path / "measured", RECORD)
    assert path.name == f"{RECORD['id']}.yaml"
    assert read_records(tmp_path / "measured") == [RECORD]
    assert list(path.parent.iterdir()) == [path]


def test_a_record_is_not_replaced_by_accident(tmp_path):
    write_record(tmp_path, RECORD)
    with pytest.raises(InputError, match="exists; choose another id"):
        write_record(tmp_path, RECORD | {"hours": 2.0})
    write_record(tmp_path, RECORD | {"hours": 2.0}, replace=True)
    assert read_records(tmp_path)[0]["hours"] == 2.0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("status", "not-run", "status: 'not-run' is not one of"),
        ("rows", ["table2_row6"], r"rows.0: 'table2_row6' does not match"),
        ("seeds", [], "seeds: .* should be non-empty"),
        ("metrics", {"dice": {"value": 0.5}}, "metrics: dice not in docs/reference/metrics.md"),
        ("metrics", {"dice_pooled": {"value": 0.5, "values": [0.5]}}, "metrics.dice_pooled: 1 values for 2 seeds"),
        ("metrics", {"dice_pooled": {"value": "0.5"}}, "metrics.dice_pooled.value: '0.5' is not of type 'number'"),
        ("data", RECORD["data"] | {"split_sha256": "abc"}, "data.split_sha256: 'abc' does not match"),
        ("hours", 0, "hours: 0 is less than or equal to"),
        ("dise", 0.5, r"'dise' was unexpected"),
        ("commit", None, "commit: None is not of type 'string'"),
    ],
)
def test_an_unsound_record_is_named_and_nothing_is_written(tmp_path, field, value, message):
    with pytest.raises(InputError, match=message):
        write_record(tmp_path, RECORD | {field: value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field", sorted(RECORD))
def test_every_field_is_needed(field):
    record = copy.deepcopy(RECORD)
    del record[field]
    with pytest.raises(InputError, match=f"here: '{field}' is a required property"):
        check_record(record, "here")


def test_a_file_is_named_after_its_id(tmp_path):
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(RECORD))
    with pytest.raises(InputError, match="other.yaml: has the id dual_pooling_bone_scan_200"):
        read_records(tmp_path)


def test_one_evaluation_keeps_its_interval(tmp_path):
    found = summarize_runs([evaluated(tmp_path / "a.json", 0.6, low=0.5)])
    assert found["metrics"] == {"dice_pooled": {"value": 0.6, "low": 0.5, "high": 0.7}}
    assert found["data"] == {"name": "cohort", "kind": "simulated", "section": "test", "split_sha256": SPLIT}
    assert found["n"] == {"patients": 50, "images": 100, "lesions": 321}
    check_record(RECORD | found | {"seeds": [0]}, "record")


def test_seeds_give_mean_and_standard_deviation(tmp_path):
    paths = [evaluated(tmp_path / f"{index}.json", value) for index, value in enumerate((0.5, 0.6, 0.8))]
    entry = summarize_runs(paths)["metrics"]["dice_pooled"]
    mean = 1.9 / 3
    assert entry["values"] == [0.5, 0.6, 0.8]
    assert entry["value"] == pytest.approx(mean, abs=1e-6)
    spread = math.sqrt(sum((value - mean) ** 2 for value in (0.5, 0.6, 0.8)) / 2)
    assert entry["sd"] == pytest.approx(spread, abs=1e-6)


def test_a_bundles_own_summary_will_do(tmp_path):
    document = {
        "section": "validation", "fold": 2, "datalist": {"name": "slices", "sha256": SPLIT},
        "weights_sha256": "b2" * 32, "images": 8, "images_lesion_bearing": 5, "patients": 4, "dice_pooled": 0.25,
        "recall_pooled": None,
    }  # fmt: skip
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(document))
    found = summarize_runs([path])
    assert found["metrics"] == {"dice_pooled": {"value": 0.25}}
    assert found["data"]["folds"] == [2] and found["data"]["kind"] == "real"
    assert found["weights_sha256"] == ["b2" * 32]
    check_record(RECORD | found | {"seeds": [0]}, "record")


def test_numbers_of_two_splits_are_not_averaged(tmp_path):
    paths = [evaluated(tmp_path / "a.json", 0.5), evaluated(tmp_path / "b.json", 0.6, split="c3" * 32)]
    with pytest.raises(InputError, match="b.json: is of other data"):
        summarize_runs(paths)


def test_a_metric_that_was_not_measured_is_missed(tmp_path):
    with pytest.raises(InputError, match="no number for patient_auc"):
        summarize_runs([evaluated(tmp_path / "a.json", 0.5)], metrics=["dice_pooled", "patient_auc"])
