"""The weights that bundles ship: what lies there, and that they find lesions."""

from __future__ import annotations

import csv
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from bonemets.data import VIEWS, PlanarScan
from bonemets.engines.bundles import DEFAULT_BUNDLE
from bonemets.engines.predictor import BundlePredictor
from bonemets.engines.weights import MAXIMUM_BYTES, shipped_record
from bonemets.handlers.pixel_metric import count_item
from bonemets.metrics.pixel import PixelCounts, measure
from bonemets.simulation import target_label
from bonemets.simulation.cohort import make_simulated_study

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = DEFAULT_BUNDLE
# The demo's seed, not the benchmark cohort's.
SEED, PATIENTS = 3, (2, 3)
# Dice of the pixels of both patients together; 0.41 with the weights of a quarter of an hour's training, the narrowest.
FLOOR = 0.27
SHIPPED = sorted(path.name for path in (ROOT / "bundles").iterdir() if shipped_record(path))


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_are_as_recorded(name: str) -> None:
    folder = ROOT / "bundles" / name
    record = shipped_record(folder)  # compares the sha256
    models = folder / "models"
    assert (models / "model.pt").stat().st_size <= MAXIMUM_BYTES
    text = (models / "model.json").read_text()
    assert not any(word in text for word in ('"/', "/work/", "/home/", "/root/", "/tmp/"))

    parser = ConfigParser(ConfigParser.load_config_file(str(folder / "configs" / "inference.yaml")))
    parser.update({"bundle_root": str(folder), "device": "cpu"})
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(models / "model.pt", weights_only=True))
    assert sum(parameter.numel() for parameter in network.parameters()) == record["training"]["parameters"]

    with (models / record["training"]["log"]).open() as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    assert len(rows) == record["training"]["epochs"]
    metric = record["metric"]
    scores = {epoch: float(row[metric["name"]]) for epoch, row in rows.items() if row[metric["name"]]}
    assert scores[record["epoch"]] == max(scores.values()) == pytest.approx(metric["value"], abs=1e-4)


def test_the_default_bundle_ships_weights() -> None:
    assert BUNDLE in SHIPPED


@pytest.mark.slow
def test_they_find_lesions_of_patients_whom_no_network_has_seen() -> None:
    """Two patients of another seed than the benchmark cohort's, both views, through `configs/inference.yaml`."""
    predictor = BundlePredictor(ROOT / "bundles" / BUNDLE)
    total = np.zeros(4, dtype=int)
    for patient in PATIENTS:
        study = make_simulated_study(SEED, patient)
        scan = PlanarScan(study.counts.astype(np.float32), VIEWS, (2.26, 2.26), Path("scan.nii.gz"), "nifti")
        item = {
            "pred": torch.from_numpy(predictor.predict(scan).mask),
            "label": torch.from_numpy(target_label(study)),
        }
        total += astuple(count_item(item))
    assert measure("dice", PixelCounts(*total.tolist())) > FLOOR
