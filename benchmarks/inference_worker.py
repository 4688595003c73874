"""One measurement of benchmarks/inference.py, in a process of its own: prints one line of JSON.

A process that has only done this one thing is the only one whose peak memory means something, so heavy libraries are
imported where they are used.
"""

from __future__ import annotations

import json
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SEED = 0
PIPELINE_SECONDS = 60


def memory_mb(field: str) -> float:
    """Memory of this process in MB: "VmHWM" its peak, "VmRSS" what it holds now."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss: a child's begins with what its parent had at the fork.
        found = re.search(rf"{field}:\s+(\d+) kB", status.read_text())
        return int(found.group(1)) / 1024 if found else float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def build(bundle: Path, overlays: list[str]) -> tuple[Any, Any]:
    """A bundle's configuration with overlays, and the network that it describes, with weights drawn from `SEED`."""
    import torch
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.yaml") for name in ("train", *overlays)])
    parser["bundle_root"], parser["device"] = str(bundle), "$torch.device('cpu')"
    parser.get_parsed_content("imports", default=None)
    torch.manual_seed(SEED)
    return parser, parser.get_parsed_content("network").eval()


def image_size(parser: Any, bundle: Path, size: list[int]) -> list[int]:
    """Height and width of the input: what was asked for; else a whole scan, or the size that the bundle trains at."""
    if size:
        return size
    if bundle.name.startswith("spect"):
        return [1024, 256]
    trained = parser.get_parsed_content("image_size")
    return [trained, trained] if isinstance(trained, int) else list(trained)


def timed(run: Callable[[], Any], seconds: float, repeats: int) -> list[float]:
    """Milliseconds of passes after one to warm up: at least `repeats`, and more while `seconds` have not passed."""
    run()
    times: list[float] = []
    while len(times) < repeats or sum(times) < 1000 * seconds:
        start = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - start))
    return times


