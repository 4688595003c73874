"""`make demo`: its bookkeeping, and a small run of all of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import demo
from bonemets.reporting.pages import format_number

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def append(tmp_path):
    """A step that appends a letter to a file."""

    def make(letter: str, output: str = "out/text", **options):
        code = (
            "import sys, pathlib; p = pathlib.Path(sys.argv[1]); p.parent.mkdir(exist_ok=True); "
            "p.open('a').write(sys.argv[2]); print('wrote', sys.argv[2])"
        )
        path = tmp_path / output
        command = [sys.executable, "-c", code, str(path), letter]
        return demo.Step(Path(output).name, f"Append {letter}", command, [path], **options)

    return make


def test_done_steps_are_skipped_and_changed_ones_restart(append, tmp_path, capsys):
    text = tmp_path / "out" / "text"
    restart = {"restart": [tmp_path / "out"]}
    demo.Steps(tmp_path).run(append("a", **restart), 1)
    demo.Steps(tmp_path).run(append("a", **restart), 1)
    assert text.read_text() == "a"
    assert "done before" in capsys.readouterr().out
    demo.Steps(tmp_path).run(append("b", **restart), 1)
    assert text.read_text() == "b"
    text.unlink()
    demo.Steps(tmp_path).run(append("b", **restart), 1)
    assert text.read_text() == "b"


def test_a_change_reaches_all_later_steps(append, tmp_path):
    def run(first: str) -> str:
        steps = demo.Steps(tmp_path)
        steps.run(append(first, "out/first"), 2)
        steps.run(append("z", "out/second"), 2)
        return (tmp_path / "out" / "second").read_text()

    assert run("a") == "z"
    assert run("a") == "z"
    assert run("b") == "zz"


def test_a_stopped_step_goes_on_without_restart(append, tmp_path):
    step = append("a", restart=[tmp_path / "out"])
    steps = demo.Steps(tmp_path)
    steps.run(step, 1)
    record = json.loads(steps.record_file.read_text())
    del record["text"]["seconds"]  # as if it had been stopped
    steps.record_file.write_text(json.dumps(record))
    demo.Steps(tmp_path).run(step, 1)
    assert (tmp_path / "out" / "text").read_text() == "aa"


def test_a_failure_shows_its_last_lines_and_is_not_done(tmp_path):
    step = demo.Step("bad", "Fail", [sys.executable, "-c", "print('this is why'); raise SystemExit(3)"], [])
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"this is why(.|\n)*status 3"):
            demo.Steps(tmp_path).run(step, 1)


def test_only_chosen_lines_are_shown_and_all_are_logged(tmp_path, capsys):
    code = "print('epoch 1/2 loss 0.5'); print('noise')"
    step = demo.Step("train", "Train", [sys.executable, "-c", code], [], show=r"epoch \d+/\d+")
    demo.Steps(tmp_path).run(step, 1)
    out = capsys.readouterr().out
    assert "epoch 1/2" in out
    assert "    noise" not in out
    assert (tmp_path / "logs" / "train.log").read_text() == "epoch 1/2 loss 0.5\nnoise\n"


@pytest.mark.slow
def test_the_whole_demo_in_small(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "scripts" / "demo" / "demo.py"),
        "--output",
        str(tmp_path),
        "--patients",
        "5",
        "--epochs",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "index.html").read_text()
    for text in (
        "Simulated data", "Research use only", "sha256", "mlflow ui", "What to make of it", "simulated patients only",
        "the fine-tuned network is used for nothing else",
    ):  # fmt: skip
        assert text in page
    # Both numbers are of the validation patients.
    before = json.loads((tmp_path / "before" / "evaluation_validation" / "summary.json").read_text())
    after = json.loads((tmp_path / "after" / "evaluation_validation" / "summary.json").read_text())
    trained = json.loads((tmp_path / "training" / "model.json").read_text())
    assert before["fold"] == after["fold"] == trained["settings"]["fold"]
    assert before["weights_sha256"] != after["weights_sha256"] == trained["sha256"]
    assert trained["settings"]["overlays"] == ["compact", "domain_randomization", "fine_tune"]
    dice = [format_number(value, 3) for value in (before["dice_pooled"], after["dice_pooled"])]
    assert "{} before, {} after".format(*dice) in page
    for link in set(re.findall(r'href="([^"#:]+)"', page)):
        assert (tmp_path / link).is_file(), link
    assert not re.search(r"<script|src=\"http", page)
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.count("done before") == 9
