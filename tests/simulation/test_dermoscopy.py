from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bonemets.cli.main import app, main
from bonemets.data.lists.datalist import load_datalist
from bonemets.simulation.dermoscopy.image import HEMOGLOBIN, MELANIN, simulate_dermoscopy

SMALL = (144, 192)


@pytest.fixture(scope="module")
def pictures() -> list:
    return [simulate_dermoscopy(0, number, SMALL) for number in range(1, 25)]


def test_one_whole_lesion_a_picture(pictures: list) -> None:
    from scipy import ndimage

    for picture in pictures:
        assert picture.pixels.shape == (*SMALL, 3)
        assert picture.pixels.dtype == picture.mask.dtype == np.uint8
        assert set(np.unique(picture.mask)) == {0, 1}
        assert ndimage.label(picture.mask)[1] == 1
        assert (ndimage.binary_fill_holes(picture.mask) == picture.mask).all()
        assert 0.005 < picture.mask.mean() < 0.8


def test_lesions_are_darker_and_of_their_kind(pictures: list) -> None:
    """Brown and gray lesions take light from red too; pink ones, whose pigment is blood, much less of it."""
    drop: dict[str, list] = {}
    for picture in pictures:
        inside, outside = (picture.pixels[picture.mask == value].mean(axis=0) for value in (1, 0))
        drop.setdefault(picture.parameters["kind"], []).append(np.log(outside + 1) - np.log(inside + 1))
        assert inside[1] < outside[1] + 5
    brown, pink = (np.mean(drop[kind], axis=0) for kind in ("melanocytic", "vascular"))
    assert brown[0] > pink[0]
    assert pink[1] > 2 * pink[0]


def test_pigments_absorb_as_measured() -> None:
    """Melanin as wavelength^-3.33, at 600, 540 and 450 nm; blood hardly absorbs red."""
    assert pytest.approx((np.array([600, 540, 450]) / 540) ** -3.33, rel=0.01) == MELANIN
    assert HEMOGLOBIN[0] < 0.2 * HEMOGLOBIN[1]


def test_same_seed_same_picture(pictures: list) -> None:
    again = simulate_dermoscopy(0, 3, SMALL)
    assert (again.pixels == pictures[2].pixels).all()
    assert (again.mask == pictures[2].mask).all()
    assert (simulate_dermoscopy(1, 3, SMALL).pixels != again.pixels).any()
    with pytest.raises(ValueError, match="at least"):
        simulate_dermoscopy(0, 1, (64, 64))


def test_cohort_is_resumed_and_the_same_with_workers(tmp_path: Path) -> None:
    command = ["simulate", "--modality", "skin", "--seed", "5", "--folds", "2", "--test-share", "0.25"]
    for out, options in (("one", ["-n", "4"]), ("two", ["-n", "4", "--workers", "2"])):
        done = CliRunner().invoke(app, [*command, *options, str(tmp_path / out)])
        assert done.exit_code == 0, done.output
    hashes = [json.loads((tmp_path / out / "cohort.json").read_text())["content_sha256"] for out in ("one", "two")]
    assert hashes[0] == hashes[1]
    (tmp_path / "one" / "patient_0002" / "mask.png").unlink()
    kept = (tmp_path / "one" / "patient_0001" / "picture.jpg").stat().st_mtime_ns
    assert CliRunner().invoke(app, [*command, "-n", "4", str(tmp_path / "one")]).exit_code == 0
    assert (tmp_path / "one" / "patient_0001" / "picture.jpg").stat().st_mtime_ns == kept
    assert json.loads((tmp_path / "one" / "cohort.json").read_text())["content_sha256"] == hashes[0]
    items = load_datalist(tmp_path / "one" / "datalist.json", fold=None)
    assert len(items) == 3
    assert set(np.unique(np.asarray(Image.open(items[0]["label"])))) == {0, 255}
    assert main(["simulate", "--modality", "skin", "--seed", "6", "-n", "4", str(tmp_path / "one")]) == 2
