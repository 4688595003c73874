"""The weights that bundles ship: what lies there, and that they find lesions."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from bonemets.bundle.folders import DEFAULT_BUNDLE
from bonemets.bundle.weights import MAXIMUM_BYTES, shipped_record
from bonemets.data import VIEWS, PlanarScan, read_ct, read_planar, write_nifti
from bonemets.engines.predictor import BundlePredictor
from bonemets.handlers.pixel_metric import count_item
from bonemets.metrics.pixel import PixelCounts, measure
from bonemets.simulation import load_skeleton, target_label
from bonemets.simulation.cohort import make_simulated_study
from bonemets.simulation.ct.folder import slice_affine
from bonemets.simulation.ct.slices import simulate_ct
from bonemets.simulation.dermoscopy.image import simulate_dermoscopy

ROOT = Path(__file__).resolve().parents[2]
# Patients of the demo's seed, not of the benchmark cohorts'.
SEED, PATIENTS = 3, (2, 3, 4)
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
    if metric["name"] is None:  # nothing was chosen: the last epoch's
        assert record["epoch"] == max(rows)
        return
    scores = {epoch: float(row[metric["name"]]) for epoch, row in rows.items() if row[metric["name"]]}
    assert scores[record["epoch"]] == max(scores.values()) == pytest.approx(metric["value"], abs=1e-4)


@pytest.mark.parametrize("config", ["inference", "evaluate"])
@pytest.mark.parametrize("name", SHIPPED)
def test_weights_are_compared_before_they_are_loaded(name: str, config: str) -> None:
    content = ConfigParser.load_config_file(str(ROOT / "bundles" / name / "configs" / f"{config}.yaml"))
    handlers = content["handlers" if config == "inference" else "validate::handlers"]
    first, second = handlers[:2]
    assert (first["_target_"], second["_target_"]) == ("bonemets.handlers.WeightsCheck", "CheckpointLoader")
    assert first["path"] == second["load_path"]


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_have_a_version_and_a_changelog_entry_of_their_own(name: str) -> None:
    folder = ROOT / "bundles" / name
    metadata = json.loads((folder / "configs" / "metadata.json").read_text("utf-8"))
    sha256 = shipped_record(folder)["sha256"]
    naming = [version for version, entry in metadata["changelog"].items() if sha256[:12] in entry]
    assert naming == [metadata["version"]], "changed weights need a new version and a changelog entry with their sha256"
    assert metadata["eval_metrics"].get("weights_sha256", sha256) == sha256


def test_every_bundle_ships_weights() -> None:
    assert sorted(path.name for path in (ROOT / "bundles").iterdir() if path.is_dir()) == SHIPPED
    assert DEFAULT_BUNDLE in SHIPPED


def dice(predictor: BundlePredictor, scans: Iterable[tuple[Any, np.ndarray]]) -> float:
    """Of the pixels of all scans together."""
    total = np.zeros(4, dtype=int)
    for scan, label in scans:
        item = {"pred": torch.from_numpy(predictor.predict(scan).mask), "label": torch.from_numpy(label)}
        total += astuple(count_item(item))
    return measure("dice", PixelCounts(*total.tolist()))


# About two thirds of what the weights reach: 0.35, 0.27 and 0.28, CT 0.83; for pictures, 0.97, nearly nine tenths.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("bundle", "floor"),
    [
        ("spect_msa_net_segmentation", 0.23),
        ("spect_dual_pooling_segmentation", 0.18),
        ("spect_multi_attention_segmentation", 0.18),
    ],
)
def test_they_find_lesions_of_patients_whom_no_network_has_seen(bundle: str, floor: float) -> None:
    scans = []
    for patient in PATIENTS:
        study = make_simulated_study(SEED, patient, world="hospital")
        scan = PlanarScan(study.counts.astype(np.float32), VIEWS, (2.26, 2.26), Path("scan.nii.gz"), "nifti")
        scans.append((scan, target_label(study)))
    assert dice(BundlePredictor(ROOT / "bundles" / bundle), scans) > floor


@pytest.mark.slow
def test_they_find_lesions_in_ct_slices_which_no_network_has_seen(tmp_path: Path) -> None:
    slices = simulate_ct(load_skeleton(), SEED, PATIENTS[0], slices=6)
    scans = []
    for number, (hu, label) in enumerate(zip(slices.hu, slices.label, strict=True)):
        path = tmp_path / f"{number}.nii.gz"
        write_nifti(path, hu[..., None], slice_affine(slices.origin[number], slices.pixel, 2.5))
        scans.append((read_ct(path), label[..., None]))
    assert dice(BundlePredictor(ROOT / "bundles" / "ct_mfp_deeplabv3plus_segmentation"), scans) > 0.56


@pytest.mark.slow
def test_they_find_lesions_in_pictures_which_no_network_has_seen(tmp_path: Path) -> None:
    scans = []
    for number in range(1, 5):
        picture = simulate_dermoscopy(SEED, number)
        Image.fromarray(picture.pixels).save(tmp_path / f"{number}.png")
        scans.append((read_planar(tmp_path / f"{number}.png"), picture.mask[..., None]))
    assert dice(BundlePredictor(ROOT / "bundles" / "skin_sc_unext_segmentation"), scans) > 0.85
