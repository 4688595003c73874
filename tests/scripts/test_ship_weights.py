"""Shipping weights: what is put into a bundle, and what is refused."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

import ship_weights
import weights_tables
from bonemets.bundle.folders import file_sha256
from bonemets.bundle.weights import shipped_record
from bonemets.errors import InputError
from bonemets.networks.nets import DualPoolingUNet

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "spect_dual_pooling_segmentation"
SPLIT = "ab" * 32
NETWORK = {
    "_target_": "bonemets.networks.nets.DualPoolingUNet", "in_channels": 1, "out_channels": 1,
    "features": [4, 4, 8, 8, 8], "pooling": "max", "dac": None, "rmp": True,
}  # fmt: skip
# Stopped after epoch 2, which the resumed training prints again.
LOG = """\
12:00:00 > epochs: 3
12:00:10 epoch 1/3  train_loss 0.9000  (10.0 s an epoch, 0 min 20 s left)
12:00:20 epoch 2/3  train_loss 0.8000  val_lesion_dice 0.2000  (10.0 s an epoch, 0 min 10 s left)
12:10:20 epoch 2/3  train_loss 0.7000  val_lesion_dice 0.5123  (12.0 s an epoch, 0 min 12 s left)
12:10:32 epoch 3/3  train_loss 0.6000  (12.0 s an epoch, 0 min 00 s left)
"""


@pytest.fixture
def options(tmp_path) -> argparse.Namespace:
    """A project with the bundle, and the folder that a training left."""
    bundle, trial = tmp_path / "project" / "bundles" / BUNDLE, tmp_path / "trial"
    shutil.copytree(ROOT / "bundles" / BUNDLE / "configs", bundle / "configs")
    (bundle / "configs" / "metadata.json").write_text(
        '{"version": "0.1.0", "changelog": {"0.1.0": "First version. No weights."}}'
    )
    recipes = tmp_path / "project" / "results" / "cohorts"
    recipes.mkdir(parents=True)
    (recipes / "scans.yaml").write_text(f"name: bone_scan_200\ndatalist_sha256: '{SPLIT}'\n")
    (trial / "models").mkdir(parents=True)
    network = DualPoolingUNet(features=(4, 4, 8, 8, 8), pooling="max", dac=None)
    torch.save(network.state_dict(), trial / "models" / "model.pt")
    (trial / "train.log").write_text(LOG)
    record = {
        "weights": "model.pt",
        "sha256": file_sha256(trial / "models" / "model.pt"),
        "network_def": NETWORK,
        "settings": {"fold": 0, "seed": 3, "epochs": 3, "batch_size": 4, "learning_rate": 0.001,
                     "overlays": ["compact", "whole_body"], "features": [4, 4, 8, 8, 8], "table": "/home/me/table.csv"},
        "datalist": {"name": "Simulated bone scans", "sha256": SPLIT},
        "epoch": 2,
        "metric": {"name": "val_lesion_dice", "value": 0.51234},
    }  # fmt: skip
    (trial / "models" / "model.json").write_text(json.dumps(record))
    return argparse.Namespace(
        trial=trial, bundle=BUNDLE, log=None, license=None, unfinished=False, root=tmp_path / "project"
    )


def change(options: argparse.Namespace, **fields) -> None:
    path = options.trial / "models" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def save(options: argparse.Namespace, state) -> None:
    path = options.trial / "models" / "model.pt"
    torch.save(state, path)
    change(options, sha256=file_sha256(path))


def test_weights_record_log_and_card(options):
    (options.trial / "training_seconds.txt").write_text("5400.0\n")
    result = {
        "machine": {"processor": "P", "cores": 2, "gpu": None, "commit": "c"},
        "weights_sha256": file_sha256(options.trial / "models" / "model.pt"),
        "trial": {"section": "test", "processes": 2},
        "evaluation": {"patients": 50, "settings": {"threshold": 0.7}},
        "metrics": {"dice_pooled": 0.45678, "sensitivity_iou10": None, "surface_dice": 0.3},
    }
    (options.trial / "result.json").write_text(json.dumps(result))
    bundle = options.root / "bundles" / BUNDLE
    assert weights_tables.weights(bundle) == weights_tables.NONE
    weights = ship_weights.ship(options)
    assert weights.read_bytes() == (options.trial / "models" / "model.pt").read_bytes()
    record = shipped_record(bundle)
    parameters = sum(p.numel() for p in DualPoolingUNet(features=(4, 4, 8, 8, 8), pooling="max", dac=None).parameters())
    assert record["training"] == {
        "log": "training.csv", "parameters": parameters, "epochs": 3, "hours": 1.5, "processes": 2,
        "hardware": {"processor": "P", "cores": 2},
    }  # fmt: skip
    assert record["datalist"] == {
        "name": "Simulated bone scans", "sha256": SPLIT, "cohort": "bone_scan_200", "simulated": True,
    }  # fmt: skip
    assert record["settings"]["table"] == "table.csv"
    assert record["measured"] == {"section": "test", "patients": 50, "threshold": 0.7, "dice_pooled": 0.4568}
    with (weights.parent / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["train_loss"], row["val_lesion_dice"]) for row in rows] == [
        ("1", "0.9", ""), ("2", "0.7", "0.5123"), ("3", "0.6", ""),
    ]  # fmt: skip
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["version"] == "0.2.0"
    assert record["sha256"][:12] in metadata["changelog"]["0.2.0"]
    card = "\n".join(weights_tables.weights(bundle))
    for text in ("simulated patients only", record["sha256"], "bone_scan_200", "compact widths 4–4–8–8–8", "1.5 hours",
                 "50 test patients, threshold 0.7: `dice_pooled` 0.457", "in each of 2 processes"):  # fmt: skip
        assert text in card
    # Weights that someone trains in their place are no shipped ones: the card stays as it is.
    shutil.copy(options.trial / "models" / "model.json", weights.with_suffix(".json"))
    assert shipped_record(bundle) is None
    assert weights_tables.weights(bundle) is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda o: change(o, sha256="0" * 64), "another sha256|is not the file"),
        (lambda o: change(o, datalist={"name": "mine", "sha256": "cd" * 32}), "no recipe's"),
        (lambda o: change(o, settings={"fold": 0, "epochs": 3}), "'seed'"),
        (lambda o: change(o, metric={"name": "val_lesion_dice", "value": 0.7}), "of another training"),
        (lambda o: change(o, network_def={**NETWORK, "pooling": "fusion"}), "does not fit"),
        (lambda o: change(o, network_def={"_target_": "bonemets.networks.nets.UNet"}), "is for bonemets.*DualPooling"),
        (lambda o: change(o, network_def={"_target_": "os.system"}), "must name a network"),
        (lambda o: (o.trial / "train.log").write_text(LOG.rpartition("12:10:32")[0]), "ends at epoch 2 of 3"),
        (lambda o: (o.trial / "train.log").unlink(), "--log"),
        (lambda o: (o.trial / "train.log").write_text("nothing"), "no line of an epoch"),
        (lambda o: save(o, {"a": torch.zeros(2, dtype=torch.float16)}), "float32"),
        (lambda o: save(o, {"a": torch.tensor([float("nan")])}), "float32"),
        (lambda o: save(o, {"a": torch.zeros(7_000_000)}), "28.0 MB"),
        (lambda o: save(o, argparse.Namespace()), "plain tensors"),
        (lambda o: setattr(o, "bundle", "nothing_segmentation"), "is not a bundle"),
    ],
)  # fmt: skip
def test_refused(options, spoil, words):
    spoil(options)
    with pytest.raises(InputError, match=words):
        ship_weights.ship(options)
    assert not list((options.root / "bundles").glob("*/models/*"))


def test_real_data_need_a_license_and_a_stopped_training_a_word(options):
    change(options, datalist={"name": "pictures of skin", "sha256": "cd" * 32})
    (options.trial / "train.log").write_text(LOG.rpartition("12:10:32")[0])
    options.license, options.unfinished = "CC BY-NC 4.0", True
    ship_weights.ship(options)
    record = shipped_record(options.root / "bundles" / BUNDLE)
    assert (record["datalist"]["simulated"], record["datalist"]["license"]) == (False, "CC BY-NC 4.0")
    assert record["training"]["epochs"] == 2
    assert record["training"]["hours"] == round(2 * 12 / 3600, 2)
    assert "license: CC BY-NC 4.0" in "\n".join(weights_tables.weights(options.root / "bundles" / BUNDLE))


def test_what_a_training_started_from_is_kept(options):
    """Weights go on from the shipped ones, twice; the record tells of all three trainings."""
    models = options.root / "bundles" / BUNDLE / "models"
    settings = json.loads((options.trial / "models" / "model.json").read_text())["settings"]
    hashes: list[str] = []
    for loss in ("0.9000", "0.5000", "0.3000"):
        network = DualPoolingUNet(features=(4, 4, 8, 8, 8), pooling="max", dac=None)
        save(options, network.state_dict())
        change(options, settings={**settings, **({"start_weights_sha256": hashes[-1]} if hashes else {})})
        (options.trial / "train.log").write_text(LOG.replace("0.9000", loss))
        ship_weights.ship(options)
        hashes.append(file_sha256(models / "model.pt"))
        ship_weights.ship(options)  # once more, as after a threshold was chosen
    record = shipped_record(models.parent)
    start = record["started_from"]
    assert (start["sha256"], start["started_from"]["sha256"]) == (hashes[1], hashes[0])
    assert "log" not in start["training"]
    card = "\n".join(weights_tables.weights(models.parent))
    assert f"| weights with sha256 `{hashes[1][:12]}`: 3 epochs at a rate of 0.001" in card
    assert f"; these from weights with sha256 `{hashes[0][:12]}`: 3 epochs at a rate of 0.001" in card
    change(options, settings={**settings, "start_weights_sha256": "0" * 64})
    save(options, DualPoolingUNet(features=(4, 4, 8, 8, 8), pooling="max", dac=None).state_dict())
    ship_weights.ship(options)
    assert shipped_record(models.parent)["started_from"] == {"sha256": "0" * 64}
    assert [path.name for path in models.glob("*.csv")] == ["training.csv"]


def test_weights_of_the_last_epoch_say_that_nothing_was_chosen(options):
    change(options, metric={"name": None, "value": None}, epoch=3, datalist={"name": "images", "sha256": "cd" * 32})
    options.license = "CC0 1.0"
    ship_weights.ship(options)
    card = "\n".join(weights_tables.weights(options.root / "bundles" / BUNDLE))
    assert "3 of 3; kept: the last one" in card
    assert "fold 0 held out;" in card
    assert "learned from these data alone" in card
