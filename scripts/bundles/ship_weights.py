"""Put the weights of a training into a bundle, with their record and their log.

::

    python scripts/bundles/ship_weights.py sweeps/pooling/trials/TRIAL spect_dual_pooling_segmentation

The folder is a trial of ``bonemets sweep``, or whatever a training left: ``model.pt`` and ``model.json`` (in it or in
its ``models``) and ``train.log``, its printed lines. Nothing is shipped unless the weights are those that the record
describes, can be loaded without running code, are float32 and at most 25 MB, build and fit the bundle's network, are of
a benchmark cohort's split (``results/cohorts``) with fold and seed recorded, and the log is of this training and ended.

Into ``bundles/NAME/models`` go ``model.pt`` as it is; ``model.json`` without paths and with ``training`` (log, epochs,
hours, machine) and the cohort's name; ``training.csv``, a line per epoch. If the training went on from those that the
bundle shipped so far, ``started_from`` is a short form of their record. New weights get the bundle's next minor
version, with an entry in the changelog of ``metadata.json`` that names their sha256. The tables are written again.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser

from bonemets.bundle.folders import bundle_metadata, file_sha256
from bonemets.bundle.weights import MAXIMUM_BYTES, shipped_record
from bonemets.data.files import write_bytes
from bonemets.engines.predictor import checked_provenance
from bonemets.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
LOG = "training.csv"
NEEDED = ("sha256", "network_def", "settings", "datalist", "epoch", "metric")
# What is kept of the record of weights that a training started from.
OF_THE_START = ("sha256", "commit", "settings", "datalist", "epoch", "metric", "training", "started_from")
OF_ITS_SETTINGS = ("fold", "epochs", "batch_size", "learning_rate", "seed", "overlays")
# What a card says of a trial's own measurement; all of it is in the ledger.
MEASURED = ("dice_pooled", "dice_per_image_bearing", "sensitivity_iou10", "false_positives_per_scan_iou10")
# What bonemets.handlers.EpochLog writes: "epoch 3/60  train_loss 0.4110  val_lesion_dice 0.4696  (8.1 s an epoch, …".
EPOCH_LINE = re.compile(r"\bepoch (\d+)/(\d+)  (.*?) *\((\d+\.\d) s an epoch")
VALUE = re.compile(r"(\w+) (-?\d+\.\d+|-?inf)")


def read_log(path: Path) -> tuple[dict[int, dict[str, float]], float]:
    """Metrics per epoch from a training's printed lines, and its hours.

    A training that was stopped and resumed may print an epoch twice: the later line counts. The hours are the epochs
    times the last line's mean time of one.

    Raises:
        InputError: it cannot be read or has no line of an epoch.
    """
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name the log with --log") from error
    epochs: dict[int, dict[str, float]] = {}
    seconds = 0.0
    for line in lines:
        if found := EPOCH_LINE.search(line):
            epochs[int(found[1])] = {name: float(value) for name, value in VALUE.findall(found[3])}
            seconds = float(found[4])
    if not epochs:
        raise InputError(f"{path}: has no line of an epoch, as training prints them; name the log with --log")
    return epochs, len(epochs) * seconds / 3600


def log_as_csv(epochs: dict[int, dict[str, float]]) -> bytes:
    """A line per epoch; what was not measured in it stays empty."""
    names = list(dict.fromkeys(name for values in epochs.values() for name in values))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["epoch", *names])
    table.writerows([number, *(epochs[number].get(name, "") for name in names)] for number in sorted(epochs))
    return text.getvalue().encode()


def without_paths(value: Any) -> Any:
    """A record without the folders of one machine: of every absolute path its last part is left."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and (value.startswith(("/", "~")) or PureWindowsPath(value).drive):
        return (PurePosixPath if "/" in value else PureWindowsPath)(value).name
    return value


def find_cohort(split: str, folder: Path) -> str | None:
    """The name of the benchmark cohort whose data list has this SHA-256."""
    recipes = (yaml.safe_load(path.read_text("utf-8")) for path in sorted(folder.glob("*.yaml")))
    return next((recipe["name"] for recipe in recipes if recipe.get("datalist_sha256") == split), None)


