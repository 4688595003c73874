"""What the tests of the MONAI Label app use: tiny studies, and a running server."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests

from bonemets.dicom import NMHeader, write_nm

BUNDLE = "spect_dual_pooling_segmentation"
SHAPE = (192, 96)


def phantom(seed: int, spots: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Counts and label map of a body-like ellipse with hot spots."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    body = ((rows - 96) / 85) ** 2 + ((columns - 48) / 30) ** 2 < 1
    counts, label = np.where(body, 9.0, 0.3), np.zeros(SHAPE, np.uint8)
    for _ in range(spots):
        row, column = rng.uniform(50, 140), rng.uniform(32, 64)
        spot = ((rows - row) / 7) ** 2 + ((columns - column) / 6) ** 2 < 1
        counts[spot], label[spot] = 90, 1
    return rng.poisson(counts).astype(np.uint16), label


def make_study(folder: Path, number: int) -> np.ndarray:
    """Write a study of two views as one NM object; its label map, (H, W, 2)."""
    views = [phantom(10 * number + view) for view in range(2)]
    folder.mkdir(parents=True)
    write_nm(folder / "scan.dcm", np.stack([view[0] for view in views], -1), NMHeader(patient=f"patient_{number:04d}"))
    return np.stack([view[1] for view in views], -1)


def body_ct(seed: int, slices: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units and label map, (64, 80, K) as displayed, of a body in air with a bone and a lesion in it."""
    rng = np.random.default_rng(seed)
    rows, columns, _ = np.mgrid[:64, :80, :slices]
    body = ((rows - 32) / 24) ** 2 + ((columns - 40) / 34) ** 2 < 1
    bone = ((rows - 42) / 9) ** 2 + ((columns - 40) / 12) ** 2 < 1
    label = ((rows - 42 - rng.integers(3)) / 4) ** 2 + ((columns - 42) / 5) ** 2 < 1
    hu = np.where(label, 150, np.where(bone, 600, np.where(body, 40, -1000)))
    return (hu + rng.integers(-20, 20, hu.shape)).astype(np.int16), label.astype(np.uint8)


def skin_picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Colors, (48, 64, 3), and label map of skin with a brown spot."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :64]
    label = ((rows - 20 - rng.integers(6)) / 9) ** 2 + ((columns - 25 - rng.integers(9)) / 12) ** 2 < 1
    colors = np.where(label[..., None], (95, 60, 45), (225, 180, 160)) + rng.integers(-9, 9, (48, 64, 3))
    return colors.astype(np.uint8), label.astype(np.uint8)


def add_weights(bundle: Path, settings: dict[str, Any], **network: Any) -> None:
    """Give a bundle small weights that have learned nothing, with the file beside them that training would write."""
    import torch
    import yaml
    from monai.bundle import ConfigParser

    network_def = yaml.safe_load((bundle / "configs" / "train.yaml").read_text())["network_def"] | network
    torch.manual_seed(0)
    model = ConfigParser({"network_def": network_def}).get_parsed_content("network_def")
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(model.state_dict(), bundle / "models" / "model.pt")
    record = {"network_def": network_def, "settings": settings}
    (bundle / "models" / "model.json").write_text(json.dumps(record))


@dataclass
class Server:
    """A running server.

    Args:
        url: its address.
        work: the annotation project's folder.
        process: the process.
        log: what it prints.
        headers: sent with every request of `get` and `post`.
    """

    url: str
    work: Path
    process: subprocess.Popen
    log: Path
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, method: str, path: str, **keywords: Any) -> requests.Response:
        return requests.request(method, self.url + path, headers=self.headers, **{"timeout": 120, **keywords})

    def wait_for(self, path: str, seconds: float = 240) -> dict[str, Any]:
        """Wait until the background task whose state is at `path` has ended; MONAI Label says so nowhere else."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            task = self.request("GET", path).json()
            if task.get("status") not in ("SUBMITTED", "RUNNING"):
                assert task.get("status") == "DONE", "\n".join(task.get("details", [str(task)]))
                return task
            time.sleep(0.3)
        raise AssertionError(f"{path} has not ended in {seconds} s")

    def stop(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


StartServer = Callable[..., Server]
