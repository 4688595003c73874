from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ignite.engine import State
from monai.data import MetaTensor
from scipy import ndimage

from bonemets.handlers import PatientMetrics
from bonemets.metrics.evaluation.cohort import Cohort
from bonemets.metrics.evaluation.evaluation import Evaluation, patient_rows
from bonemets.metrics.evaluation.measures import estimate
from bonemets.metrics.froc import operating_point
from bonemets.metrics.image import measure_image

IGNORED = (slice(40, 44), slice(2, 12))


def images(count: int = 6) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Patient, probability, label: faint and strong lesions, false findings, an ignored region; p2 has no lesion."""
    rng = np.random.default_rng(3)
    found = []
    for index in range(count):
        label = np.zeros((48, 40), dtype=np.uint8)
        if index != 4 and index != 5:
            for row in (6, 20, 33):
                label[row : row + 4, 5 * index + 4 : 5 * index + 9] = 1
        noise = ndimage.gaussian_filter(rng.normal(size=label.shape), 1.5)
        shift = ndimage.gaussian_filter((label == 1).astype(float), 1.0)
        logit = -5 + 9 * shift * rng.uniform(0.5, 1.2) + 2.2 * noise / noise.std()
        label[IGNORED] = 2
        found.append((f"p{index // 2}", 1 / (1 + np.exp(-logit)), label))
    return found


def measured(with_probability: bool = True) -> PatientMetrics:
    handler = PatientMetrics()
    for patient, probability, label in images():
        output = {
            "image": MetaTensor(torch.zeros(1, 48, 40)),
            "pred": torch.from_numpy((probability >= 0.5) & (label != 2))[None].float(),
            "label": torch.from_numpy(label == 1)[None].float(),
            "ignored": torch.from_numpy(label == 2)[None],
        }
        if with_probability:
            output["probability"] = torch.from_numpy(probability)[None]

        class Engine:
            state = State(batch=[{"patient": patient}], output=[output])

        handler.iteration_completed(Engine())
    return handler


def test_numbers_are_those_of_an_evaluation() -> None:
    results = [measure_image(np.where(label == 2, 0, p), label, patient=patient) for patient, p, label in images()]
    cohort = Cohort(results)
    expected = {found.measure.key: found.value for found in estimate(cohort, None)}
    handler = measured()
    metrics = handler.metrics()
    assert len(metrics) == 4
    for name, value in metrics.items():
        assert value == pytest.approx(expected[name]), name
    assert 0 < metrics["froc_sensitivity_at_1"] != metrics["sensitivity_iou10"]
    theirs = patient_rows(Evaluation(cohort, None, [], {}, {}))
    for ours, row in zip(handler.rows(), theirs, strict=True):
        for column, value in ours.items():
            assert value == pytest.approx(row[column], nan_ok=True), column


def test_rows_add_up_to_the_cohort() -> None:
    handler = measured()
    rows, metrics = handler.rows(), handler.metrics()
    lesions = sum(row["lesions"] for row in rows)
    found = sum(row["froc_sensitivity_at_1"] * row["lesions"] for row in rows if row["lesions"])
    assert metrics["froc_sensitivity_at_1"] == pytest.approx(found / lesions)
    assert sum(row["froc_false_positives_at_1"] for row in rows) <= len(rows)
    assert math.isnan(rows[2]["sensitivity_iou10"])  # p2 has no lesion


def test_masks_alone_have_no_froc() -> None:
    handler = measured(with_probability=False)
    assert "froc_sensitivity_at_1" not in handler.metrics()
    assert "froc_sensitivity_at_1" not in handler.rows()[0]


def test_operating_point() -> None:
    found, false = np.array([9, 9, 7, 7, 2]), np.array([5.0, 2.0, 1.0, 0.4, 0.0])
    assert operating_point(found, false, 1.0) == 3  # 7 lesions at 1.0 and at 0.4: the one with fewer false findings
    assert operating_point(found, false, 3.0) == 1
    assert operating_point(found, false + 1, 0.5) is None