def export(task: dict[str, Any]) -> dict[str, Any]:
    """Write the network as TorchScript and ONNX, and an input with the output that every runtime must give."""
    import torch

    bundle, folder = Path(task["bundle"]), Path(task["folder"])
    parser, network = build(bundle, task["overlays"])
    channels = parser.get_parsed_content("network_def::in_channels")
    images = torch.rand(1, channels, *image_size(parser, bundle, task["size"]))
    with torch.inference_mode():
        np.savez(folder / "reference.npz", images=images.numpy(), logits=network(images).numpy())
    torch.jit.save(torch.jit.script(network), folder / "network.ts")
    torch.onnx.export(network, (images,), folder / "network.onnx", dynamo=True, verbose=False)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": parameters, "input": list(images.shape)}


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Latency and peak memory of one runtime."""
    folder, threads = Path(task["folder"]), task["threads"]
    with np.load(folder / "reference.npz") as reference:
        images, wanted = reference["images"], reference["logits"]
    run, libraries = _RUNTIMES[task["runtime"]](task, folder, images, threads)
    times = timed(run, task["seconds"], task["repeats"])
    return {
        "median_ms": round(statistics.median(times), 1),
        "fastest_ms": round(min(times), 1),
        "passes": len(times),
        "peak_memory_mb": round(memory_mb("VmHWM")),
        "libraries_mb": round(libraries),
        "difference": float(f"{np.abs(np.asarray(run()) - wanted).max():.2g}"),
    }


def _eager(task: dict[str, Any], folder: Path, images: np.ndarray, threads: int) -> tuple[Callable[[], Any], float]:
    import monai.bundle  # noqa: F401 (before the memory of the libraries is read)
    import torch

    torch.set_num_threads(threads)
    libraries = memory_mb("VmRSS")
    network, batch = build(Path(task["bundle"]), task["overlays"])[1], torch.from_numpy(images)

    def run() -> Any:
        with torch.inference_mode():
            return network(batch).numpy()

    return run, libraries


def _torchscript(_: dict[str, Any], folder: Path, images: np.ndarray, threads: int) -> tuple[Callable[[], Any], float]:
    import torch

    torch.set_num_threads(threads)
    libraries = memory_mb("VmRSS")
    network, batch = torch.jit.load(folder / "network.ts"), torch.from_numpy(images)

    def run() -> Any:
        with torch.inference_mode():
            return network(batch).numpy()

    return run, libraries


def _onnxruntime(_: dict[str, Any], folder: Path, images: np.ndarray, threads: int) -> tuple[Callable[[], Any], float]:
    import onnxruntime

    libraries = memory_mb("VmRSS")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "network.onnx", options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: images})[0], libraries


def _openvino(_: dict[str, Any], folder: Path, images: np.ndarray, threads: int) -> tuple[Callable[[], Any], float]:
    import openvino

    libraries = memory_mb("VmRSS")
    # float32 as everywhere else: on processors with bfloat16 OpenVINO would choose that on its own.
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    network = openvino.Core().compile_model(folder / "network.onnx", "CPU", settings)
    return lambda: network([images])[0], libraries


_RUNTIMES = {"eager": _eager, "torchscript": _torchscript, "onnxruntime": _onnxruntime, "openvino": _openvino}


def pipeline(task: dict[str, Any]) -> dict[str, Any]:
    """Median milliseconds of pre-processing, inference and post-processing, as the bundle's inference.yaml says."""
    import torch
    from monai.bundle import ConfigParser

    torch.set_num_threads(task["threads"])
    bundle, folder = Path(task["bundle"]), Path(task["folder"])
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.yaml"))
    # No weights: the paper's width.
    changes = {
        "bundle_root": bundle,
        "dataset_dir": folder,
        "output_dir": folder / "masks",
        "ckpt_path": folder / "none",
    }
    for name, path in changes.items():
        parser[name] = str(path)
    parser["device"] = "$torch.device('cpu')"
    parser.get_parsed_content("imports", default=None)
    torch.manual_seed(SEED)
    path, what = _write_image(bundle, folder, task["size"])
    names = ("network", "preprocessing", "inferer", "postprocessing")
    network, before, inferer, after = (parser.get_parsed_content(name) for name in names)
    network.eval()
    stages: dict[str, list[float]] = {"pre-processing": [], "inference": [], "post-processing and writing": []}
    passes, begin = 0, time.perf_counter()
    # The first pass warms up, unless it alone takes so long that it does not matter.
    while passes <= task["repeats"] and (not passes or time.perf_counter() - begin < PIPELINE_SECONDS):
        data: dict[str, Any] = {"image": str(path)}
        clock = [time.perf_counter()]
        data = before(data)
        clock.append(time.perf_counter())
        with torch.inference_mode():
            data["pred"] = inferer(data["image"][None], network)[0]
        clock.append(time.perf_counter())
        after(data)
        clock.append(time.perf_counter())
        for times, start, end in zip(stages.values(), clock, clock[1:], strict=False):
            times.append(1000 * (end - start))
        passes += 1
    kept = slice(1, None) if passes > 1 else slice(None)
    return {
        "what": what,
        "passes": max(1, passes - 1),
        "median_ms": {name: round(statistics.median(times[kept]), 1) for name, times in stages.items()},
    }


def _write_image(bundle: Path, folder: Path, size: list[int]) -> tuple[Path, str]:
    """An image of the bundle's kind, noise in an ellipse: what it shows does not change how long it takes."""
    rng = np.random.default_rng(SEED)
    scan = bundle.name.startswith("spect")
    height, width = size or ([1024, 256] if scan else [512, 512])
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    body = (rows**2 + (1.3 * columns) ** 2 < 0.9)[..., None]
    if scan:
        from bonemets.dicom.nm import NMHeader, write_nm

        path = folder / "scan.dcm"
        counts = (rng.poisson(20.0, (height, width, 2)) * body).astype(np.uint16)
        write_nm(path, counts, NMHeader("benchmark"))
        return path, f"a DICOM scan of two views, {height}×{width}"
    from PIL import Image

    path = folder / "picture.png"
    values = (rng.integers(90, 200, (height, width, 3)) * body).astype(np.uint8)
    gray = bundle.name.startswith("ct")
    Image.fromarray(values[..., 0] if gray else values).save(path)
    return path, f"a {'slice' if gray else 'picture'} of {height}×{width}, PNG"


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    answer = {"export": export, "measure": measure, "pipeline": pipeline}[given["do"]](given)
    print(json.dumps(answer))
