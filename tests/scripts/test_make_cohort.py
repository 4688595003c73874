"""Recipes of benchmark cohorts: their hash tells one cohort from another."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from pathlib import Path

import pytest
import yaml

import make_cohort
from bonemets.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "results" / "cohorts").glob("*.yaml"))
TINY = """# a comment that stays
name: tiny
modality: nm
patients: 2
seed: 3
folds: 1
test_share: 0.5
simulation_version: '1'
datalist_sha256: null
content_sha256: null
"""


@pytest.fixture
def cohort(tmp_path):
    """A data list of one training and one testing item."""
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"image", mtime=0))
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"label", mtime=0))
    (tmp_path / "c.png").write_bytes(b"other")
    item = {"image": "a.nii.gz", "label": "b.nii.gz", "patient": "p"}
    document = {"training": [item | {"fold": 0}], "testing": [item | {"image": "c.png"}]}
    (tmp_path / "datalist.json").write_text(json.dumps(document))
    return tmp_path / "datalist.json"


def test_the_content_hash_is_that_of_sorted_lines_of_unpacked_files(cohort):
    contents = {"a.nii.gz": b"image", "b.nii.gz": b"label", "c.png": b"other", "datalist.json": cohort.read_bytes()}
    lines = "".join(f"{hashlib.sha256(contents[name]).hexdigest()}  {name}\n" for name in sorted(contents))
    assert make_cohort.content_hash(cohort) == hashlib.sha256(lines.encode()).hexdigest()


def test_the_content_hash_sees_labels_and_not_how_they_are_packed(cohort):
    before, label = make_cohort.content_hash(cohort), cohort.parent / "b.nii.gz"
    label.write_bytes(gzip.compress(b"label", compresslevel=1, mtime=7))
    assert make_cohort.content_hash(cohort) == before
    label.write_bytes(gzip.compress(b"lavel"))
    assert make_cohort.content_hash(cohort) != before


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_can_be_used(path):
    recipe = make_cohort.read_recipe(path)
    assert recipe["name"] == path.stem
    # No test part at all: its networks are tested on the shifted cohorts.
    assert recipe["test_share"] == 0 or recipe["patients"] * recipe["test_share"] >= 10
    assert {recipe["datalist_sha256"] is None, recipe["content_sha256"] is None} in ({True}, {False})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "three"}, "wrong kind: seed"),
        ({"sed": 3}, "wrong kind: sed"),
        ({"simulation_version": "0"}, "needs simulation_version 0"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(tmp_path, change, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(TINY) | change))
    with pytest.raises(InputError, match=message) as error:
        make_cohort.read_recipe(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_a_cohort_is_made_recorded_and_recognized(tmp_path, monkeypatch, capsys):
    recipe, out = tmp_path / "tiny.yaml", tmp_path / "cohort"
    recipe.write_text(TINY)

    def run(*more: str) -> int:
        monkeypatch.setattr(sys, "argv", ["make_cohort.py", str(recipe), str(out), *more])
        return make_cohort.main()

    assert run("--record") == 0
    recorded = yaml.safe_load(recipe.read_text())
    assert recipe.read_text().startswith("# a comment that stays\n")
    assert recorded["content_sha256"] == make_cohort.content_hash(out / "datalist.json")
    assert run() == 0
    assert "as recorded" in capsys.readouterr().out
    make_cohort.record_hashes(recipe, {"content_sha256": "0" * 64})
    assert run() == 1
    assert "which is recorded" in capsys.readouterr().out
