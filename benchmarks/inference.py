"""Latency and peak memory of the bundles' networks in four runtimes; writes results/benchmark_inference.yaml.

::

    python benchmarks/inference.py --bundle skin_sc_unext_segmentation     # on an idle machine; without --bundle all

Every measurement is a process of its own (inference_worker.py). Networks have random weights, which changes neither
time nor memory. Input: a whole scan of one view (1024×256) for the bone-scan bundles, else the size that the bundle
trains at. Results of bundles that are not measured now are kept.
``python scripts/results/make_tables.py`` then puts the numbers into the model cards.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from bonemets.bundle.folders import find_bundle, is_bundle
from bonemets.data.files import write_bytes

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("inference_worker.py")
RUNTIMES = ("eager", "torchscript", "onnxruntime", "openvino")
WIDTHS: dict[str, list[str]] = {"paper": [], "compact": ["compact"]}


def work(task: dict[str, Any]) -> dict[str, Any]:
    """Do one thing in a process of its own.

    Raises:
        RuntimeError: it failed; the message ends with what it said.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(task["threads"]), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(WORKER), json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{task['do']} {task.get('runtime', '')} of {task['bundle']} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure_bundle(bundle: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one bundle."""
    common = {
        "bundle": str(bundle), "threads": options.threads, "seconds": options.seconds, "repeats": options.repeats,
        "size": options.size,
    }  # fmt: skip
    load, widths = round(os.getloadavg()[0], 1), []
    for name in options.width:
        with tempfile.TemporaryDirectory() as folder:
            task = common | {"folder": folder, "overlays": WIDTHS[name]}
            entry = {"name": name, **work(task | {"do": "export"}), "runtimes": {}}
            for runtime in options.runtime:
                entry["runtimes"][runtime] = found = work(task | {"do": "measure", "runtime": runtime})
                print(
                    f"{bundle.name}, {name}, {runtime}: {found['median_ms']} ms, {found['peak_memory_mb']} MB",
                    flush=True,
                )
            widths.append(entry)
    result = {
        "date": date.today().isoformat(),
        "load_average_before": load,
        "machine": machine(),
        "threads": options.threads,
        "repeats": options.repeats,
        "widths": widths,
    }
    if options.pipeline:
        with tempfile.TemporaryDirectory() as folder:
            result["pipeline"] = work(common | {"do": "pipeline", "folder": folder})
            print(f"{bundle.name}: {result['pipeline']['median_ms']}", flush=True)
    return result


def merge(known: dict[str, Any] | None, found: dict[str, Any]) -> dict[str, Any]:
    """Keep what was not measured again, if it is of the same machine, versions and settings."""
    same = known is not None and all(known.get(key) == found[key] for key in ("machine", "threads", "repeats"))
    if known is None or not same:
        return found
    widths = {width["name"]: width for width in (*known["widths"], *found["widths"])}
    return {**known, **found, "widths": [widths[name] for name in WIDTHS if name in widths]}


def machine() -> dict[str, Any]:
    """What the numbers were measured on; no name of a host."""
    from bonemets.bundle.provenance import describe_hardware

    packages = ("torch", "monai", "onnxruntime", "openvino")
    return {**describe_hardware(), **{name: version(name) for name in packages}}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--bundle", action="append", help="name or folder of a bundle; again for more; default all")
    parser.add_argument("--width", action="append", choices=list(WIDTHS), help="default both")
    parser.add_argument("--runtime", action="append", choices=RUNTIMES, help="default all")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of a pass; default all cores")
    parser.add_argument("--repeats", type=int, default=3, help="timed passes, at least")
    parser.add_argument("--seconds", type=float, default=4.0, help="more passes until so much time has passed")
    parser.add_argument("--size", type=int, nargs=2, default=[], metavar=("ROWS", "COLUMNS"), help="other input size")
    parser.add_argument(
        "--no-pipeline", dest="pipeline", action="store_false", help="leave out inference.yaml's stages"
    )
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results" / "benchmark_inference.yaml")
    options = parser.parse_args()
    options.width, options.runtime = options.width or list(WIDTHS), options.runtime or list(RUNTIMES)
    every = sorted(path for path in (ROOT / "bundles").iterdir() if is_bundle(path))
    bundles = [find_bundle(name) for name in options.bundle] if options.bundle else every
    for bundle in bundles:
        name, found = bundle.resolve().name, measure_bundle(bundle.resolve(), options)
        known = yaml.safe_load(options.output.read_text("utf-8")) if options.output.is_file() else {"bundles": {}}
        found = merge(known["bundles"].get(name), found)
        known["bundles"] = dict(sorted({**known["bundles"], name: found}.items()))
        write_bytes(options.output, yaml.safe_dump(known, sort_keys=False, allow_unicode=True).encode())


if __name__ == "__main__":
    main()
