"""``bonemets datalist``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from bonemets.cli.datalist import datalist
from bonemets.errors import InputError

app = typer.Typer()
app.command()(datalist)


def run(*arguments: object) -> None:
    app(args=[str(argument) for argument in arguments], standalone_mode=False)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(4):
        for folder, array in (("images", random.integers(0, 255, (32, 32))), ("masks", np.eye(32) * 255)):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(tmp_path / "set" / folder / f"p{number // 2}_{number}.png")
    return tmp_path / "set"


def test_from_folder_to_data_list_to_nnunet(pairs, tmp_path, capsys):
    output = tmp_path / "datalist.json"
    run(pairs, "--format", "pairs", "-o", output, "--folds", 2, "--seed", 3, "--patient-pattern", r"(p\d)_")
    assert "4 images of 2 patients, 2 folds" in capsys.readouterr().out
    assert {item["patient"] for item in json.loads(output.read_text())["training"]} == {"p0", "p1"}
    run(output, "--export-nnunet", tmp_path / "raw", "--dataset-id", 42, "--name", "demo")
    assert "Dataset042_demo" in capsys.readouterr().out
    assert (tmp_path / "raw" / "Dataset042_demo" / "splits_final.json").is_file()


def test_problems_are_shown_in_a_table_and_in_one_line(pairs, tmp_path, capsys):
    (pairs / "masks" / "p0_0.png").unlink()
    Image.new("L", (32, 32), 7).save(pairs / "masks" / "p1_2.png")
    with pytest.raises(InputError) as caught:
        run(pairs, "--format", "pairs", "-o", tmp_path / "datalist.json")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "images/p0_0.png" in shown.err and "masks/p1_2.png" in shown.err
    assert "2 problems (wrong pairs: 1, masks with unexpected values: 1)" in str(caught.value)
    assert not (tmp_path / "datalist.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--format is missing"),
        (("--format", "none"), "choose one of"),
        (("--export-nnunet", "raw"), "needs --dataset-id"),
    ],
)
def test_bad_usage_is_said_in_one_line(pairs, arguments, message):
    with pytest.raises(InputError, match=message):
        run(pairs, *arguments)
