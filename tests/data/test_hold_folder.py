"""Two runs into one folder: the second is refused, and a killed one leaves nothing in the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from bonemets.cli.main import main
from bonemets.data.files import hold_folder, let_go
from bonemets.errors import InputError
from bonemets.handlers import TrainingState

HOLD = "import sys; from bonemets.data.files import hold_folder; hold_folder(sys.argv[1]); print('held', flush=True)"


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[subprocess.Popen]:
    """Another process that holds the folder."""
    command = [sys.executable, "-c", f"{HOLD}; sys.stdin.read()", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_refused_until_the_first_has_ended(tmp_path):
    with held_elsewhere(tmp_path / "out"):
        with pytest.raises(InputError, match="another run is writing into .*out; wait until it has ended"):
            hold_folder(tmp_path / "out")
        hold_folder(tmp_path / "other")
    hold_folder(tmp_path / "out")
    hold_folder(tmp_path / "out")
    for name in ("out", "other"):
        let_go(tmp_path / name)
        assert not list((tmp_path / name).iterdir())
    let_go(tmp_path / "out")


def test_a_killed_process_is_not_in_the_way(tmp_path):
    with held_elsewhere(tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        hold_folder(tmp_path)
        let_go(tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        hold_folder(tmp_path / "file" / "out")


def test_simulate_is_refused_in_a_line_and_touches_nothing(tmp_path, capsys):
    out = tmp_path / "cohort"
    unfinished = out / ".patient_0001.part"
    unfinished.mkdir(parents=True)
    with held_elsewhere(out):
        for modality in ("nm", "skin"):
            assert main(["simulate", str(out), "-n", "1", "--seed", "2", "--modality", modality]) == 2
            told = capsys.readouterr().err
            assert told.count("\n") == 1
            assert "another run is writing into" in told
        assert unfinished.is_dir()


@pytest.mark.parametrize("held", ["eval", "models"])
def test_a_second_training_is_refused_before_its_first_step(held, tmp_path):
    network = torch.nn.Linear(1, 1)
    state = TrainingState(tmp_path / "eval" / "c.pt", {"network": network}, folders=[tmp_path / "models"])
    with held_elsewhere(tmp_path / held), pytest.raises(InputError, match=f"another run is writing into .*{held}"):
        state.start(None)
    let_go(tmp_path / "eval")
    let_go(tmp_path / "models")
