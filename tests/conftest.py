"""What several test modules share: the cached skeleton and a small simulated cohort, made once per test run."""

from __future__ import annotations

import os
from pathlib import Path

# One thread a process: two test processes share two cores, and sums must not depend on the number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from filelock import FileLock


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: a long file that begins last leaves every other test process idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def skeleton():
    """The skeleton that every patient is made from; built once per machine, then read from the cache folder."""
    from bonemets.simulation import load_skeleton

    return load_skeleton()


@pytest.fixture(scope="session")
def cohort(tmp_path_factory, worker_id) -> Path:
    """Five simulated patients (two views each) with two folds and one test patient; shared by all test processes."""
    from bonemets.simulation.cohort import simulate_cohort

    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "shared_cohort"
    with FileLock(f"{folder}.lock"):
        simulate_cohort(folder, patients=5, seed=7, folds=2, test_share=0.2, world="nema")
    return folder
