from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bonemets.reporting.display import display_gray, outlines
from bonemets.reporting.figures import figure_png, overlay_figure, training_figure


def pixels_of(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure_png(figure))).convert("RGB")).astype(int)


def colored(image: np.ndarray) -> np.ndarray:
    return (image.max(axis=-1) - image.min(axis=-1)) > 60


@pytest.fixture
def scan():
    return np.random.default_rng(0).poisson(5, (256, 64, 2)).astype(np.float32)


def test_gray_is_inverted_clipped_and_lifts_the_faint():
    view = np.array([[0, 1, 50, 100, 1000]], dtype=float)
    gray = display_gray(view, percentile=75)  # clipped at the 75th percentile of 1, 50, 100, 1000: 325
    assert gray.dtype == np.uint8
    assert gray[0].tolist() == [
        255,
        255 - round(255 * (1 / 325) ** 0.55),
        255 - round(255 * (50 / 325) ** 0.55),
        122,
        0,
    ]
    assert (display_gray(np.zeros((3, 3))) == 255).all()
    assert (display_gray(np.array([[-5.0, 5.0]]))[0] == [255, 0]).all()


def test_outline_of_one_pixel_lies_half_a_pixel_around_it():
    mask = np.zeros((5, 5))
    mask[0, 4] = 1  # at the border
    (line,) = outlines(mask)
    assert line.mean(axis=0)[:2] == pytest.approx((4, 0), abs=0.2)
    assert np.abs(line - (4, 0)).sum(axis=1) == pytest.approx(0.5)
    assert (line[0] == line[-1]).all()


def test_outline_encloses_the_area():
    mask = np.zeros((30, 30))
    mask[5:15, 8:20] = 1
    (line,) = outlines(mask)
    x, y = line.T
    area = abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
    assert area == pytest.approx(120 - 0.5, abs=0.01)  # four corners are cut by 1/8 pixel each


def test_prediction_and_truth_are_drawn_in_their_colors(scan):
    mask, truth = np.zeros(scan.shape), np.zeros(scan.shape)
    mask[100:120, 20:40, 0] = 1
    truth[30:60, 20:40, 1] = 1
    views = ("anterior", "posterior")
    plain = pixels_of(overlay_figure(scan, views, height_px=800))
    assert not colored(plain).any()
    both = pixels_of(overlay_figure(scan, views, mask, truth, height_px=800))
    red = colored(both) & (both[..., 0] > both[..., 2])
    blue = colored(both) & (both[..., 2] > both[..., 0])
    middle, legend = both.shape[1] // 2, both.shape[0] - 40
    assert red[:legend, :middle].any()
    assert not red[:legend, middle:].any()
    assert blue[:legend, middle:].any()
    assert not blue[:legend, :middle].any()
    assert red[legend:].any()
    assert blue[legend:].any()


def test_same_figure_same_bytes(scan):
    first, second = (figure_png(overlay_figure(scan, ("anterior", "posterior"), scan > 12)) for _ in range(2))
    assert first == second


def test_anisotropic_pixels_keep_the_bodys_shape(scan):
    wide = overlay_figure(scan, ("anterior", "posterior"), spacing=(1.0, 2.0), height_px=400).get_size_inches()
    plain = overlay_figure(scan, ("anterior", "posterior"), height_px=400).get_size_inches()
    assert wide[0] > 1.4 * plain[0]
    assert wide[1] == plain[1]


def test_views_must_fit(scan):
    with pytest.raises(ValueError, match=r"\(H, W, 1\)"):
        overlay_figure(scan, ("anterior",))


def test_training_curves():
    curves = {"training": {"loss": [(1, 0.9), (2, 0.4)]}, "validation": {"Dice": [(2, 0.5)], "recall": [(2, 0.4)]}}
    figure = training_figure(curves, title="a run")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["training", "validation"]
    line = figure.axes[0].lines[0]
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([1, 2], [0.9, 0.4])
    assert len(figure.axes[1].lines) == 2
    assert figure_png(figure).startswith(b"\x89PNG")


def test_pyplot_is_left_alone():
    code = "import sys, bonemets.reporting.figures; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
