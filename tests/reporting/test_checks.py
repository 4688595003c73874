from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonemets.data.planar.scan import PlanarScan
from bonemets.reporting.study.checks import scan_warnings


def scan(pixels=None, views=("anterior",), spacing=(2.26, 2.26), kind="dicom") -> PlanarScan:
    if pixels is None:
        rows, columns = np.mgrid[:1024, :256]
        pixels = np.where((np.abs(columns - 127.5) < 60) & (rows > 60) & (rows < 960), 20.0, 0.2)[..., None]
    return PlanarScan(pixels.astype(np.float32), views, spacing, Path("x"), kind)


def test_a_scan_like_the_training_data_is_told_nothing():
    assert scan_warnings(scan()) == []


@pytest.mark.parametrize(
    ("odd", "word"),
    [
        (scan(spacing=(1.0, 1.0)), "spacing is unknown"),
        (scan(spacing=(4.8, 4.8)), "4.80 × 4.80 mm"),
        (scan(scan().pixels[:1000]), "1000×256 pixels"),
        (scan(scan().pixels[300:556]), "no whole-body shape"),
        (scan(views=("unknown",)), "anterior or a posterior"),
        (scan(scan().pixels / 10), "noise alone"),
        (scan(scan().pixels - 1), "below zero"),
        (scan(20 - scan().pixels), "inverted"),
        (scan(scan().pixels * 0), "nothing to see"),
        (scan(np.pad(scan().pixels[::4, ::4], ((0, 768), (0, 192), (0, 0)))), "does not look like a whole body"),
        (scan(kind="image"), "picture"),
    ],
)
def test_each_oddity_is_named(odd, word):
    assert any(word in sentence for sentence in scan_warnings(odd)), scan_warnings(odd)


def test_the_view_is_named():
    pixels = np.concatenate([scan().pixels, scan().pixels / 10], axis=2)
    (sentence,) = scan_warnings(scan(pixels, ("anterior", "posterior")))
    assert sentence.startswith("The posterior view")
