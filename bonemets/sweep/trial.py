"""One trial of a sweep: train, predict, evaluate, and leave one file that says it is done."""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import yaml

from bonemets.bundle.folders import file_sha256
from bonemets.data.files import write_bytes, write_nifti
from bonemets.data.lists.datalist import load_datalist
from bonemets.sweep.spec import Trial, trial_record
from bonemets.sweep.training import TrialError, train

RESULT = "result.json"


def finished_result(trial: Trial, folder: Path) -> dict[str, Any] | None:
    """What a finished trial of the same specification left; None if there is none."""
    try:
        result = json.loads((folder / RESULT).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return result if result.get("trial", {}).get("fingerprint") == trial.fingerprint else None


def run_trial(trial: Trial, folder: Path, tracking_uri: str, sweep: str, cpus: int = 1) -> dict[str, Any]:
    """Run a trial, or what is left of it.

    A training that was stopped goes on after its last whole epoch. Folders of another specification are replaced.

    Args:
        trial: the trial.
        folder: its folder.
        tracking_uri: MLflow store.
        sweep: name of the sweep: experiment and parent run in MLflow.
        cpus: threads for the training, of all its processes together.

    Returns:
        What ``result.json`` holds.

    Raises:
        TrialError: the training failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as lock:
        if (done := finished_result(trial, folder)) is not None:
            return done
        _prepare(trial, folder, tracking_uri, sweep)
        training_seconds = train(trial, folder, cpus, lock)
        evaluation = _evaluate(trial, folder, cpus)
        result = {
            "format": 1,
            "trial": trial_record(trial),
            **_measured(evaluation),
            "weights_sha256": file_sha256(folder / "models" / "model.pt"),
            "training_seconds": round(training_seconds, 1),
            "machine": machine(),
            "mlflow_run_id": _run_id(folder),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        _log_to_mlflow(tracking_uri, sweep, result, trial, folder)
        write_bytes(folder / RESULT, (json.dumps(result, indent=2) + "\n").encode())
        return result


def measure_again(trial: Trial, folder: Path, tracking_uri: str, sweep: str, cpus: int = 1) -> dict[str, Any]:
    """Evaluate a finished trial with the present code; its training stays as it is.

    For when metrics have changed. Configuration files may have changed too since the training: its weights say what
    they are, and ``machine`` in the result what they were made with. ``measured_at`` is then the commit of this.

    Args:
        trial: the trial.
        folder: its folder, with ``result.json``.
        tracking_uri: MLflow store.
        sweep: name of the sweep; as in `run_trial`.
        cpus: threads.

    Returns:
        What ``result.json`` now holds.

    Raises:
        TrialError: the trial is not finished, or was run with other settings.
    """
    from bonemets.bundle.provenance import git_commit

    with _locked(folder):
        try:
            result: dict[str, Any] = json.loads((folder / RESULT).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise TrialError(f"{folder / RESULT} cannot be read; run the sweep without --measure-again") from error
        if changed := changed_settings(trial, result):
            raise TrialError(f"{folder / RESULT}: was run with another {changed[0]} than the specification has")
        result |= _measured(_evaluate(trial, folder, cpus)) | {"measured_at": git_commit()}
        _log_to_mlflow(tracking_uri, sweep, result, trial, folder)
        write_bytes(folder / RESULT, (json.dumps(result, indent=2) + "\n").encode())
        return result


def changed_settings(trial: Trial, result: Mapping[str, Any]) -> list[str]:
    """What a result's trial and the specification's say differently, texts of configuration files left out."""
    was, wanted = result.get("trial", {}), json.loads(json.dumps(trial_record(trial)))
    return [key for key in wanted if key != "fingerprint" and was.get(key) != wanted[key]]


def _measured(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "metrics": {key: entry["value"] for key, entry in evaluation["metrics"].items()},
        "evaluation": {key: evaluation[key] for key in ("patients", "images", "lesions", "predictions", "settings")},
    }


def machine() -> dict[str, Any]:
    """Processor, cores, GPU and versions: what a time depends on. No host name."""
    from bonemets.bundle.provenance import describe_hardware, git_commit, versions

    return {"gpu": None, **describe_hardware(), "commit": git_commit(), **versions()}


@contextmanager
def _locked(folder: Path) -> Iterator[IO[str]]:
    """Hold the trial's folder. The training inherits the lock, so one that outlives its parent is waited for."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _prepare(trial: Trial, folder: Path, tracking_uri: str, sweep: str) -> None:
    """Write the trial's own overlay; remove what another specification left."""
    record = folder / "trial.json"
    wanted = json.dumps(trial_record(trial), indent=2) + "\n"
    if record.is_file() and record.read_text("utf-8") != wanted:
        for name in ("eval", "models", "evaluation", "predictions"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "training_seconds.txt").unlink(missing_ok=True)
    overlay: dict[str, Any] = {
        "bundle_root": str(trial.bundle),
        "dataset_dir": str(trial.dataset_dir),
        "datalist": str(trial.datalist),
        "output_dir": str(folder / "eval"),
        "ckpt_dir": str(folder / "models"),
        "fold": trial.fold,
        "seed": trial.seed,
        "resume": True,
        "track": True,
        "tracking_uri": tracking_uri,
        "experiment_name": sweep,
        "parent_run": sweep,
        "run_name": trial.name,
        **trial.settings,
    }
    if trial.section == "validation":
        # Nothing may be chosen on the images that are measured: the last epoch's weights, not the best one's.
        overlay |= {"best_model::metric": None, "val_interval": "@epochs", **trial.settings}
    if trial.network is not None:
        overlay["network_def"] = trial.network
    write_bytes(folder / "trial.yaml", yaml.safe_dump(overlay, sort_keys=False).encode())
    write_bytes(record, wanted.encode())


def _evaluate(trial: Trial, folder: Path, cpus: int) -> dict[str, Any]:
    """Probabilities of every item, then all that ``bonemets evaluate`` measures; returns its summary."""
    import torch

    from bonemets.data.lists.datalist import describe_part
    from bonemets.engines.predictor import BundlePredictor, on_file_grid
    from bonemets.metrics.comparison.pooling import cohort_bytes
    from bonemets.metrics.evaluation.evaluation import evaluate_cases, summary
    from bonemets.metrics.evaluation.matching import Case
    from bonemets.reporting.evaluation.page import write_evaluation

    torch.set_num_threads(cpus)
    predictor = BundlePredictor(trial.bundle, "auto", folder / "models" / "model.pt")
    cases = []
    with _scratch(folder / "predictions") as scratch:
        for number, item in enumerate(load_datalist(trial.datalist, fold=trial.fold, section=trial.section)):  # type: ignore[arg-type]
            path = scratch / f"{number:05d}.nii.gz"
            prediction = predictor.predict(predictor.read(item["image"]))
            # Labels are measured in their own files' order, so that is how the probability has to lie.
            array, affine = on_file_grid(predictor.read(item["label"]), prediction.probability)
            write_nifti(path, array, affine, keep_axes=True)
            image, root = Path(item["image"]), trial.datalist.parent.resolve()
            name = image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name
            cases.append(Case(name, str(item["patient"]), str(item.get("view", "")), Path(item["label"]), path))
        evaluation = evaluate_cases(cases, threshold=predictor.threshold)
    document = summary(evaluation, describe_part(trial.datalist, trial.section, trial.fold))
    write_evaluation(folder / "evaluation", evaluation, document)
    write_bytes(folder / "evaluation" / "cohort.npz", cohort_bytes(evaluation.cohort))
    return document


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder that is gone afterwards: probabilities of a whole cohort are large."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_id(folder: Path) -> str | None:
    """The MLflow run that the training logged into, as its checkpoint remembers."""
    import torch

    checkpoint = torch.load(folder / "eval" / "checkpoint.pt", map_location="cpu", weights_only=True)
    return checkpoint.get("tracking", {}).get("run_id")


def _log_to_mlflow(tracking_uri: str, sweep: str, result: dict[str, Any], trial: Trial, folder: Path) -> None:
    """Add the evaluation to the training's run, where a reviewer expects it; names of patients as pseudonyms.

    Where this store does not have that run, the evaluation gets one of its own, which the result then names.
    """
    if result.get("mlflow_run_id") is None:
        return
    from mlflow.entities import Metric

    from bonemets.handlers.mlflow.case_table import Identifiers
    from bonemets.handlers.mlflow.store import MLflowStore

    store = MLflowStore(tracking_uri, sweep)
    client = store.client
    run_id = result["mlflow_run_id"] = store.run_or_new(result["mlflow_run_id"], trial.name, sweep)
    now = int(time.time() * 1000)
    section = result["trial"]["section"]
    metrics = [
        Metric(f"{section}.{key}", float(value), now, 0)
        for key, value in result["metrics"].items()
        if value is not None
    ]
    client.log_batch(run_id, metrics=metrics)
    evaluation, identifiers = folder / "evaluation", Identifiers(trial.datalist)
    client.log_artifact(run_id, str(evaluation / "summary.json"), "evaluation")
    for name in ("patients.csv", "images.csv", "lesions.csv"):
        client.log_text(run_id, identifiers.csv_text(evaluation / name), f"evaluation/{name}")
    if identifiers.plain:
        # The page names the images that were hardest.
        client.log_artifact(run_id, str(evaluation / "index.html"), "evaluation")
