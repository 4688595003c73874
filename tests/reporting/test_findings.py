from __future__ import annotations

import numpy as np
import pytest

from bonemets.reporting.study.findings import measure_findings


def test_numbers_worked_out_by_hand():
    pixels = np.zeros((100, 40, 2), np.float32)
    pixels[10:90, 10:30] = 10  # the body
    pixels[20:22, 12:15, 0] = [[30, 40, 50], [30, 40, 50]]
    pixels[60, 20, 0] = 90
    pixels[30, 25, 1] = 70
    probability = np.where(pixels > 20, 0.6, 0.1).astype(np.float32)
    probability[21, 14, 0] = 0.9
    mask = (pixels > 20).astype(np.uint8)

    first, second, third = measure_findings(pixels, probability, mask, ("anterior", "posterior"), (2.0, 3.0))
    assert (first.number, first.view, first.row, first.column) == (1, "anterior", 20.5, 13.0)
    assert (first.area_px, first.area_cm2) == (6, pytest.approx(0.36))
    assert (first.counts_max, first.counts_mean) == (50, 40)
    assert first.probability_max == pytest.approx(0.9)
    assert first.probability_mean == pytest.approx((5 * 0.6 + 0.9) / 6)
    # The body mask reaches a little into the air around the body, so the rest's mean is just below 10.
    assert 4.0 < first.uptake_ratio < 5.2
    assert second.uptake_ratio / first.uptake_ratio == pytest.approx(90 / 40)
    assert (third.number, third.view, third.row, third.column, third.area_px) == (3, "posterior", 30.0, 25.0, 1)


def test_reading_order_is_head_to_feet():
    mask = np.zeros((50, 30, 1))
    mask[40, 3], mask[5, 20], mask[5, 8] = 1, 1, 1
    findings = measure_findings(mask + 1.0, mask, mask, ("unknown",), None)
    assert [(f.row, f.column) for f in findings] == [(5, 8), (5, 20), (40, 3)]
    assert all(f.area_cm2 is None for f in findings)


def test_no_body_no_ratio():
    mask = np.zeros((50, 30, 1))
    mask[5, 5] = 1
    (finding,) = measure_findings(np.zeros((50, 30, 1)), mask, mask, ("anterior",), None)
    assert finding.uptake_ratio is None
    assert finding.as_dict()["uptake_ratio"] is None


def test_json_values_are_plain_and_rounded():
    mask = np.zeros((50, 30, 1))
    mask[5:8, 5:7] = 1
    (finding,) = measure_findings(mask + 1.0, mask / 3, mask, ("anterior",), (2.26, 2.26))
    values = finding.as_dict()
    assert values["probability_max"] == 0.3333
    assert {type(value) for value in values.values()} <= {int, float, str, type(None)}
