from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.metrics import DiceMetric, MeanIoU
from monai.transforms import Compose
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from bonemets.handlers import PixelMetric
from bonemets.transforms import IgnoreRegiond

SKLEARN = {
    "dice": (f1_score, "binary"),
    "iou": (jaccard_score, "binary"),
    "precision": (precision_score, "binary"),
    "recall": (recall_score, "binary"),
    "macro_dice": (f1_score, "macro"),
    "mean_iou": (jaccard_score, "macro"),
    "mean_pixel_accuracy": (recall_score, "macro"),
    "mean_precision": (precision_score, "macro"),
}


@pytest.fixture(scope="module")
def cases() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Predictions and labels of 0, 1 and 2, (1, 12, 9); all with lesions, all with findings."""
    rng = np.random.default_rng(4)
    draw = [(rng.random((1, 12, 9)) < 0.3, rng.choice([0, 1, 2], (1, 12, 9), p=[0.6, 0.3, 0.1])) for _ in range(5)]
    return [(torch.tensor(pred).float(), torch.tensor(label).to(torch.uint8)) for pred, label in draw]


def validate(cases, metric: PixelMetric, batch_size: int = 2, clean: bool = True) -> float:
    """The metric, as an evaluator with MONAI's own machinery finds it."""
    items = [{"image": pred, "label": label} for pred, label in cases]
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=torch.utils.data.DataLoader(items, batch_size=batch_size),
        network=torch.nn.Identity(),
        postprocessing=Compose([IgnoreRegiond(keys="pred")]) if clean else None,
        additional_metrics={"found": metric},
        key_val_metric={"other": PixelMetric("dice")},
    )
    evaluator.run()
    return evaluator.state.metrics["found"]


def flat(cases) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of all pixels that count."""
    pred, label = (torch.stack(part).numpy().ravel() for part in zip(*cases, strict=True))
    return label[label != 2], pred[label != 2].astype(int)


@pytest.mark.parametrize("measure", SKLEARN)
@pytest.mark.parametrize("clean", [True, False], ids=["ignored", "label 2"])
def test_pooled_is_that_of_sklearn(cases, measure: str, clean: bool) -> None:
    function, average = SKLEARN[measure]
    expected = function(*flat(cases), average=average)
    assert validate(cases, PixelMetric(measure), clean=clean) == pytest.approx(expected)


@pytest.mark.parametrize("measure", SKLEARN)
def test_per_image_is_the_mean_of_sklearn(cases, measure: str) -> None:
    function, average = SKLEARN[measure]
    expected = np.mean([function(*flat([case]), average=average) for case in cases])
    for batch_size in (1, 3):
        assert validate(cases, PixelMetric(measure, per_image=True), batch_size) == pytest.approx(expected)


def test_per_image_is_that_of_monai_where_nothing_is_ignored(cases) -> None:
    cases = [(pred, label % 2) for pred, label in cases]
    preds, labels = (torch.stack(part) for part in zip(*cases, strict=True))
    for name, metric in (("dice", DiceMetric()), ("iou", MeanIoU())):
        metric(preds, labels)
        assert validate(cases, PixelMetric(name, per_image=True)) == pytest.approx(metric.aggregate().item())


def test_images_without_lesions() -> None:
    nothing, spot = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    spot[0, 0, 0] = 1
    clean, false, unsure = (nothing, nothing), (spot, nothing), (spot, 2 * spot)
    assert validate([clean, false], PixelMetric("dice", per_image=True)) == 0.5
    assert validate([clean, unsure], PixelMetric("iou", per_image=True)) == 1
    assert validate([clean, clean], PixelMetric("dice")) == 1
    assert math.isnan(validate([clean, unsure], PixelMetric("recall", per_image=True)))
    assert validate([clean, (spot, spot)], PixelMetric("recall", per_image=True)) == 1


def test_starts_anew_every_epoch(cases) -> None:
    metric = PixelMetric("mean_iou")
    first = validate(cases, metric)
    assert validate(cases, metric) == first
    assert validate(cases[:2], metric) != first


def test_an_unknown_measure() -> None:
    with pytest.raises(ValueError, match="mean_iou"):
        PixelMetric("miou")
