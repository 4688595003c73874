"""A bundle of an annotation project, with the weights that it serves."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch

from bonemets.bundle.folders import bundle_metadata, file_sha256
from bonemets.data.modalities import bundle_modality
from bonemets.engines.predictor import BundlePredictor


class BundleModel:
    """A bundle of the annotation project with its newest weights.

    Args:
        folder: the bundle's folder in the project.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.metadata = bundle_metadata(folder)
        self.weights = folder / "models" / "model.pt"
        self._lock = threading.Lock()
        self._built: dict[tuple[str, int, int], BundlePredictor] = {}

    @property
    def labels(self) -> dict[str, int]:
        """Label → value in the label map, from the bundle's ``channel_def``, without the background."""
        channels = self.metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        names = [channels[key] for key in sorted(channels, key=int) if channels[key].lower() != "background"]
        return {name: value for value, name in enumerate(names, start=1)}

    @property
    def modality(self) -> str:
        """The kind of image that the bundle is for, as DICOM names it."""
        return bundle_modality(self.metadata)

    def predictor(self, device: str | None = None) -> BundlePredictor:
        """The bundle with the weights that are there now; rebuilt when training has replaced them."""
        name = usable_device(device)
        with self._lock:
            status = self.weights.stat() if self.weights.is_file() else None
            key = (name, status.st_mtime_ns if status else 0, status.st_ino if status else 0)
            if key not in self._built:
                self._built.clear()
                self._built[key] = BundlePredictor(self.folder, name)
            return self._built[key]

    def weights_sha256(self) -> str:
        """Fingerprint of the weights."""
        return file_sha256(self.weights)


def devices() -> list[str]:
    """The devices that a client may choose from, the best first."""
    return [*(f"cuda:{index}" for index in range(torch.cuda.device_count())), "cpu"]


def usable_device(wished: str | None) -> str:
    """The wished device where there is one, else the best that there is."""
    return wished if wished and (not wished.startswith("cuda") or torch.cuda.is_available()) else "auto"


def first_choice(value: Any) -> str | None:
    """A choice, also where a client sends back the list of choices."""
    value = value[0] if isinstance(value, list) and value else value
    return str(value) if value else None
