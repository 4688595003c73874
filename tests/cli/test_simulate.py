"""``bonemets simulate`` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bonemets.cli.main import main


@pytest.fixture
def fails(capsys):
    """Run and expect one line on standard error and exit status 2."""

    def run(*arguments: object) -> str:
        assert main(["simulate", *map(str, arguments)]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("bonemets: ")
        assert captured.err.count("\n") == 1
        return captured.err

    return run


@pytest.mark.parametrize(
    "options",
    [["--patients", 0], ["--patients", "many"], ["--seed", -1], ["--workers", 0], ["--modality", "pet"], ["--folds", 0],
     ["--test-share", 1.5], ["--unknown"]],
)  # fmt: skip
def test_bad_options(fails, tmp_path, options):
    fails(tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_no_folder_given(fails):
    fails()


def test_unwritable_output(fails, tmp_path):
    (tmp_path / "file").touch()
    assert "cannot write to" in fails(tmp_path / "file" / "out", "--patients", 1)


def test_help_says_what_is_made():
    # A wide terminal, so that no sentence is broken into lines.
    environment = os.environ | {"COLUMNS": "200", "TERM": "dumb"}
    command = [sys.executable, "-m", "bonemets.cli.main", "simulate", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    assert "axial CT slices of the same patients" in shown
    assert "Ctrl-C" in shown


def start(out: Path, patients: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "bonemets.cli.main", "simulate", out, "-n", patients, "--seed", 5, "--workers", 2]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background the shell has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stop_then_resume(tmp_path, number, status):
    """The real simulator, with processes: Ctrl-C, twice, goes to all of them, as from a terminal; SIGTERM to one."""
    out = tmp_path / "out"
    process = start(out, 7)
    deadline = time.monotonic() + 300
    while not list(out.glob("patient_*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(2):
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        time.sleep(0.2)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert ("run the same command again" in errors) == (number == signal.SIGINT)
    assert "Traceback" not in errors
    stopped = {path.name for path in out.iterdir()}
    assert 0 < len(stopped) < 7
    assert all(name.startswith("patient_") for name in stopped)
    kept = {name: (out / name / "patient.json").stat().st_mtime_ns for name in stopped}

    process = start(out, 7)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "7 simulated patients" in printed
    assert {name: (out / name / "patient.json").stat().st_mtime_ns for name in kept} == kept
    document = json.loads((out / "cohort.json").read_text())
    assert len(document["studies"]) == 7
