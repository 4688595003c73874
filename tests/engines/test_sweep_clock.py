"""Seconds of a training that was killed: kept, and those of the next piece added."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bonemets.engines.sweep_trial import run_by_the_clock

WATCH = """
import sys
from pathlib import Path
from bonemets.engines.sweep_trial import run_by_the_clock
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
