"""Bundles that mark what is hot or dense, so that their findings are known, and images with known findings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ct_series import SHAPE
from hot_spot import HOT_SPOT_INFERENCE

from bonemets.bundle.trust import check_trust
from bonemets.dicom import NMHeader, write_nm


@pytest.fixture(scope="session", autouse=True)
def configuration_folder(tmp_path_factory) -> Iterator[Path]:
    """A configuration folder of the tests' own, in which the bundles of this file are trusted."""
    folder = tmp_path_factory.mktemp("configuration")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """Marks every pixel of 100 counts and more: probability is sigmoid(counts - 99.5)."""
    folder = tmp_path_factory.mktemp("bundles") / "hot_spot_segmentation"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.yaml").write_text(yaml.safe_dump(HOT_SPOT_INFERENCE))
    (folder / "configs" / "metadata.json").write_text(
        json.dumps({"version": "1.2.3", "description": "marks hot spots"})
    )
    state = {"weight": torch.ones(1, 1, 1, 1), "bias": torch.tensor([-99.5])}
    torch.save(state, folder / "models" / "model.pt")
    (folder / "models" / "model.json").write_text(json.dumps({"datalist": {"name": "nothing, made for a test"}}))
    check_trust(folder, given=True)
    return folder


@pytest.fixture(scope="session")
def body() -> np.ndarray:
    """Counts of a body in two views: two hot spots in the anterior view, one of them in the posterior view too."""
    rows, columns = np.mgrid[:1024, :256]
    inside = (np.abs(columns - 127.5) < 60) & (rows > 60) & (rows < 960)
    counts = np.random.default_rng(0).poisson(np.where(inside, 20.0, 0.3), (2, 1024, 256)).astype(np.uint16)
    counts[0, 300:304, 100:105] = 200
    counts[0, 500:503, 140:143] = 150
    counts[1, 500:503, 112:115] = 150
    return np.moveaxis(counts, 0, -1)


@pytest.fixture
def study(tmp_path, body) -> Path:
    """A folder with one two-frame DICOM scan."""
    folder = tmp_path / "IN^SECRET"
    write_nm(folder / "scan.dcm", body, NMHeader(patient="SECRET^NAME"))
    return folder


@pytest.fixture(scope="session")
def dense_bundle(tmp_path_factory) -> Path:
    """Marks every pixel of 500 HU and more: probability is sigmoid(HU - 499.5)."""
    folder = tmp_path_factory.mktemp("bundles") / "dense_segmentation"
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    load, channel = HOT_SPOT_INFERENCE["preprocessing"]["transforms"]
    load = {**load, "reader": {"_target_": "bonemets.data.CTReader"}}
    preprocessing = {"_target_": "Compose", "transforms": [load, channel]}
    (folder / "configs" / "inference.yaml").write_text(
        yaml.safe_dump({**HOT_SPOT_INFERENCE, "preprocessing": preprocessing})
    )
    formats = {"inputs": {"image": {"modality": "CT"}}}
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "1.0.0", "network_data_format": formats}))
    torch.save(
        {"weight": torch.ones(1, 1, 1, 1), "bias": torch.tensor([-499.5])}, folder / "models" / "model.pt"
    )  # fmt: skip
    check_trust(folder, given=True)
    return folder


@pytest.fixture(scope="session")
def hu() -> np.ndarray:
    """(H, W, 6): a finding of two slices, and below it one that goes on one step to the side."""
    volume = np.full((*SHAPE, 6), -1000, np.int16)
    volume[10:46, 8:40] = 40
    volume[20:24, 20:26, 4:6] = 800
    volume[30:32, 12:15, 1] = 600
    volume[32:34, 15:18, 2] = 700
    return volume
