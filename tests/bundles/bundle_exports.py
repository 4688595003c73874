"""What every bundle's exports must do: part of `BundleTester`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def load_script(name: str) -> ModuleType:
    """A module of the folder scripts, which is no package."""
    path = Path(__file__).resolve().parents[2] / "scripts" / "bundles" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class ExportChecks:
    """Exports by MONAI's commands equal PyTorch on a whole image: a bone scan, a CT slice, a picture.

    Attributes:
        whole_image: rows and columns of a whole image; None for those of the modality (see export_parity.py).
        export_tolerance: greatest difference, relative to the output's greatest value.
    """

    whole_image: tuple[int, int] | None = None
    export_tolerance = 1e-4

    def image_shape(self) -> tuple[int, ...]:
        """Channels, rows and columns of a small image that the network takes."""
        metadata = json.loads((self.folder / "configs" / "metadata.json").read_text())
        return metadata["network_data_format"]["inputs"]["image"]["num_channels"], 96, 112

    def differences(self, trained: Path, folder: Path, **options: Any) -> dict[str, float]:
        shape = (1, self.image_shape()[0], *self.whole_image) if self.whole_image else None
        return load_script("export_parity").export_differences(
            self.folder,
            trained / "models" / "model.pt",
            folder,
            **{"shape": shape, **options},
            **self.inference_overrides(trained),
        )

    def test_torchscript_equals_eager(self, trained: Path, tmp_path: Path) -> None:
        assert self.differences(trained, tmp_path, runtimes=["TorchScript"])["TorchScript"] < self.export_tolerance

    @pytest.mark.slow
    def test_onnx_equals_eager(self, trained: Path, tmp_path: Path) -> None:
        pytest.importorskip("onnxruntime")
        pytest.importorskip("openvino")
        found = self.differences(trained, tmp_path, runtimes=["ONNX Runtime", "OpenVINO"])
        assert max(found.values()) < self.export_tolerance, found
