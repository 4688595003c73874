"""The training of a trial: its time, that of a killed piece included, and what is said of one that fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bonemets.sweep.spec import read_sweep
from bonemets.sweep.training import TrialError, reason, run_by_the_clock, train

WATCH = """
import sys
from pathlib import Path
from bonemets.sweep.training import run_by_the_clock
run_by_the_clock(["sleep", "5"], Path(sys.argv[1]), step=0.2)
"""


def test_killed_piece_is_counted(tmp_path: Path) -> None:
    clock = tmp_path / "seconds.txt"
    with subprocess.Popen([sys.executable, "-c", WATCH, str(clock)]) as process:
        give_up = time.monotonic() + 60
        while not clock.is_file() or float(clock.read_text()) < 1:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    counted = float(clock.read_text())
    assert 1 <= counted < 6
    code, seconds = run_by_the_clock([sys.executable, "-c", "import time; time.sleep(0.5); raise SystemExit(3)"], clock)
    assert code == 3
    assert counted + 0.5 <= seconds < counted + 20
    assert float(clock.read_text()) == pytest.approx(seconds, abs=0.1)


def test_an_interrupt_ends_the_program(tmp_path: Path) -> None:
    """As Ctrl+C does: nothing goes on training unseen."""
    mark = tmp_path / "mark"
    program = f"import time, pathlib; time.sleep(1.5); pathlib.Path({str(mark)!r}).touch()"

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with pytest.raises(KeyboardInterrupt):
        run_by_the_clock([sys.executable, "-c", program], tmp_path / "seconds.txt")
    time.sleep(1.5)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("printed", "says"),
    [
        (
            "12:00:01 epoch 1/2\nbonemets: train.yaml: no such key: x\n(BONEMETS_TRACEBACK=1 shows the traceback.)\n",
            "bonemets: train.yaml: no such key: x",
        ),
        ("Traceback:\nKeyError: a\n\nTraceback:\nRuntimeError: Failed to evaluate b\n", "KeyError: a"),
        (
            "[rank1]: ValueError: too few\n[rank0]: RuntimeError: Connection closed by peer\n"
            "W1122 28597 torch/distributed/elastic/multiprocessing/api.py:1028] Sending closing signal SIGTERM\n"
            "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n=====\n",
            "[rank1]: ValueError: too few",
        ),
        (
            "terminate called without an active exception\n19:17:34 epoch 1/1  train_loss 1.0221\n"
            "E1122 28597 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: -6)\n=====\n",
            "terminate called without an active exception",
        ),
        ("12:00:01 epoch 1/2\n======\n", "12:00:01 epoch 1/2"),
        ("", "no output"),
    ],
)  # fmt: skip
def test_reason_is_the_error(printed: str, says: str) -> None:
    assert reason(printed) == says


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_mistake_is_named(processes: int, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one line of what was printed now, not of what an earlier piece left in the log."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    spec = {
        "name": "mistakes",
        "dataset_dir": str(cohort),
        "models": [{"bundle": "spect_dual_pooling_segmentation"}],
        "resources": {"cpus": 2, "processes": processes},
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(spec))
    trial = read_sweep(tmp_path / "sweep.yaml").trials[0]
    (tmp_path / "trial.yaml").write_text(
        yaml.safe_dump({"bundle_root": str(trial.bundle), "dataset_dir": str(cohort), "epochs": 0})
    )
    (tmp_path / "train.log").write_text("ValueError: of an earlier piece\n")
    with (tmp_path / "lock").open("w") as lock, pytest.raises(TrialError, match="epochs") as caught:
        train(trial, tmp_path, 2, lock)
    assert "\n" not in str(caught.value)
    assert "earlier piece" not in str(caught.value)
