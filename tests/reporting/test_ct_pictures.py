"""Which slices of a CT are shown, and in which gray; what is said of a CT unlike the training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonemets.data.ct.scan import CTScan
from bonemets.reporting.study.ct_findings import even_step, lesion_volumes
from bonemets.reporting.study.ct_pictures import MAXIMUM_SLICES, shown_slices, window_gray
from bonemets.reporting.study.ct_results import ct_warnings


def scan(values: np.ndarray, kind: str = "nifti", step: float = 2.5) -> CTScan:
    return CTScan(values.astype(np.float32), Path("ct"), kind, values.shape, np.diag([1.0, 1.0, step, 1.0]))


def finding(place: int, probability: float) -> dict:
    return {"slice": place, "probability_max": probability}


def test_slices_of_the_surest_findings_head_to_feet() -> None:
    assert shown_slices([finding(3, 0.6), finding(9, 0.7), finding(3, 0.9)], 10) == [8, 2]
    many = [finding(place, place / 100) for place in range(1, 31)]
    assert shown_slices(many, 40) == list(range(29, 29 - MAXIMUM_SLICES, -1))


@pytest.mark.parametrize(("slices", "expected"), [(40, [30, 20, 10]), (2, [1, 0]), (1, [0])])
def test_some_slices_where_nothing_is_found(slices: int, expected: list[int]) -> None:
    assert shown_slices([], slices) == expected


def test_bone_window() -> None:
    values = np.array([-1000, -500, 400, 1300, 3000]).reshape(5, 1, 1)
    assert window_gray(scan(values), 0).ravel().tolist() == [0, 0, 128, 255, 255]
    picture = np.array([0, 100, 255]).reshape(3, 1, 1)
    assert window_gray(scan(picture, "image"), 0).ravel().tolist() == [0, 100, 255]


def test_warnings() -> None:
    air = np.full((2, 2, 2), -1000)
    assert ct_warnings(scan(air), 2.5) == []
    assert "6.5 mm apart" in ct_warnings(scan(air, step=6.5), 6.5)[0]
    assert "may not be Hounsfield" in ct_warnings(scan(air + 1024), 2.5)[0]
    assert "picture" in ct_warnings(scan(air + 1024, "image"), 1.0)[0]


def test_volumes_are_ordered_from_head_to_feet_then_from_front_to_back() -> None:
    mask = np.zeros((9, 9, 4))
    mask[7, 1, 3] = mask[1, 7, 3] = mask[4, 4, 0] = 1
    labels, boxes = lesion_volumes(mask, [0, 5, 10, 15])
    assert [np.argwhere(labels == label)[0].tolist() for label, _ in boxes] == [[1, 7, 3], [7, 1, 3], [4, 4, 0]]


def test_even_step() -> None:
    assert even_step([0, 2.5, 5.02]) == pytest.approx(2.51)
    assert even_step([5, 2.5, 0]) == 2.5
    assert even_step([0, 2.5, 7.5]) is None
    assert even_step([3]) is None
