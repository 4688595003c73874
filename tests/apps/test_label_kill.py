"""A server that is killed while labels are saved and while it trains has lost nothing."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
from label_server import BUNDLE, StartServer, make_study

from bonemets.data import read_planar
from bonemets.engines import BundlePredictor
from bonemets.labeling.store.history import LabelHistory

pytestmark = pytest.mark.slow


def test_kill(start_server: StartServer, tmp_path: Path) -> None:
    truth = make_study(tmp_path / "studies" / "p1", 1)
    make_study(tmp_path / "studies" / "p2", 2)
    work = tmp_path / "work"
    server = start_server(tmp_path / "studies", work)
    image = nib.load(work / "datastore" / "p1_scan.nii.gz")

    def content(number: int) -> bytes:
        """A label that says which save it is of."""
        mask = truth.astype(np.uint8)
        mask.ravel()[:16] = [int(bit) for bit in f"{number:016b}"]
        return gzip.compress(nib.Nifti1Image(mask, image.affine).to_bytes())

    answered: list[int] = []

    def annotate() -> None:
        while True:
            files = {"label": ("label.nii.gz", content(len(answered) + 1))}
            try:
                answer = server.request("PUT", "/datastore/label?image=p1_scan", files=files)
            except requests.ConnectionError:
                return
            assert answer.ok, answer.text
            answered.append(answer.json()["version"])

    with pytest.raises(AssertionError, match="is being served already"):
        start_server(tmp_path / "studies", work)

    # While labels are saved and a training runs, all is killed.
    annotator = threading.Thread(target=annotate)
    annotator.start()
    wait_until(lambda: len(answered) > 5)
    assert server.request("POST", f"/train/{BUNDLE}", json={"max_epochs": 1000, "device": "cpu"}).ok
    wait_until(lambda: list(work.glob(f"training/{BUNDLE}/*/models/model.pt")))
    weights = (work / "bundles" / BUNDLE / "models" / "model.pt").read_bytes()
    # With the training, which is a process of its own in the same group.
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()
    annotator.join(30)
    assert not annotator.is_alive()

    after = start_server(tmp_path / "studies", work)
    versions = {version.version: version for version in LabelHistory(work / "history").versions()}
    assert set(answered) <= set(versions)
    for number in answered:
        assert marked(work / "history" / versions[number].file) == number
    # The save that was under way may be there or not; what annotators see is the newest that is kept.
    assert len(versions) - len(answered) in (0, 1)
    newest = max(versions)
    assert marked(work / "datastore" / "labels" / "final" / "p1_scan.nii.gz") == newest
    item = next(item for item in after.request("GET", "/bonemets/worklist").json() if item["id"] == "p1_scan")
    assert item["labels"]["final"]["version"] == newest
    json.loads((work / "datastore" / "datastore_v2.json").read_text())
    # The weights that are served are those from before, and whole.
    assert (work / "bundles" / BUNDLE / "models" / "model.pt").read_bytes() == weights
    BundlePredictor(work / "bundles" / BUNDLE).predict(read_planar(work / "datastore" / "p2_scan.nii.gz"))


def marked(path: Path) -> int:
    """The number that `content` wrote into a label."""
    mask = np.asarray(nib.load(path).dataobj).ravel()
    return int("".join(str(int(bit)) for bit in mask[:16]), 2)


def wait_until(condition, seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
