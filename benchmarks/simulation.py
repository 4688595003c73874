"""Seconds and memory per simulated patient, scaling with workers, and the naive way as a peer in the same run.

Writes results/benchmark_simulation.yaml::

    OMP_NUM_THREADS=1 python benchmarks/simulation.py

The peer does only what every patient needs first, voxelizing the posed bones at the camera's 2.26 mm with trimesh; it
makes no image. Times are processor time of one process, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]

_WORKER = """
import json, resource, sys, time
from bonemets.simulation import load_skeleton, simulate_study
start = time.process_time()
skeleton = load_skeleton()
load = time.process_time() - start
simulate_study(skeleton, 0, 1)  # warm up
seconds = []
wall = time.perf_counter()
for patient in range(int(sys.argv[1]), int(sys.argv[2])):
    start = time.process_time()
    simulate_study(skeleton, 0, patient)
    seconds.append(time.process_time() - start)
print(json.dumps({"load": load, "seconds": seconds, "wall": time.perf_counter() - wall,
                  "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def run_workers(workers: int, patients: int) -> list[dict[str, Any]]:
    """Simulate ``patients`` patients in each of several processes at once, one thread each."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(1 + i * patients), str(1 + (i + 1) * patients)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for i in range(workers)
    ]
    return [json.loads(process.communicate()[0]) for process in processes]


def voxelize_every_patient() -> float:
    """Processor seconds of the naive way: transform and voxelize every bone's mesh for one patient."""
    from bonemets.simulation import load_skeleton
    from bonemets.simulation.patient.patient import draw_patient, generators
    from bonemets.simulation.skeleton.anatomy import BONE_IDS
    from bonemets.simulation.skeleton.pose import draw_pose
    from bonemets.simulation.skeleton.skeleton_cache import _bone_meshes, _load_model

    skeleton = load_skeleton()
    rng = generators(0, 1)
    pose = draw_pose(skeleton, draw_patient(rng["patient"]), rng["pose"])
    meshes = _bone_meshes(_load_model(), *skeleton.tree.poses({}))
    start = time.process_time()
    for bone, (_, mesh) in meshes.items():
        posed = mesh.copy()
        posed.vertices = mesh.vertices @ pose.matrix[BONE_IDS[bone]].T + pose.offset[BONE_IDS[bone]]
        posed.voxelized(0.00226).fill()
    return time.process_time() - start


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    processor = platform.processor() or "unknown"
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [line.split(":")[1].strip() for line in information.read_text().splitlines() if "model name" in line]
        processor = models[0] if models else processor
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "scipy", "trimesh", "myo-sim")},
    }


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=12, help="patients per worker")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    one = run_workers(1, options.patients)[0]
    two = run_workers(2, options.patients)
    seconds = float(np.mean(one["seconds"]))
    naive = voxelize_every_patient()
    results = {
        "machine": machine(),
        "patients_per_worker": options.patients,
        "seconds_per_patient": {
            "mean": round(seconds, 3),
            "median": round(float(np.median(one["seconds"])), 3),
            "max": round(float(np.max(one["seconds"])), 3),
            "what": "two noisy views with all masks, processor time of one thread",
        },
        "load_skeleton_seconds": round(one["load"], 2),
        "peak_memory_megabytes": round(one["megabytes"]),
        "two_workers": {
            "processor_time_ratio": round(2 * seconds / float(np.mean([worker["seconds"] for worker in two])), 2),
            "wall_time_ratio": round(2 * one["wall"] / max(worker["wall"] for worker in two), 2),
            "load_average_before": round(load, 1),
            "what": "patients per second with two processes over one; the wall time also holds what else was running",
        },
        "naive_peer": {
            "seconds_per_patient": round(naive, 2),
            "ratio": round(naive / seconds, 1),
            "what": "trimesh voxelization of the posed bones at 2.26 mm, no image made",
        },
    }
    path = ROOT / "results" / "benchmark_simulation.yaml"
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(yaml.safe_dump(results, sort_keys=False))
    temporary.replace(path)
    print(path.read_text())


if __name__ == "__main__":
    main()
