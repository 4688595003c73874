"""What `make demo` needs besides the product's own commands: the scans laid apart, and the page at the end."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bonemets.bundle.folders import bundle_of, find_bundle
from bonemets.data import VIEWS, read_planar, write_bytes
from bonemets.data.lists.datalist import read_datalist
from bonemets.data.planar.scan import PlanarScan
from bonemets.metrics import LesionCounts, lesion_components, match_lesions
from bonemets.metrics.lesions import LESION
from bonemets.reporting.display import data_uri
from bonemets.reporting.figures import figure_png, training_figure
from bonemets.reporting.pages import render_page, scan_drawing
from bonemets.reporting.study.results import study_name

PANELS = {
    "Loss (Dice + cross-entropy)": {"train_loss": "training views"},
    "Lesion Dice": {"train_lesion_dice": "training views", "val_lesion_dice": "validation views"},
    "Validation views, changed at random": {"val_precision": "precision of pixels", "val_recall": "recall of pixels"},
}
CRITERIA = {"any": 0.0, "iou10": 0.1, "iou50": 0.5}
"""Overlap at which a finding matches a lesion. Any shared pixel is the field's usual rule, but a mask of the whole body
would satisfy it: the page's headline is at an intersection over union of 0.1, one to one."""


def collect(demo: Path) -> None:
    """Copy the held-out patients' DICOM files, and the real scan that pydicom-data carries."""
    import data_store

    held_out = {item["patient"] for item in read_datalist(demo / "cohort" / "datalist.json")["testing"]}
    copies = {demo / "held_out" / f"{name}.dcm": demo / "cohort" / name / "scan.dcm" for name in sorted(held_out)}
    copies[demo / "real_scan" / "nema_nm1.dcm"] = Path(data_store.__file__).parent / "data" / "JPEG-LL.dcm"
    for target, source in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        print(f"{target.parent.name}/{target.name}")


def write_page(demo: Path) -> None:
    """Write ``index.html`` from what the other steps left."""
    trained = json.loads((demo / "training" / "model.json").read_text("utf-8"))
    before, after = (
        json.loads((demo / when / "evaluation_validation" / "summary.json").read_text("utf-8"))
        for when in ("before", "after")
    )
    steps = json.loads((demo / "logs" / "steps.json").read_text("utf-8"))
    patients = [_patient(demo, path) for path in sorted((demo / "held_out").glob("*.dcm"))]
    lesions = {name: sum((patient["lesions"][name] for patient in patients), LesionCounts()) for name in CRITERIA}
    summary = json.loads((demo / "evaluation" / "summary.json").read_text("utf-8"))
    document = read_datalist(demo / "cohort" / "datalist.json")
    cohort = json.loads((demo / "cohort" / "cohort.json").read_text("utf-8"))
    training = {item["patient"]: item["fold"] for item in document["training"]}
    real = _real(demo)
    page = render_page(
        "demo.html",
        patients=patients,
        lesions=lesions,
        summary=summary,
        metrics=summary["metrics"],
        curves=data_uri(figure_png(training_figure(_curves(demo), step_name="epoch"))),
        shipped_curves=_shipped_curves(find_bundle() / "models" / "training.csv"),
        real=real,
        shipped=_shipped(real["result"]["model"]),
        trained=trained,
        trained_bundle=bundle_of(demo / "training" / "model.pt"),
        dice_before=before["dice_pooled"],
        dice_after=after["dice_pooled"],
        facts={
            "patients": cohort["patients"],
            "with_lesions": sum(any(study["lesion_pixels"].values()) for study in cohort["studies"]),
            "trained_on": sum(fold != trained["settings"]["fold"] for fold in training.values()),
            "validated_on": sum(fold == trained["settings"]["fold"] for fold in training.values()),
            "seed": cohort["seed"],
            "train_seconds": steps["train"].get("seconds", 0.0),
            "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, {platform.system()}",
        },
        mlflow=f"mlflow ui --backend-store-uri sqlite:///{_shown(demo)}/training/mlruns.db",
        files=_files(demo),
        folder=_shown(demo),
    )
    write_bytes(demo / "index.html", page.encode("utf-8"))
    found = lesions["iou10"]
    print(f"{found.detected} of {found.lesions} held-out lesions found, {found.false_positives} false findings")