def check_state(weights: Path, record: dict[str, Any], bundle: Path) -> int:
    """Check that the weights are plain float32 tensors which fit the network that the record names, the bundle's.

    Returns:
        The number of its parameters.

    Raises:
        InputError: they are not.
    """
    if weights.stat().st_size > MAXIMUM_BYTES:
        size = weights.stat().st_size / 1e6
        raise InputError(f"{weights}: has {size:.1f} MB, more than {MAXIMUM_BYTES / 1e6:.0f}; ship a compact width")
    if file_sha256(weights) != record.get("sha256"):
        raise InputError(f"{weights}: is not the file that model.json describes (sha256); is it still training?")
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, EOFError, LookupError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{weights}: cannot be read as plain tensors") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{weights}: is no plain state dict")
    wrong = [key for key, value in state.items() if value.is_floating_point() and value.dtype != torch.float32]
    wrong += [key for key, value in state.items() if not torch.isfinite(value).all()]
    if wrong:
        raise InputError(f"{weights}: {wrong[0]} is not of finite float32 numbers")
    wanted = ConfigParser.load_config_file(str(bundle / "configs" / "inference.yaml"))["network_def"]["_target_"]
    if record["network_def"]["_target_"] != wanted:
        raise InputError(f"{weights}: is of {record['network_def']['_target_']}, {bundle.name} is for {wanted}")
    network = ConfigParser({"network_def": record["network_def"]}).get_parsed_content("network_def")
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{weights}: does not fit the network that model.json names") from error
    return sum(parameter.numel() for parameter in network.parameters())


def check_training(record: dict[str, Any], epochs: dict[int, dict[str, float]], log: Path, unfinished: bool) -> None:
    """Check that the log is of the training that the record describes, and that it came to its end.

    Raises:
        InputError: it is of another, or goes on.
    """
    settings, metric = record["settings"], record["metric"]
    for name in ("fold", "seed", "epochs"):
        if name not in settings:
            raise InputError(f"model.json: has no setting {name!r}; train with this version's bundles")
    last, stops = max(epochs), "early_stopping" in settings.get("overlays", [])
    if last < settings["epochs"] and not (stops or unfinished):
        raise InputError(f"{log}: ends at epoch {last} of {settings['epochs']}; wait, or say --unfinished")
    logged = epochs.get(record["epoch"], {}).get(metric["name"])
    told = metric["value"]
    if metric["name"] and (logged is None or told is None or not math.isclose(logged, told, abs_tol=1e-4)):
        raise InputError(
            f"{log}: has {metric['name']} {logged} at epoch {record['epoch']}, model.json {told}: of another training"
        )


def shipped(
    record: dict[str, Any], training: dict[str, Any], trial: dict[str, Any], data: dict[str, Any]
) -> dict[str, Any]:
    """The record as it is shipped.

    Args:
        record: what training left beside the weights.
        training: what ``training`` says: parameters, epochs, hours.
        trial: the ``result.json`` of a sweep's trial: the machine, and what was measured; may be empty.
        data: what is added to ``datalist``.
    """
    machine = trial.get("machine", {})
    training = {"log": LOG, **training}
    if processes := trial.get("trial", {}).get("processes", record["settings"].get("processes")):
        training["processes"] = processes
    training["hardware"] = {key: machine[key] for key in ("processor", "cores", "gpu") if machine.get(key)}
    record = {**without_paths(record), "datalist": {**record["datalist"], **data}, "training": training}
    if trial.get("weights_sha256") != record["sha256"]:
        return record
    threshold = {"threshold": trial["evaluation"]["settings"]["threshold"]}
    metrics = {key: round(trial["metrics"][key], 4) for key in MEASURED if trial["metrics"].get(key) is not None}
    part = {"section": trial["trial"]["section"], "patients": trial["evaluation"]["patients"]}
    return {**record, "measured": {**part, **threshold, **metrics}}


def began_with(record: dict[str, Any], bundle: Path) -> dict[str, Any]:
    """``started_from`` for a training that went on from other weights: their record, if the bundle ships them.

    Shipped a second time, say with a threshold that was chosen since, weights keep what they have.

    Raises:
        InputError: the weights in the bundle are not those that their record describes.
    """
    start = record["settings"].get("start_weights_sha256")
    before = shipped_record(bundle) or {}
    if start is None:
        return {}
    if before.get("sha256") == record["sha256"] and "started_from" in before:
        return {"started_from": before["started_from"]}
    if before.get("sha256") != start:
        return {"started_from": {"sha256": start}}
    kept = {key: before[key] for key in OF_THE_START if key in before}
    kept["settings"] = {key: value for key, value in before["settings"].items() if key in OF_ITS_SETTINGS}
    kept["training"] = {key: value for key, value in before["training"].items() if key != "log"}
    return {"started_from": kept}


