"""MONAI's commands in processes of their own that need not import MONAI again, which takes 6 s of a core and more."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

TIMEOUT = 900

# Python's fork server imports these once; what it forks has them, and nothing of the tests' own process.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["monai.bundle", "bonemets.handlers", "bonemets.networks.nets"])


def fork_command(
    arguments: Sequence[str], folder: Path, environments: Sequence[Mapping[str, str]] = (os.environ,)
) -> str:
    """Run ``python -m monai.bundle ARGUMENTS`` in a folder, by one process per environment at the same time.

    Returns:
        What they print.

    Raises:
        AssertionError: if one fails.
    """
    with tempfile.TemporaryDirectory() as logs:
        files = [Path(logs) / str(number) for number in range(len(environments))]
        processes = [
            FORKS.Process(target=_run, args=(list(arguments), folder, dict(environment), file))
            for environment, file in zip(environments, files, strict=True)
        ]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join(TIMEOUT)
            output = "".join(file.read_text() for file in files if file.exists())
            assert [process.exitcode for process in processes] == [0] * len(processes), output[-3000:]
        finally:
            for process in processes:
                process.kill()
    return output


def _run(arguments: list[str], folder: Path, environment: dict[str, str], log: Path) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["monai.bundle", *arguments]
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
