"""Export a bundle's network with MONAI's commands and compare what the exports say with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser, ckpt_export, onnx_export
from numpy.typing import NDArray

# By what a whole image of the modality is: rows and columns.
WHOLE_IMAGE = {"NM": (1024, 256), "CT": (512, 512)}
RUNTIMES = ("TorchScript", "ONNX Runtime", "OpenVINO")


def whole_image(bundle: Path) -> tuple[int, int, int, int]:
    """Shape of a whole image as a batch of one: a bone scan, a CT slice, or a picture of 256×256."""
    parser = ConfigParser()
    parser.read_meta(str(bundle / "configs" / "metadata.json"))
    image = parser["_meta_"]["network_data_format"]["inputs"]["image"]
    return (1, image["num_channels"], *WHOLE_IMAGE.get(image["modality"], (256, 256)))


def export_differences(
    bundle: Path,
    weights: Path | None,
    folder: Path,
    shape: Sequence[int] | None = None,
    runtimes: Sequence[str] = RUNTIMES,
    dynamic: bool = False,
    **override: Any,
) -> dict[str, float]:
    """Greatest difference from PyTorch's output, relative to its greatest value, by runtime.

    Args:
        bundle: the bundle's folder.
        weights: a state dict that fits the network of its ``inference.yaml``; None for the weights it begins with.
        folder: folder for the exported files.
        shape: shape of the images to compare on; a whole image by default.
        runtimes: what to export to, of `RUNTIMES`.
        dynamic: export ONNX from another size, with height and width left open.
        override: id-value pairs for the configuration.
    """
    shape = tuple(shape or whole_image(bundle))
    config = str(bundle / "configs" / "inference.yaml")
    override = {"bundle_root": str(bundle), **override}
    parser = ConfigParser()
    parser.read_config(config)
    parser.update(override)
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def").eval()
    if weights is not None:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    checkpoint = folder / "checkpoint.pt"
    torch.save(network.state_dict(), checkpoint)
    common = {
        "ckpt_file": str(checkpoint),
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": config,
        **override,
    }
    images = torch.rand(*shape)
    with torch.no_grad():
        expected = network(images).numpy()

    outputs: dict[str, Callable[[], NDArray]] = {
        "TorchScript": lambda: run_torchscript(folder / "model.ts", images),
        "ONNX Runtime": lambda: run_onnx(folder / "model.onnx", images),
        "OpenVINO": lambda: run_openvino(folder / "model.onnx", images),
    }
    if "TorchScript" in runtimes:
        ckpt_export("network_def", filepath=str(folder / "model.ts"), **common)
    if set(runtimes) - {"TorchScript"}:
        options: dict[str, Any] = {"input_shape": shape}
        if dynamic:
            # From another size than the one that is compared.
            open_size = {"dynamo": True, "dynamic_shapes": [{2: "height", 3: "width"}]}
            options = {"input_shape": (1, shape[1], 256, 384), "use_trace": True, "converter_kwargs": open_size}
        onnx_export("network_def", filepath=str(folder / "model.onnx"), **options, **common)
    scale = float(np.abs(expected).max())
    return {name: float(np.abs(outputs[name]() - expected).max()) / scale for name in runtimes}


def run_torchscript(path: Path, images: torch.Tensor) -> NDArray:
    """The output of a TorchScript file."""
    with torch.no_grad():
        return torch.jit.load(path)(images).numpy()


def run_onnx(path: Path, images: torch.Tensor) -> NDArray:
    """The output of an ONNX file in ONNX Runtime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]


def run_openvino(path: Path, images: torch.Tensor) -> NDArray:
    """The output of an ONNX file in OpenVINO, on one thread and in full precision."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path), "CPU", settings)
    return model(images.numpy())[0]
