"""Jobs in several processes: none begins after one has failed."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from bonemets.simulation.processes import run_in_processes


def job(folder: Path, number: int) -> int:
    (folder / str(number)).touch()
    if number == 1:
        # Not before the other worker has begun, or it would be free and number 3 its next.
        while not (folder / "2").exists():
            time.sleep(0.01)
        raise ValueError("number 1")
    time.sleep(1.0)
    return number


def test_no_job_begins_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="number 1"):
        list(run_in_processes(partial(job, tmp_path), [1, 2, 3, 4, 5, 6, 7, 8], 2))
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2"}


def test_every_job_is_done_once(tmp_path: Path) -> None:
    assert sorted(run_in_processes(partial(job, tmp_path), [2, 3, 4, 5, 6], 3)) == [2, 3, 4, 5, 6]
