"""The training of one trial of a sweep: a program of its own, with its log and its time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from bonemets.data.files import write_bytes
from bonemets.sweep.spec import Trial

# How a line begins that names a mistake: ours, Python's (with the process before it under torchrun), C++'s.
MISTAKE = re.compile(
    r"(?:\[rank\d+\]: )?(?:bonemets: |terminate called|[A-Za-z_][\w.]*(?:Error|Exception|Interrupt)\b)"
)


class TrialError(RuntimeError):
    """A trial failed; the message says at what, and where its log is."""


def train(trial: Trial, folder: Path, cpus: int, lock: IO[str]) -> float:
    """Train, by several processes if the trial wants it; ``train.log`` holds what they print.

    Args:
        trial: the trial.
        folder: its folder, with its overlay ``trial.yaml``.
        cpus: threads for all processes together.
        lock: open file that the training inherits, so that one that outlives its parent is waited for.

    Returns:
        The seconds that it took, those of earlier pieces included where they are known.

    Raises:
        TrialError: the training failed.
    """
    files = [str(path) for path in (*trial.configs, folder / "trial.yaml")]
    launcher = []
    if trial.processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={trial.processes}"]
    command = [sys.executable, *launcher, "-m", "monai.bundle", "run", "--config_file", str(files)]
    threads = max(1, cpus // trial.processes)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
    log, clock = folder / "train.log", folder / "training_seconds.txt"
    with log.open("ab") as output:
        before = output.tell()
        code, seconds = run_by_the_clock(
            command, clock, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            pass_fds=(lock.fileno(),),
        )  # fmt: skip
    if code != 0:
        printed = log.read_bytes()[before:].decode("utf-8", errors="replace")
        raise TrialError(f"training failed ({reason(printed)}); see {log}")
    return seconds


def reason(printed: str) -> str:
    """The line that says why a training failed.

    Args:
        printed: what it printed.

    Returns:
        Its first error: MONAI reports it again as that of an expression, and other processes then fail for want of this
        one. Without any, the last line with a word in it.
    """
    lines = [line.strip() for line in printed.splitlines() if re.search(r"\w", line)]
    return next(filter(MISTAKE.match, lines), lines[-1] if lines else "no output")


def run_by_the_clock(command: Sequence[str], clock: Path, *, step: float = 30.0, **options: Any) -> tuple[int, float]:
    """Run a program and keep in a file for how long, so that the time of one that is killed is not forgotten.

    Args:
        command: the program.
        clock: file with the seconds, those of earlier pieces included.
        step: seconds between two entries, the most that a kill takes away.
        options: for `subprocess.Popen`.

    Returns:
        The exit status, and the seconds.
    """
    before = float(clock.read_text("utf-8")) if clock.is_file() else 0.0
    start = time.monotonic()
    with subprocess.Popen(command, **options) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(step)
                seconds = before + time.monotonic() - start
                write_bytes(clock, f"{seconds:.1f}\n".encode())
                if process.returncode is not None:
                    return process.returncode, seconds
        except BaseException:
            process.terminate()  # torchrun then ends the processes that it started; a kill would leave them
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            raise