def with_new_version(metadata: str, sha256: str, kind: str) -> str:
    """The text of a ``metadata.json`` with the next minor version and its changelog entry.

    Unchanged if the present version's entry names these weights already.
    """
    told = json.loads(metadata)
    version, changelog = told["version"], told["changelog"]
    if sha256[:12] in changelog.get(version, ""):
        return metadata
    major, minor, _ = version.split(".")
    new = f"{major}.{int(minor) + 1}.0"
    entry = json.dumps(f"New weights, trained on {kind} (sha256 {sha256[:12]}).")
    metadata = metadata.replace(f'"version": "{version}"', f'"version": "{new}"', 1)
    return metadata.replace('"changelog": {', f'"changelog": {{\n        "{new}": {entry},', 1)


def ship(options: argparse.Namespace) -> Path:
    """Check, copy and record.

    Returns:
        The weights' place in the bundle.

    Raises:
        InputError: something is not as it must be; then nothing is written.
    """
    bundle = options.root / "bundles" / options.bundle
    if not bundle_metadata(bundle):
        raise InputError(f"{bundle}: is not a bundle")
    trial = options.trial
    weights = next((path for path in (trial / "models/model.pt", trial / "model.pt") if path.is_file()), None)
    if weights is None:
        raise InputError(f"{trial}: has neither models/model.pt nor model.pt")
    record = checked_provenance(weights)
    lacking = [key for key in NEEDED if not record.get(key)]
    if lacking:
        raise InputError(f"{weights.with_suffix('.json')}: has no {', '.join(lacking)}")
    parameters = check_state(weights, record, bundle)
    log = options.log or trial / "train.log"
    epochs, hours = read_log(log)
    check_training(record, epochs, log, options.unfinished)
    cohort = find_cohort(record["datalist"]["sha256"], options.root / "results" / "cohorts")
    if cohort is None and options.license is None:
        raise InputError(
            f"{weights}: its data list {record['datalist']['sha256'][:12]} is no recipe's of results/cohorts; for real "
            "data say under which --license they are"
        )
    data = {"cohort": cohort, "simulated": True} if cohort else {"simulated": False, "license": options.license}
    clock, result = trial / "training_seconds.txt", trial / "result.json"
    if clock.is_file():
        hours = float(clock.read_text("utf-8")) / 3600
    measured = json.loads(result.read_text("utf-8")) if result.is_file() else {}
    training = {"parameters": parameters, "epochs": max(epochs), "hours": round(hours, 2)}
    start = began_with(record, bundle)
    text = json.dumps({**shipped(record, training, measured, data), **start}, indent=2) + "\n"

    models = bundle / "models"
    write_bytes(models / LOG, log_as_csv(epochs))
    # The record before the weights: beside an old record new weights would be built as another network.
    write_bytes(models / "model.json", text.encode())
    write_bytes(models / "model.pt", weights.read_bytes())
    metadata = bundle / "configs" / "metadata.json"
    told = metadata.read_text("utf-8")
    kind = "simulated patients" if cohort else record["datalist"].get("name") or "real data"
    write_bytes(metadata, with_new_version(told, record["sha256"], kind).encode())
    return models / "model.pt"


def main() -> int:
    """Ship the weights named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trial", type=Path, help="folder of the training")
    parser.add_argument("bundle", help="name of the bundle")
    parser.add_argument("--log", type=Path, help="what training printed (TRIAL/train.log)")
    parser.add_argument("--license", help="license of the data, for weights that were trained on real ones")
    parser.add_argument("--unfinished", action="store_true", help="also a training that has not come to its last epoch")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    options = parser.parse_args()
    try:
        weights = ship(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{weights}: {weights.stat().st_size / 1e6:.1f} MB, sha256 {file_sha256(weights)}")
    tables = [sys.executable, str(ROOT / "scripts" / "results" / "make_tables.py"), "--root", str(options.root)]
    return subprocess.run(tables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
