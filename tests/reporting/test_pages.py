from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from jinja2 import UndefinedError
from PIL import Image

from bonemets.reporting.display import display_gray
from bonemets.reporting.pages import format_number, render_page, scan_drawing
from bonemets.reporting.study.findings import measure_findings


@pytest.fixture
def scan():
    return np.random.default_rng(0).poisson(5, (128, 64, 2)).astype(np.float32)


def test_drawing_holds_image_outlines_and_sides(scan):
    mask = np.zeros(scan.shape)
    mask[10:14, 20:30, 0], mask[60:64, 5:9, 0], mask[40:44, 58:64, 1] = 1, 1, 1
    anterior, posterior = scan_drawing(scan, ("anterior", "posterior"), mask)
    assert (anterior["sides"], posterior["sides"]) == (("R", "L"), ("L", "R"))
    png = base64.b64decode(anterior["image"].removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), display_gray(scan[..., 0]))
    numbers = [f["number"] for view in (anterior, posterior) for f in view["findings"]]
    assert numbers == [f.number for f in measure_findings(scan, mask, mask, ("anterior", "posterior"), None)]
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", anterior["findings"][0]["path"]), dtype=float)
    assert points.min(axis=0).tolist() == [20, 10]  # SVG's coordinates begin at the pixel's corner
    assert points.max(axis=0).tolist() == [30, 14]
    assert posterior["findings"][0]["anchor"] == "end"  # at the right border the number stands left


def test_drawing_of_tall_pixels(scan):
    mask = np.zeros(scan.shape)
    mask[10:14, 20:30, 0] = 1
    (view, _) = scan_drawing(scan, ("anterior", "posterior"), mask, spacing=(4.0, 2.0))
    assert view["height"] == 256
    points = np.array(re.findall(r"([\d.]+) ([\d.]+)", view["findings"][0]["path"]), dtype=float)
    assert points.min(axis=0).tolist() == [20, 20]


def test_truth_and_ignored_are_apart(scan):
    truth = np.zeros(scan.shape)
    truth[10:14, 20:30, 0], truth[50:55, 20:30, 0] = 1, 2
    view, other = scan_drawing(scan, ("unknown", "unknown"), None, truth)
    assert view["truth"].count("M") == view["ignore"].count("M") == 1
    assert (other["truth"], other["ignore"], other["sides"]) == ("", "", None)


def test_values_are_escaped_and_must_be_there():
    with pytest.raises(UndefinedError):
        render_page("report.html", drawing=[])


@pytest.mark.parametrize(
    ("value", "text"), [(1234567.0, "1,234,567.00"), (0.5, "0.50"), (None, "–"), (float("nan"), "–")]
)
def test_numbers(value, text):
    assert format_number(value) == text
