"""A sweep's folder as trainings would have left it: real evaluations of drawn predictions, no training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bonemets.data import write_datalist
from bonemets.data.lists.datalist import describe_part
from bonemets.data.tables import csv_bytes
from bonemets.metrics.comparison.pooling import cohort_bytes
from bonemets.metrics.evaluation.cohort import Cohort
from bonemets.metrics.evaluation.evaluation import Evaluation, patient_rows, summary
from bonemets.metrics.evaluation.measures import estimate
from bonemets.metrics.image import measure_image
from bonemets.sweep.spec import Sweep, Trial, read_sweep, trial_record

BUNDLE = "skin_sc_unext_segmentation"
UNET = {"_target_": "bonemets.networks.nets.UNet", "features": [4, 8]}


def make_sweep(folder: Path, patients: int = 6, **changes: Any) -> Sweep:
    """A specification and its data list; patients alternate between two folds, and three more are for testing."""
    for name in ("a.png", "a_mask.png"):
        (folder / name).write_bytes(b"")
    item = {"image": "a.png", "label": "a_mask.png"}
    training = [{**item, "patient": f"p{number}", "fold": number % 2} for number in range(patients)]
    testing = [{**item, "patient": f"t{number}"} for number in range(3)]
    write_datalist(folder / "datalist.json", {"name": "pictures", "training": training, "testing": testing})
    spec = {
        "name": "rows",
        "dataset_dir": ".",
        "seeds": [0, 1],
        "settings": {"epochs": 3},
        "models": [
            {"bundle": BUNDLE, "rows": ["table2_row8_all", "table2_row1_unext"]},
            {"bundle": BUNDLE, "name": "unet", "network": UNET},
        ],
    } | changes  # fmt: skip
    (folder / "sweep.yaml").write_text(yaml.safe_dump(spec))
    return read_sweep(folder / "sweep.yaml")


def finish(trial: Trial, output: Path, skill: float = 0.5) -> dict[str, Any]:
    """Leave what a finished trial leaves; `skill` is how clearly lesions stand out."""
    document = json.loads(trial.datalist.read_text())
    items = document["testing"] if trial.section == "test" else document["training"]
    results = []
    for number, item in enumerate(items):
        if item.get("fold", trial.fold) != trial.fold:
            continue
        truth = np.zeros((16, 16), np.uint8)
        truth[3 : 8 + number % 3, 4:10] = 1
        rng = np.random.default_rng([number, trial.seed, trial.fold])
        probability = np.clip(skill * truth + rng.uniform(0, 0.7, truth.shape), 0, 1)
        results.append(measure_image(probability, truth, patient=item["patient"]))
    cohort = Cohort(results)
    evaluation = Evaluation(cohort, None, estimate(cohort), {}, {})
    found = summary(evaluation, describe_part(trial.datalist, trial.section, trial.fold))
    folder = output / "trials" / trial.name
    (folder / "evaluation").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "evaluation" / "summary.json").write_text(json.dumps(found))
    (folder / "evaluation" / "patients.csv").write_bytes(csv_bytes(patient_rows(evaluation)))
    (folder / "evaluation" / "cohort.npz").write_bytes(cohort_bytes(cohort))
    network = trial.network or {"_target_": "bonemets.networks.nets.SCUNeXt", "features": [8, 16, 32, 64, 128]}
    settings = {"epochs": 3, "batch_size": 8, "edge_weight": 1.0, "fold": trial.fold, "seed": trial.seed}
    (folder / "models" / "model.json").write_text(json.dumps({"network_def": network, "settings": settings}))
    result = {
        "trial": trial_record(trial),
        "metrics": {key: entry["value"] for key, entry in found["metrics"].items()},
        "weights_sha256": f"{trial.seed}{trial.fold}" * 32,
        "training_seconds": 90.0,
        "machine": {"gpu": None, "processor": "some processor", "cores": 2, "commit": "0123456789abcdef"},
        "finished": "2026-11-21T17:00:00+00:00",
    }
    (folder / "result.json").write_text(json.dumps(result))
    return result
