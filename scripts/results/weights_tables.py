"""A piece of make_tables.py: what weights a bundle ships, for its model card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bonemets.bundle.weights import shipped_record, trained_on_simulated
from ledger import Record

NONE = [
    "This version ships none for this bundle: train it with the commands below. `bonemets segment` and MONAI Label use",
    "what then lies in `models/`.",
]


ON_OTHER_DATA = ("dice_per_image", "precision_per_image", "recall_per_image")


def weights(bundle: Path, records: Sequence[Record] = ()) -> list[str] | None:
    """A model card's section about the shipped weights; None where weights lie that were trained in their place.

    Args:
        bundle: the bundle's folder.
        records: the ledger, in which these weights may have been measured on other data than their own cohort.

    Raises:
        InputError: the weights are not those that their record describes.
    """
    path = bundle / "models" / "model.pt"
    record = shipped_record(bundle)
    if record is None:
        return None if path.is_file() else NONE
    training, settings, datalist = record["training"], record["settings"], record["datalist"]
    simulated = trained_on_simulated(record)
    data = datalist.get("cohort") or datalist.get("name")
    recipe = f" (recipe `results/cohorts/{datalist['cohort']}.yaml`)" if datalist.get("cohort") else ""
    metric = record["metric"]
    fold = settings["fold"]
    held_out = f"fold {fold} held out" + (" to choose the epoch" if metric["name"] else "")
    machine = training.get("hardware") or {}
    rows = {
        "network": f"{record['network_def']['_target_'].rpartition('.')[2]}, {_width(bundle, record)}",
        "file": f"`models/model.pt`, {path.stat().st_size / 1e6:.1f} MB, float32, sha256 `{record['sha256']}`",
        "data": f"{'simulated patients only: ' if simulated else ''}{data}{recipe}, training part, "
        f"{'all folds' if fold is None else held_out}; "
        f"split `{datalist['sha256'][:12]}`{_license(datalist)}",
        "overlays": ", ".join(f"`{name}`" for name in settings.get("overlays", [])) or "none: the paper's recipe",
        "seed, batch, rate": f"{settings['seed']}, {settings.get('batch_size')}"
        + (f" in each of {training['processes']} processes" if training.get("processes") else "")
        + f", {settings.get('learning_rate')}",
        "epochs": f"{training['epochs']} of {settings['epochs']}; kept: "
        + (f"epoch {record['epoch']}, `{metric['name']}` {metric['value']:.3f}" if metric["name"] else "the last one"),
        "threshold": f"{record.get('threshold', 0.5):g}"
        + (f", {record['threshold_chosen_by']}" if record.get("threshold_chosen_by") else ""),
        "time": f"{training['hours']:.1f} hours{_machine(machine)}",
        "log, record": f"`models/{training['log']}`, a line per epoch; `models/model.json`",
    }
    if start := record.get("started_from"):
        rows["started from"] = _start(start)
    if measured := record.get("measured"):
        numbers = ", ".join(
            f"`{key}` {value:.3f}" for key, value in measured.items() if key not in ("section", "patients", "threshold")
        )
        at = f", threshold {measured['threshold']:g}" if "threshold" in measured else ""
        rows["measured"] = f"{measured['patients']} {measured['section']} patients{at}: {numbers}"
    others = [
        one for one in records
        if one.get("weights_sha256") == [record["sha256"]] and one["data"]["split_sha256"] != datalist["sha256"]
    ]  # fmt: skip
    rows |= {f"measured on {one['data']['name']}": _on_other_data(one) for one in others}
    if not simulated and record.get("started_from"):
        remark = "They are what the network learned from these data, after those of the weights that it started from."
    elif not simulated:
        remark = "They are what the network learned from these data alone."
    elif any(one["data"]["kind"] == "real" for one in others):
        remark = "Trained on simulated data only; the table's line on real data says how far that carries."
    else:
        remark = "Trained on simulated data only."
    lines = ["| | |", "| --- | --- |", *(f"| {name} | {text} |" for name, text in rows.items())]
    return [
        *lines,
        "",
        remark,
        "`bonemets segment`, `configs/inference.yaml`, `configs/evaluate.yaml` and MONAI Label use them as they are.",
        "`configs/train.yaml` starts from random weights, at the paper's width, and writes its own in their place,",
        "unless `--ckpt_dir` names another folder; `git checkout models` brings them back.",
    ]


def _on_other_data(record: Record) -> str:
    numbers = ", ".join(
        f"`{name}` {entry['value']:.3f}" + (f" ({entry['low']:.3f}–{entry['high']:.3f})" if "low" in entry else "")
        for name in ON_OTHER_DATA
        if (entry := record["metrics"].get(name)) is not None
    )
    images = f"{record['n']['images']} images, none of them seen in training"
    return f"{record['data']['kind']}, {images}: {numbers}; record `{record['id']}`"


def _start(start: dict[str, Any]) -> str:
    """The weights that a training went on from: hash and, if the bundle shipped them, training; then theirs in turn."""
    text = f"weights with sha256 `{start['sha256'][:12]}`"
    if training := start.get("training"):
        text += f": {training['epochs']} epochs at a rate of {start['settings'].get('learning_rate')}, "
        text += f"{training['hours']:.1f} hours"
    if before := start.get("started_from"):
        text += f"; these from {_start(before)}"
    return text


def _width(bundle: Path, record: dict[str, Any]) -> str:
    features = record["network_def"].get("features")
    count = f"{record['training']['parameters']:,} parameters"
    if features is None:
        return count
    paper = yaml.safe_load((bundle / "configs" / "train.yaml").read_text("utf-8")).get("features")
    widths = "–".join(map(str, features))
    if features == paper:
        return f"{count}, the paper's widths {widths}"
    return f"{count}, compact widths {widths} (the paper's: {'–'.join(map(str, paper))})"


def _machine(hardware: dict[str, Any]) -> str:
    if hardware.get("gpu"):
        return f" on {hardware['gpu']}"
    return f" on {hardware['processor']}, {hardware['cores']} cores" if hardware else ""


def _license(datalist: dict[str, Any]) -> str:
    return f"; the data's license: {datalist['license']}" if datalist.get("license") else ""
