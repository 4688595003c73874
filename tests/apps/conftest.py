"""What the tests of the MONAI Label app share: its environment, tiny weights, and servers that end with the tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from label_server import BUNDLE, SHAPE, Server, StartServer, phantom
from realm import running_realm

from bonemets.data import planar_affine, write_datalist, write_nifti
from bonemets.engines.bundles import find_bundle
from bonemets.labeling.environment import find_python


@pytest.fixture(scope="session")
def label_python() -> Path:
    """The Python of MONAI Label's environment; where it is missing the tests fail with the command that makes it."""
    return find_python()


@pytest.fixture(scope="session")
def label_packages(label_python: Path) -> Path:
    """The folder of MONAI Label's packages, importable in the tests' own process from now on."""
    packages = next(label_python.parent.parent.glob("lib/python*/site-packages"))
    sys.path.append(str(packages))
    return packages


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dual-pooling bundle and narrow weights from one epoch of its own training."""
    from monai.bundle import ConfigWorkflow

    folder = tmp_path_factory.mktemp("bundles") / BUNDLE
    shutil.copytree(find_bundle(BUNDLE), folder, ignore=shutil.ignore_patterns("models", "eval"))
    data = tmp_path_factory.mktemp("cohort")
    items = []
    for number in range(2):
        counts, label = phantom(900 + number)
        affine = planar_affine(SHAPE, (2.26, 2.26))
        write_nifti(data / f"{number}.nii.gz", counts, affine)
        write_nifti(data / f"{number}_label.nii.gz", label, affine)
        items.append(
            {"image": f"{number}.nii.gz", "label": f"{number}_label.nii.gz", "patient": str(number), "fold": number}
        )
    write_datalist(data / "datalist.json", {"name": "phantoms", "numFolds": 2, "training": items, "testing": []})
    workflow = ConfigWorkflow(
        str(folder / "configs" / "train.yaml"), workflow_type="train", logging_file=False, bundle_root=str(folder),
        dataset_dir=str(data), output_dir=str(data / "out"), ckpt_dir=str(folder / "models"), device="cpu", track=False,
        epochs=1, batch_size=2, features=[4, 4, 8, 8, 8],
    )  # fmt: skip
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return folder.parent


@pytest.fixture(scope="module")
def start_server(bundles: Path, label_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts servers with `bonemets label`, from the core's environment; they end with the module."""
    servers: list[Server] = []

    def start(studies: Path | str, work: Path, *options: str, **environment: str) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = tmp_path_factory.mktemp("log") / "server.log"
        command = [sys.executable, "-m", "bonemets.cli.main", "label", "--studies", str(studies), "--work", str(work)]
        variables = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "BONEMETS_BUNDLES": str(bundles)}
        with log.open("w") as output:
            # In a group of its own, so that a test can kill it with all that it has started.
            process = subprocess.Popen(
                [*command, *options, "--port", str(port)], stdout=output, stderr=subprocess.STDOUT,
                env=variables | environment, cwd=log.parent, start_new_session=True,
            )  # fmt: skip
        server = Server(f"http://127.0.0.1:{port}", work, process, log)
        servers.append(server)
        deadline = time.monotonic() + 180
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            try:
                if requests.get(server.url + "/favicon.ico", timeout=5).ok:
                    return server
            except requests.ConnectionError:
                time.sleep(0.3)

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def realm() -> Iterator[str]:
    """The address of a realm that signs users in."""
    with running_realm() as address:
        yield address
