from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bonemets.data import write_datalist
from bonemets.errors import InputError
from bonemets.sweep.spec import read_sweep, trial_record

BUNDLE = "spect_dual_pooling_segmentation"


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    for name in ("a.nii.gz", "a_label.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    items = [
        {"image": "a.nii.gz", "label": "a_label.nii.gz", "patient": f"p{number}", "fold": number % 2}
        for number in range(4)
    ]
    testing = [{"image": "a.nii.gz", "label": "a_label.nii.gz", "patient": "t"}]
    write_datalist(tmp_path / "datalist.json", {"training": items, "testing": testing})
    return {"name": "rows", "dataset_dir": ".", "models": [{"bundle": BUNDLE}]}


def read(folder: Path, spec: dict[str, Any]) -> Any:
    (folder / "sweep.yaml").write_text(yaml.safe_dump(spec))
    return read_sweep(folder / "sweep.yaml")


def test_expands_rows_folds_and_seeds(tmp_path: Path, spec: dict[str, Any]) -> None:
    spec |= {"folds": [0, 1], "seeds": [3, 4, 5], "overlays": ["compact"], "settings": {"epochs": 2, "batch_size": 1}}
    spec["models"] = [
        {"bundle": BUNDLE, "rows": ["table2_row1_max", "table2_row6_dac_2"]},
        {"bundle": BUNDLE, "name": "plain", "network": {"_target_": "N"}, "overlays": [], "settings": {"epochs": 9}},
    ]
    sweep = read(tmp_path, spec)
    assert sweep.models == ["spect_dual_pooling-table2_row1_max", "spect_dual_pooling-table2_row6_dac_2", "plain"]
    assert len(sweep.trials) == len({trial.name for trial in sweep.trials}) == 3 * 2 * 3
    first, last = sweep.trials[0], sweep.trials[-1]
    assert [path.stem for path in first.configs] == ["train", "compact", "table2_row1_max"]
    assert (first.fold, first.seed, first.settings["epochs"]) == (0, 3, 2)
    assert [path.stem for path in last.configs] == ["train"]
    assert last.settings == {"epochs": 9, "batch_size": 1}
    assert last.name == "plain-fold1-seed5"
    assert str(tmp_path) not in str(trial_record(first))


def test_fingerprint_follows_what_matters(tmp_path: Path, spec: dict[str, Any]) -> None:
    before = read(tmp_path, spec).trials[0].fingerprint
    assert read(tmp_path, {**spec, "name": "other", "retries": 3}).trials[0].fingerprint == before
    assert read(tmp_path, {**spec, "settings": {"epochs": 3}}).trials[0].fingerprint != before
    assert read(tmp_path, {**spec, "seeds": [1]}).trials[0].fingerprint != before
    (tmp_path / "own.yaml").write_text("epochs: 4\n")
    own = read(tmp_path, {**spec, "overlays": ["own.yaml"]}).trials[0].fingerprint
    (tmp_path / "own.yaml").write_text("epochs: 5\n")
    assert read(tmp_path, {**spec, "overlays": ["own.yaml"]}).trials[0].fingerprint != own
    path = tmp_path / "datalist.json"
    path.write_text(path.read_text() + "\n")
    assert read(tmp_path, spec).trials[0].fingerprint != before


def test_several_processes_are_another_training(tmp_path: Path, spec: dict[str, Any]) -> None:
    alone = read(tmp_path, spec).trials[0]
    together = read(tmp_path, {**spec, "overlays": ["compact"], "resources": {"cpus": 2, "processes": 2}}).trials[0]
    assert [path.stem for path in together.configs] == ["train", "multi_gpu_train", "compact"]
    assert together.fingerprint != read(tmp_path, {**spec, "overlays": ["compact"]}).trials[0].fingerprint
    assert trial_record(together)["processes"] == 2
    # What was trained before this was a choice stays what it is.
    assert "processes" not in trial_record(alone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foldz": [0]}, "there is no key 'foldz'; did you mean folds"),
        ({"models": None}, "needs models"),
        ({"models": [{"bundle": "spect_dual_poling_segmentation"}]}, f"did you mean {BUNDLE}"),
        ({"models": [{"bundle": BUNDLE, "rows": ["table2_row1_mx"]}]}, "did you mean ablations/table2_row1_max"),
        ({"models": [{"bundle": BUNDLE}, {"bundle": BUNDLE}]}, "several models are called spect_dual_pooling"),
        ({"models": [{"bundle": BUNDLE, "name": "x", "rows": ["table2_row1_max", "table2_row2_average"]}]}, "2"),
        ({"folds": [7]}, "has no fold 7; it has 0, 1"),
        ({"seeds": 3}, "seeds must be a list"),
        ({"section": "training"}, "must be test or validation"),
        ({"dataset_dir": "nowhere"}, "cannot be read"),
        ({"resources": {"cpu": 1}}, "did you mean cpus"),
        ({"resources": {"processes": 0}}, "processes must be a whole number of at least 1, got 0"),
        ({"resources": {"gpus": 4}}, "4 GPUs need as many processes; set processes: 4"),
        ({"resources": {"gpus": 1, "processes": 2}}, "2 processes need a GPU each; set gpus: 2"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, spec: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, {**spec, **change})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_testing_items(tmp_path: Path, spec: dict[str, Any]) -> None:
    path = tmp_path / "datalist.json"
    path.write_text(path.read_text().replace('"testing"', '"tested"'))
    with pytest.raises(InputError, match="set section: validation"):
        read(tmp_path, spec)
    assert len(read(tmp_path, {**spec, "section": "validation"}).trials) == 1
