"""scripts/results/measure_shifted.py: what counts as found, and intervals over patients."""

import numpy as np
import pytest

import measure_shifted
from bonemets.metrics.lesions import IGNORE, LESION
from measure_shifted import LEVELS, View, as_picture, count, summarize


def test_a_finding_must_be_a_tenth_lesion_and_may_lie_on_ignored_pixels():
    label = np.zeros((60, 60), np.uint8)
    label[2:6, 2:6] = LESION
    label[30:40, 30:40] = IGNORE
    score = np.zeros((60, 60), np.float32)
    score[2:6, 2:8] = 0.9  # two thirds lesion
    score[31:39, 31:39] = 0.7  # ignored
    score[50:54, 50:54] = 0.4  # a false positive
    number, found, false = count(score, label, np.array([0.3, 0.5, 0.8, 0.95]))
    assert number == 1
    assert found.tolist() == [1, 1, 1, 0]
    assert false.tolist() == [1, 0, 0, 0]
    _, found, false = count(np.ones((60, 60), np.float32), label, np.array([0.5]))
    assert (found.item(), false.item()) == (0, 1)  # the whole picture as one finding finds nothing


def test_summary_is_of_all_views_and_its_interval_of_patients():
    steps = np.zeros(len(LEVELS))
    found, false = steps + 1, steps + 3.0
    false[1:] = 1.5
    found[-1] = false[-1] = 0
    views = [View(f"p{i}", 1, found * (i % 2), false, None) for i in range(10)]
    views += [View(f"p{i}", 0, steps, steps, float(i == 0)) for i in range(10)]
    summary = summarize(views, np.random.default_rng(0))
    # Half of ten lesions are found at 0.75 false positives a view, so at 1, 2 and 4 of them.
    assert [summary[f"sensitivity_at_{rate}"]["value"] for rate in (1, 2, 4)] == [0.5, 0.5, 0.5]
    entry = summary["sensitivity_at_2"]
    assert 0.1 <= entry["low"] < 0.5 < entry["high"] <= 0.9
    assert summary["false_positives_without_lesions"]["value"] == pytest.approx(0.1)


def test_a_picture_has_256_levels_and_the_same_size():
    counts = np.random.default_rng(0).poisson(20, (1024, 256)).astype(np.float32)
    picture = as_picture(counts, np.random.default_rng(1))
    assert picture.shape == counts.shape
    assert picture.min() >= 0 and picture.max() < 300


def test_finds_what_baselines_mark_in_the_real_scan():
    from pathlib import Path

    from pydicom.data import get_testdata_file

    from bonemets.data.planar.study import read_planar

    scan = read_planar(Path(str(get_testdata_file("JPEG-LL.dcm"))))
    detect = measure_shifted.load_detectors([])[0]["white_top_hat"]
    several = [measure_shifted.findings(scan, detect, level) for level in (0.2, 0.4, 0.8)]
    assert several[0] > 0 and several == sorted(several, reverse=True)
