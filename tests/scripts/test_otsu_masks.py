"""Otsu's threshold against its definition, and the masks of a data list."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import otsu_masks


def least_variance_within(gray: np.ndarray) -> float:
    """Otsu's definition by trial: the least variance within both classes, weighted by their sizes."""
    best = np.inf
    for level in range(255):
        dark, light = gray[gray <= level], gray[gray > level]
        if dark.size and light.size:
            best = min(best, float(dark.size * dark.var() + light.size * light.var()))
    return best


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_it_is_the_threshold_of_least_variance_within(share: float) -> None:
    random = np.random.default_rng(0)
    dark = random.random(4000) < share
    gray = np.clip(np.where(dark, random.normal(80, 20, 4000), random.normal(170, 30, 4000)), 0, 255).astype(np.uint8)
    level = otsu_masks.otsu_threshold(gray)
    low, high = gray[gray <= level], gray[gray > level]
    assert low.size * low.var() + high.size * high.var() == pytest.approx(least_variance_within(gray))


def test_the_darker_class_is_the_lesion_and_one_color_has_none_apart() -> None:
    colors = np.full((20, 30, 3), 200, np.uint8)
    colors[5:10, 8:20] = (90, 50, 40)
    assert np.array_equal(otsu_masks.mask_of(colors) == 255, (colors != 200).all(axis=-1))
    assert not otsu_masks.mask_of(np.full((4, 4, 3), 7, np.uint8)).any()


def test_a_mask_for_every_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colors = np.full((16, 16, 3), 210, np.uint8)
    colors[4:9, 4:9] = 60
    Image.fromarray(colors).save(tmp_path / "a.png")
    Image.fromarray(((colors[..., 0] == 60) * 255).astype(np.uint8)).save(tmp_path / "a_mask.png")
    item = {"image": "a.png", "label": "a_mask.png", "patient": "a", "view": "unknown"}
    (tmp_path / "datalist.json").write_text(json.dumps({"training": [], "testing": [item]}))
    monkeypatch.setattr("sys.argv", ["otsu_masks.py", str(tmp_path / "datalist.json"), str(tmp_path / "masks")])
    assert otsu_masks.main() == 0
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "masks/a.png")), np.asarray(Image.open(tmp_path / "a_mask.png"))
    )
