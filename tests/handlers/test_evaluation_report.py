from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from ignite.engine import State
from monai.data import MetaTensor

from bonemets.handlers import EvaluationReport
from bonemets.handlers.evaluation_report import ImageCounts, summarize
from bonemets.metrics.pixel import dice, precision, recall


def counts(tp: int, fp: int, fn: int, patient: str = "p1") -> ImageCounts:
    return ImageCounts("image", patient, "anterior", tp, fp, fn)


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
    assert (summary["images"], summary["images_with_lesions"], summary["patients"]) == (4, 2, 3)
    assert summary["lesion_dice_pooled"] == pytest.approx(180 / (180 + 14 + 15))
    assert summary["precision_pooled"] == pytest.approx(90 / 104)
    assert summary["recall_pooled"] == pytest.approx(90 / 105)
    assert summary["lesion_dice_per_image_with_lesions"] == pytest.approx((0.9 + 0) / 2)
    assert summary["lesion_dice_per_image_all"] == pytest.approx((0.9 + 0 + 1 + 0) / 4)


def test_what_is_undefined_is_null() -> None:
    summary = summarize([counts(0, 0, 0)])
    assert summary["lesion_dice_pooled"] == 1
    assert summary["precision_pooled"] is None
    assert summary["lesion_dice_per_image_with_lesions"] is None


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
            output=[{"image": image, "pred": torch.tensor([[[1, 1, 0, 0]]]), "label": torch.tensor([[[1, 0, 1, 0]]])}],
            metrics={},
        )

    report = EvaluationReport(tmp_path / "out", datalist, settings={"section": "test"})
    report.iteration_completed(EngineState)
    report.epoch_completed(EngineState)
    (row,) = csv.DictReader((tmp_path / "out" / "per_image.csv").open())
    assert row["image"] == "p7/anterior.nii.gz"
    assert [row[key] for key in ("tp", "fp", "fn", "lesion_pixels", "predicted_pixels")] == ["1", "1", "1", "2", "2"]
    assert float(row["dice"]) == pytest.approx(0.5)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["section"] == "test"
    assert summary["datalist"]["name"] == "phantoms"
    assert str(tmp_path) not in (tmp_path / "out" / "summary.json").read_text()
    assert EngineState.state.metrics["lesion_dice_pooled"] == pytest.approx(0.5)
