from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser

import bonemets
from bonemets.bundle import provenance
from bonemets.bundle.provenance import chosen_threshold, running_config, trained_setting
from bonemets.bundle.weights import trained_on_simulated
from bonemets.data import datalist_hash
from bonemets.errors import InputError

CONFIG = """
imports:
- $from bonemets.bundle.provenance import running_config
dataset_dir: /data/a
epochs: 5
rate: $2 * 0.5
widths: [1, 2]
network_def: {_target_: torch.nn.Linear, in_features: '@widths::0', out_features: $@epochs - 1}
network: $@network_def
optimizer: {_target_: torch.optim.Adam, params: $@network.parameters(), lr: '@rate'}
run_config: $running_config()
"""


def parsed(**override) -> provenance.RunningConfig:
    parser = ConfigParser(yaml.safe_load(CONFIG))
    parser.update(override)
    return parser.get_parsed_content("run_config")


def test_settings_and_network_are_values() -> None:
    config = parsed(epochs=7)
    assert config.settings == {"dataset_dir": "/data/a", "epochs": 7, "rate": 1.0, "widths": [1, 2]}
    assert config.network_def == {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 6}
    assert config.merged["network_def"]["out_features"] == "$@epochs - 1"
    json.dumps(config.merged)


def test_overrides_that_an_overlay_adds_are_settings_and_parts_are_not() -> None:
    added = parsed(
        window_size=[96, 64], section="test", patience=None, loss={"_target_": "torch.nn.MSELoss"}, run=["$1"]
    )
    assert added.settings == {**parsed().settings, "window_size": [96, 64], "section": "test", "patience": None}
    assert parsed(rank="$0", alias="@epochs", words=["@epochs"]).settings == parsed().settings


def test_environment_names_no_machine_and_no_user() -> None:
    environment = provenance.environment()
    assert environment["torch"].startswith(torch.__version__.split("+")[0])
    assert environment["cpu_cores"] >= 1
    assert not any(name in json.dumps(environment) for name in (platform.node(), str(Path.home())))
    lines = provenance.requirements().splitlines()
    assert any(line.lower().startswith("monai==1.6") for line in lines)
    assert all(len(line.split("==")) == 2 for line in lines)


def test_fingerprint_follows_the_experiment_and_not_the_machine() -> None:
    assert parsed().sha256 == parsed(dataset_dir="/data/b").sha256
    assert parsed().sha256 != parsed(epochs=6).sha256
    assert "dataset_dir" not in parsed().portable_settings


def test_parameters_are_flat_and_short() -> None:
    parameters = parsed(widths=list(range(1, 500))).parameters()
    assert parameters["epochs"] == "5"
    assert parameters["network_def.out_features"] == "4"
    assert parameters["optimizer.lr"] == "@rate"
    assert all(len(value) < 500 for value in parameters.values())


def test_outside_of_a_configuration() -> None:
    with pytest.raises(RuntimeError, match="configuration"):
        running_config()


def test_trained_setting(tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    assert trained_setting(weights, "features", [64]) == [64]
    (tmp_path / "model.json").write_text(json.dumps({"settings": {"features": [16]}}))
    assert trained_setting(weights, "features", [64]) == [16]
    assert trained_setting(weights, "other", 3) == 3
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(InputError, match="model.json"):
        trained_setting(weights, "features", [64])


def test_commit_is_that_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    package = tmp_path / "bonemets" / "__init__.py"
    package.parent.mkdir()
    package.touch()
    monkeypatch.setattr(bonemets, "__file__", str(package))
    assert provenance.git_commit() is None
    git("init", "-q")
    # Installed inside someone else's repository, which does not track it.
    assert provenance.git_commit() is None
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert provenance.git_commit() == git("rev-parse", "HEAD")
    package.write_text("x = 1\n")
    assert provenance.git_commit() == git("rev-parse", "HEAD") + "+changes"


def test_a_simulated_cohort_is_told(tmp_path: Path) -> None:
    datalist = tmp_path / "datalist.json"
    datalist.write_text(json.dumps({"name": "n", "training": []}))
    assert provenance.datalist_record(datalist) == {"name": "n", "sha256": datalist_hash(datalist)}
    (tmp_path / "cohort.json").write_text("{}")
    assert provenance.datalist_record(datalist)["simulated"] is True
    assert trained_on_simulated({"datalist": provenance.datalist_record(datalist)})
    assert trained_on_simulated({"datalist": {"name": "Simulated bone scans, seed 1"}})
    for record in ({}, {"datalist": None}, {"datalist": {"name": "Simulated", "simulated": False}}):
        assert not trained_on_simulated(record)


def test_threshold_that_was_chosen_for_weights(tmp_path: Path) -> None:
    weights, record = tmp_path / "model.pt", tmp_path / "model.json"
    assert chosen_threshold(weights) == 0.5
    record.write_text('{"epoch": 3}')
    assert chosen_threshold(weights) == 0.5
    record.write_text('{"threshold": 0.9}')
    assert chosen_threshold(weights) == 0.9
    for wrong in ("1.5", '"$print()"', "true", "null"):
        record.write_text(f'{{"threshold": {wrong}}}')
        with pytest.raises(InputError, match=r"model\.json: threshold must be between 0 and 1, got"):
            chosen_threshold(weights)
