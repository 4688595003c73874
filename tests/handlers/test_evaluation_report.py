from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import State
from monai.data import MetaTensor

from bonemets.handlers import EvaluationReport
from bonemets.handlers.evaluation_report import ImageCounts, summarize
from bonemets.metrics.evaluation.cohort import Cohort
from bonemets.metrics.evaluation.measures import estimate
from bonemets.metrics.image import measure_image
from bonemets.metrics.pixel import MEASURES, PixelCounts, count_pixels, dice, precision, recall


def counts(tp: int, fp: int, fn: int, patient: str = "p1") -> ImageCounts:
    return ImageCounts("image", patient, "anterior", PixelCounts(tp, fp, fn, 1000 - tp - fp - fn))


def test_formulas() -> None:
    assert dice(3, 1, 2) == pytest.approx(6 / 9)
    assert precision(3, 1) == pytest.approx(0.75)
    assert recall(3, 2) == pytest.approx(0.6)
    assert dice(0, 0, 0) == 1
    assert dice(0, 5, 0) == 0
    assert math.isnan(precision(0, 0))
    assert math.isnan(recall(0, 0))


def test_pooled_and_per_image_are_told_apart() -> None:
    # A large lesion found, a small one missed, an empty image clean, an empty image with a false finding.
    images = [counts(90, 10, 10), counts(0, 0, 5, "p2"), counts(0, 0, 0, "p3"), counts(0, 4, 0, "p3")]
    summary = summarize(images)
    assert (summary["images"], summary["images_lesion_bearing"], summary["patients"]) == (4, 2, 3)
    assert summary["dice_pooled"] == pytest.approx(180 / (180 + 14 + 15))
    assert summary["precision_pooled"] == pytest.approx(90 / 104)
    assert summary["recall_pooled"] == pytest.approx(90 / 105)
    assert summary["dice_per_image_bearing"] == pytest.approx((0.9 + 0) / 2)
    assert summary["dice_per_image"] == pytest.approx((0.9 + 0 + 1 + 0) / 4)


def test_what_is_undefined_is_null() -> None:
    summary = summarize([counts(0, 0, 0)])
    assert summary["dice_pooled"] == 1
    assert summary["precision_pooled"] is None
    assert summary["dice_per_image_bearing"] is None


def test_files(tmp_path: Path) -> None:
    datalist = tmp_path / "data" / "datalist.json"
    datalist.parent.mkdir()
    datalist.write_text(json.dumps({"name": "phantoms", "training": []}))
    image = MetaTensor(
        torch.zeros(1, 1, 4), meta={"filename_or_obj": str(tmp_path / "data" / "p7" / "anterior.nii.gz")}
    )

    class EngineState:
        state = State(
            batch=[{"patient": "p7", "view": "anterior"}],
            output=[{"image": image, "pred": torch.tensor([[[1, 1, 0, 0]]]), "label": torch.tensor([[[1, 0, 1, 2]]])}],
            metrics={},
        )

    report = EvaluationReport(tmp_path / "out", datalist, settings={"section": "test"}, metrics=["mean_iou"])
    report.iteration_completed(EngineState)
    report.epoch_completed(EngineState)
    (row,) = csv.DictReader((tmp_path / "out" / "per_image.csv").open())
    assert row["image"] == "p7/anterior.nii.gz"
    assert [row[key] for key in ("tp", "fp", "fn", "tn", "ignored_pixels")] == ["1", "1", "1", "0", "1"]
    assert row["lesion_bearing"] == "1"
    assert float(row["mean_iou"]) == pytest.approx(1 / 6, abs=1e-6)
    assert float(row["dice"]) == pytest.approx(0.5)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["section"] == "test"
    assert summary["datalist"]["name"] == "phantoms"
    assert str(tmp_path) not in (tmp_path / "out" / "summary.json").read_text()
    assert EngineState.state.metrics["dice_pooled"] == pytest.approx(0.5)
    assert EngineState.state.metrics["mean_iou_pooled"] == pytest.approx(1 / 6)
    assert set(summary["definitions"]) >= {"dice", "precision", "recall", "mean_iou"}


def test_names_and_values_are_those_of_the_evaluation_command() -> None:
    """`bonemets evaluate` on the same pixels gives the same numbers under the same names."""
    rng = np.random.default_rng(0)
    images, results = [], []
    for number in range(5):
        truth = rng.choice([0, 1, 2], (9, 7), p=[0.6, 0.3, 0.1]) * (number != 3)
        mask = rng.random((9, 7)) < 0.3 * (number != 4)
        images.append(ImageCounts(str(number), str(number), "", count_pixels(mask, truth)))
        results.append(measure_image(mask.astype(float), truth, is_probability=False, patient=str(number)))
    expected = {found.measure.key: found.value for found in estimate(Cohort(results))}
    summary = summarize(images, tuple(MEASURES))
    named = [key for key in summary if key in expected]
    assert len(named) >= 17
    for key in named:
        assert summary[key] == pytest.approx(expected[key]), key
    assert [image.row()["lesion_bearing"] for image in images] == [1, 1, 1, 0, 1]


def test_an_unknown_measure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got miou"):
        EvaluationReport(tmp_path, metrics=["mean_iou", "miou"])