def _patient(demo: Path, path: Path) -> dict[str, Any]:
    """One held-out patient: truth and prediction, in numbers and as a drawing."""
    scan = read_planar(path)
    folder, result, mask = _result(demo / "results", scan)
    source = demo / "cohort" / path.stem
    truth, instances = (
        np.stack([_array(source / f"{view}_{kind}.nii.gz").squeeze() for view in VIEWS], axis=-1)
        for kind in ("label", "lesions")
    )
    counts = {
        name: sum(
            (
                match_lesions(mask[..., v], truth[..., v], instances=instances[..., v], iou_threshold=threshold)
                for v in range(len(VIEWS))
            ),
            LesionCounts(),
        )
        for name, threshold in CRITERIA.items()
    }
    return {
        "name": path.stem,
        "lesions": counts,
        "lesion_pixels": int((truth == LESION).sum()),
        "findings": len(result["findings"]),
        "seconds": result["seconds"]["segment"],
        "drawing": scan_drawing(scan.pixels, scan.views, mask, truth, spacing=scan.spacing),
        "results": f"results/{folder.name}",
        "files": result["files"],
        "cohort": f"cohort/{path.stem}",
    }


def _real(demo: Path) -> dict[str, Any]:
    scan = read_planar(demo / "real_scan" / "nema_nm1.dcm")
    folder, result, mask = _result(demo / "results_real", scan)
    return {
        "result": result,
        "drawing": scan_drawing(scan.pixels, scan.views, mask, spacing=scan.spacing),
        "results": f"results_real/{folder.name}",
        "components": lesion_components(mask[..., 0])[1],
        "share": float(mask.mean()),
    }


def _result(results: Path, scan: PlanarScan) -> tuple[Path, dict[str, Any], np.ndarray]:
    folder = results / study_name(scan)
    mask = _array(folder / "mask.nii.gz")
    result = json.loads((folder / "result.json").read_text("utf-8"))
    return folder, result, mask.reshape(scan.pixels.shape)


def _array(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]


def _curves(demo: Path) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The newest training's metrics, from MLflow's store."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{demo / 'training' / 'mlruns.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, order_by=["attributes.start_time DESC"])
    run = next(run for run in runs if "train_loss" in run.data.metrics)
    return {
        panel: {
            label: [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
            for name, label in curves.items()
        }
        for panel, curves in PANELS.items()
    }


def _shipped(model: dict[str, Any]) -> dict[str, Any]:
    """What the page says of the weights that segmented: the record beside them, in the page's words."""
    record = model["provenance"]
    training = record.get("training", {})
    return {
        "sha256": model["weights_sha256"],
        "bundle": model["bundle"],
        "simulated": model["simulated_patients_only"],
        "data": (record.get("datalist") or {}).get("cohort") or model["training_data"] or "data that are not recorded",
        "epochs": training.get("epochs"),
        "hours": training.get("hours"),
        "parameters": training.get("parameters"),
    }


def _shipped_curves(log: Path) -> str | None:
    """The curves of the shipped weights' own training, from the log beside them; None where there is none."""
    if not log.is_file():
        return None
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    panels = {
        panel: {
            label: [(float(row["epoch"]), float(row[name])) for row in rows if row.get(name)]
            for name, label in curves.items()
        }
        for panel, curves in PANELS.items()
    }
    return data_uri(figure_png(training_figure(panels, step_name="epoch")))


def _files(demo: Path) -> list[tuple[str, str]]:
    """Path and meaning of what the demo made."""
    files = [
        ("cohort/cohort.json", "every parameter that was drawn for every simulated patient"),
        ("cohort/datalist.json", "the MONAI data list: images, labels, folds and test part, by patient"),
        ("evaluation/index.html", "every metric of the held-out patients, with intervals and figures"),
        ("evaluation/summary.json", "the same numbers, for programs"),
        ("evaluation/lesions.csv", "lesion by lesion: found or not, size, bone"),
        ("training/model.pt", "the fine-tuned weights (a plain state dict)"),
        ("training/model.json", "what they are: network, settings, data list, versions, commit"),
        ("training/mlruns.db", "MLflow's store: parameters, metrics per epoch, overlay pictures"),
        ("logs/train.log", "what fine-tuning printed"),
    ]
    return [(path, meaning) for path, meaning in files if (demo / path).exists()]


def _shown(demo: Path) -> str:
    """The demo's folder as a user names it from the repository's root."""
    root = Path(__file__).resolve().parents[2]
    demo = demo.resolve()
    return str(demo.relative_to(root)) if demo.is_relative_to(root) else str(demo)


if __name__ == "__main__":
    {"collect": collect, "page": write_page}[sys.argv[1]](Path(sys.argv[2]))
