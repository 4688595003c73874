"""What the tests of the MONAI Label app share: its environment, tiny weights, and servers that end with the tests."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from label_server import BUNDLE, SHAPE, Server, StartServer, make_study, phantom
from realm import running_realm
from selenium import webdriver
from viewer_page import Page, sizes

from bonemets.bundle.folders import find_bundle
from bonemets.data import planar_affine, read_planar, write_datalist, write_nifti
from bonemets.engines import BundlePredictor
from bonemets.labeling.server.environment import find_python

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


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


def start(folder: Path, studies: Path | str, work: Path, *options: str, **environment: str) -> Server:
    """Start a server with `bonemets label`, from the core's environment; `folder` is for its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    command = [sys.executable, "-m", "bonemets.cli.main", "label", "--studies", str(studies), "--work", str(work)]
    variables = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("w") as output:
        # In a group of its own, so that a test can kill it with all that it has started.
        process = subprocess.Popen(
            [*command, *options, "--port", str(port)], stdout=output, stderr=subprocess.STDOUT,
            env=variables | environment, cwd=folder, start_new_session=True,
        )  # fmt: skip
    server = Server(f"http://127.0.0.1:{port}", work, process, log)
    deadline = time.monotonic() + 180
    while True:
        try:
            if requests.get(server.url + "/favicon.ico", timeout=5).ok:
                return server
        except requests.RequestException:
            time.sleep(0.3)
        if process.poll() is not None or time.monotonic() > deadline:
            server.stop()
            raise AssertionError(log.read_text()[-3000:])


@pytest.fixture(scope="module")
def start_server(
    request: pytest.FixtureRequest, label_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartServer]:
    """Starts servers; they end with the module."""
    servers: list[Server] = []

    def start_one(studies: Path | str, work: Path, *options: str, **environment: str) -> Server:
        if "BONEMETS_BUNDLES" not in environment:
            # Only for those who want them: they are trained.
            environment["BONEMETS_BUNDLES"] = str(request.getfixturevalue("bundles"))
        servers.append(start(tmp_path_factory.mktemp("log"), studies, work, *options, **environment))
        return servers[-1]

    yield start_one
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="session")
def viewer_server(bundles: Path, label_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests of the viewer; its network's threshold is where it proposes a few lesions of p1."""
    folder = tmp_path_factory.mktemp("viewer")
    for number in range(7):
        make_study(folder / "studies" / f"p{number}", number)
    predictor = BundlePredictor(bundles / BUNDLE)
    probability = predictor.predict(read_planar(folder / "studies" / "p1" / "scan.dcm")).probability
    wished = np.quantile(probability, np.linspace(0.999, 0.8, 100))
    threshold = next(value for value in wished if 3 <= sum(sizes(probability >= value) > 6) <= 20)
    own = tmp_path_factory.mktemp("viewer_bundles") / BUNDLE
    shutil.copytree(bundles / BUNDLE, own)
    config = own / "configs" / "inference.yaml"
    config.write_text(re.sub(r"(?m)^threshold: [^#]+", f"threshold: {threshold:.9f} ", config.read_text()))
    server = start(folder, folder / "studies", folder / "work", BONEMETS_BUNDLES=str(own.parent))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Chromium without a window."""
    program = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if program is None or shutil.which("chromedriver") is None:
        pytest.skip("no Chromium with chromedriver on this machine: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    profile = tmp_path_factory.mktemp("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(driver: webdriver.Chrome) -> Iterator[Page]:
    """A page of the browser, of a laptop's size."""
    page = Page(driver)
    page.resize(1366, 768)
    yield page
    # Leave nothing that the next test would be asked about.
    driver.execute_script("window.onbeforeunload = null")
    driver.get("about:blank")


@pytest.fixture(scope="module")
def realm() -> Iterator[str]:
    """The address of a realm that signs users in."""
    with running_realm() as address:
        yield address
