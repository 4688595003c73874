from __future__ import annotations

import numpy as np
import torch
from ignite.engine import State

from bonemets.handlers import ScanOverlays
from bonemets.reporting.figures import PREDICTION_COLOR, TRUTH_COLOR


def engine_with(count: int):
    def item(number: int) -> dict:
        label = torch.zeros(1, 64, 32)
        label[:, 10:20, 5:15] = 1
        pred = torch.zeros(1, 64, 32)
        pred[:, 40:50, 15:25] = 1
        return {"image": torch.rand(1, 64, 32) + number, "pred": pred, "label": label, "ignored": label > 2}

    class EngineState:
        state = State(batch=[{"view": "anterior"}] * count, output=[item(number) for number in range(count)])

    return EngineState


def has_color(picture: np.ndarray, color: str) -> bool:
    wanted = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(picture.astype(int) - wanted).max(axis=2) < 40).any())


def test_the_first_scans_with_both_outlines() -> None:
    overlays = ScanOverlays(count=2)
    overlays.iteration_completed(engine_with(3))
    overlays.iteration_completed(engine_with(3))
    pictures = overlays.pictures()
    assert list(pictures) == ["scan_01", "scan_02", "scans"]
    assert np.array_equal(pictures["scans"], np.concatenate([pictures["scan_01"], pictures["scan_02"]], axis=1))
    for picture in pictures.values():
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert has_color(picture, PREDICTION_COLOR)
        assert has_color(picture, TRUTH_COLOR)
    # The legend names the prediction in its color, below the scan.
    alone = overlays.pictures(truth_alone=True)["scan_01"]
    scan = alone[: alone.shape[0] * 2 // 3]
    assert has_color(scan, TRUTH_COLOR)
    assert not has_color(scan, PREDICTION_COLOR)


def test_without_truth_the_prediction_alone() -> None:
    engine = engine_with(1)
    engine.state.output[0].pop("label")
    overlays = ScanOverlays(count=1)
    overlays.iteration_completed(engine)
    picture = overlays.pictures()["scan_01"]
    assert has_color(picture, PREDICTION_COLOR)
    assert not has_color(picture, TRUTH_COLOR)


def test_pictures_keep_their_colors() -> None:
    image = torch.zeros(3, 48, 64)
    image[1] = 1.5  # green
    pred = torch.zeros(1, 48, 64)
    pred[:, 10:30, 10:40] = 1

    class EngineState:
        state = State(batch=[{}], output=[{"image": image, "pred": pred, "label": pred.clone()}])

    overlays = ScanOverlays(count=1)
    overlays.iteration_completed(EngineState)
    picture = overlays.pictures()["scan_01"]
    assert has_color(picture, "#00ff00")
    assert has_color(picture, PREDICTION_COLOR)
    assert has_color(picture, TRUTH_COLOR)
