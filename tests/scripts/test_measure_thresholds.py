"""The counts behind the table of thresholds, against the evaluation that everything else is measured by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from scipy import ndimage

import measure_thresholds
from bonemets.bundle.provenance import chosen_threshold
from bonemets.errors import InputError
from bonemets.metrics.evaluation.cohort import Cohort
from bonemets.metrics.evaluation.measures import estimate
from bonemets.metrics.image import measure_image


def images(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Blobs of probability, and labels that agree with some of them; label 2 over a corner."""
    random = np.random.default_rng(3)
    made = []
    for _ in range(number):
        probability = ndimage.gaussian_filter(random.random((64, 64)), 3)
        probability = (probability - probability.min()) / np.ptp(probability)
        truth = (ndimage.gaussian_filter(random.random((64, 64)), 3) + 0.1 * probability > 0.58).astype(np.uint8)
        truth[:10, :10] = 2
        made.append((probability, truth))
    return made


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
def test_counts_are_the_evaluations(threshold: float) -> None:
    cases, counts = images(6), measure_thresholds.Counts()
    for probability, truth in cases:
        counts.add(probability >= threshold, truth)
    results = [
        measure_image(*case, threshold=threshold, patient=f"p{number // 2}") for number, case in enumerate(cases)
    ]
    expected = {one.measure.key: one.value for one in estimate(Cohort(results), None)}
    measured = counts.measures(patients=3)
    assert 0 < measured["sensitivity_iou10"] < 1
    assert measured["false_positives_per_scan_iou10"] > 0
    for key, value in measured.items():
        assert value == pytest.approx(expected[key], abs=1e-4), key


def test_record_of_the_same_images_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "record.yaml"
    about = {"bundle": "b", "split_sha256": "a1"}
    assert measure_thresholds.record_before(path, about) == {}
    record = about | {"weights": {"20 epochs": {"sha256": "b2"}}}
    path.write_text(yaml.safe_dump(record))
    assert measure_thresholds.record_before(path, about) == record
    assert measure_thresholds.record_before(path, about | {"split_sha256": "c3"}) == {}


def test_figures_of_the_records_are_there() -> None:
    records = sorted(measure_thresholds.RECORDS.glob("*.yaml"))
    assert records
    for path in records:
        assert (measure_thresholds.FIGURES / f"thresholds_{path.stem}.png").is_file()


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs NAME=PATH"):
        measure_thresholds.named(f"seven epochs={tmp_path / 'model.pt'}")


def test_batches_are_counted_over_all_trainings(tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    for _ in range(2):
        torch.save(network.state_dict(), tmp_path / "model.pt")
        network.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
        for _ in range(3):
            network.train()(torch.rand(2, 1, 5, 5))
        network.eval()(torch.rand(2, 1, 5, 5))
    assert measure_thresholds.batches_seen(network) == 6


def test_chosen_threshold_is_what_inference_takes(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"epoch": 3}')
    rows = [{"threshold": t, "f1_iou10": f1} for t, f1 in ((0.3, 0.2), (0.6, 0.4), (0.8, 0.4), (0.9, 0.1))]
    assert measure_thresholds.choose({"at": rows}, tmp_path / "model.pt", "validation, fold 0") == 0.6
    assert chosen_threshold(tmp_path / "model.pt") == 0.6
    assert json.loads((tmp_path / "model.json").read_text())["epoch"] == 3
