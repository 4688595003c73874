"""How an MLflow run says what ran, on which part of which data, with which code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME

import bonemets
from bonemets.bundle.provenance import RunningConfig, git_commit
from bonemets.data.lists.datalist import datalist_hash


def configuration_tags(config: RunningConfig) -> dict[str, str]:
    """Tags of a run that follow from its configuration and the code alone.

    Args:
        config: the running configuration.

    Returns:
        Tag → value: the configuration's SHA-256, the part of the data, and as far as they are known overlays, network,
        fold and commit.
    """
    tags = {"config_sha256": config.sha256, MLFLOW_SOURCE_NAME: f"bonemets {bonemets.__version__}"}
    tags["section"] = used_section(config)
    if "overlays" in config.settings:
        tags["overlays"] = " ".join(config.settings["overlays"]) or "none"
    if "_target_" in config.network_def:
        tags["network"] = str(config.network_def["_target_"]).rpartition(".")[2]
    if "fold" in config.settings:
        fold = config.settings["fold"]
        tags["fold"] = "none held out" if fold is None else str(fold)
    if commit := git_commit():
        # MLflow's own tag appears beside the source; this one can be a column of the table.
        tags |= {MLFLOW_GIT_COMMIT: commit, "git_commit": commit}
    return tags


def dataset_input(datalist: Path, document: Mapping[str, Any], section: str) -> DatasetInput:
    """The data list as the table of runs shows it: its name, and the beginning of its SHA-256.

    Args:
        datalist: the file.
        document: what it says.
        section: the part that is used.
    """
    sha256 = datalist_hash(datalist)
    counts = {part: len(document[part]) for part in ("training", "testing") if part in document}
    name = str(document.get("name") or datalist.name)
    dataset = Dataset(name, sha256[:12], "datalist", json.dumps({"sha256": sha256}), profile=json.dumps(counts))
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, section)])


def used_section(config: RunningConfig) -> str:
    """The part of the data list that is used: "train", "validation" or "test"."""
    return str(config.settings.get("section", "train"))


def bundle_name(config: RunningConfig) -> str | None:
    """Name of the bundle that runs: that of its folder; None where the configuration knows no folder."""
    root = config.settings.get("bundle_root")
    return None if root is None else Path(str(root)).resolve().name
