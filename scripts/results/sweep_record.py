"""From a sweep's folder into the ledger: one record per model, with nothing typed.

What a training was is taken from what it left (``result.json``, ``models/model.json``), not from today's files: a sweep
may run for days in a checkout of its own while the project goes on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bonemets.bundle.folders import bundle_metadata, read_provenance
from bonemets.errors import InputError
from bonemets.sweep.measurements import Measurement, trial_folder
from ledger import SUBSTITUTE_DATA, Record, check_record, combine
from published import Published

if TYPE_CHECKING:
    from bonemets.sweep.spec import Sweep, Trial

# What the papers' tables, the README and the sweep's page show, and what says how far to trust it.
RECORDED = (
    "dice_per_image", "dice_pooled", "dice_per_image_bearing", "macro_dice_pooled", "iou_per_image", "iou_pooled",
    "iou_per_image_bearing", "mean_iou_pooled", "precision_pooled", "recall_pooled", "mean_pixel_accuracy_pooled",
    "mean_precision_pooled", "precision_per_image", "recall_per_image", "sensitivity_any", "sensitivity_iou10",
    "lesion_precision_iou10", "f1_iou10", "false_positives_per_scan_iou10", "sensitivity_iou50", "panoptic_quality",
    "froc_sensitivity_at_1", "froc_score", "patient_auc", "count_bias", "count_absolute_error", "burden_concordance",
    "ece_suspicious", "brier_all",
)  # fmt: skip
OUTLINES = ("hausdorff_95_median", "surface_dice")
# Settings that are not the method's, or that the record has a field for.
NO_DEVIATION = ("fold", "seed", "val_interval", "amp", "resume", "num_workers", "cache_rate", "track", "overlays")
ABLATION = re.compile(r"^((?:table|figure)\d+_row\d+)(?:_|$)")


def find_results(sweep: Sweep, output: Path) -> list[dict[str, Any]]:
    """``result.json`` of every finished trial of a sweep, in its order.

    Other than when a sweep goes on, a configuration file that has changed since then does not count: the record says
    at which commit the training was.

    Raises:
        InputError: a result is of other settings, data or section than the specification says.
    """
    from bonemets.sweep.trial import changed_settings

    found = []
    for trial in sweep.trials:
        path = output / "trials" / trial.name / "result.json"
        if not path.is_file():
            continue
        try:
            result = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read; remove the trial's folder and run the sweep again") from error
        if changed := changed_settings(trial, result):
            raise InputError(f"{path}: was run with another {changed[0]} than the specification has; run it again")
        found.append(result)
    return found


def papers_rows(trial: Trial, papers: Mapping[str, Published]) -> list[str]:
    """The rows of the bundle's own paper that a trial measures, as far as its overlays and network tell.

    A row of an ablation table is the overlay of that name; a comparator is the row with its class; the bundle as it is
    is the paper's full network.
    """
    bundle = trial.bundle.name
    if bundle not in papers:
        return []
    if trial.network is not None:
        name = str(trial.network.get("_target_", "")).rpartition(".")[2]
        return [f"{bundle}/{row.key}" for row in papers[bundle].rows.values() if row.network == name]
    found = [match[1] for path in _ablations(trial) if (match := ABLATION.match(path.stem))]
    return [f"{bundle}/{key}" for key in found or [papers[bundle].headline]]


def sweep_records(
    sweep: Sweep,
    output: Path,
    by_model: Mapping[str, Sequence[Measurement]],
    papers: Mapping[str, Published],
    recipes: Mapping[str, str],
    command: str,
) -> list[Record]:
    """A record per model, of the seeds that are finished.

    Args:
        sweep: the specification.
        output: its folder.
        by_model: model → its measurements.
        papers: what the papers printed.
        recipes: split hash → name of the cohort's recipe.
        command: what to type to measure it again.

    Raises:
        InputError: a model stands for a row that no paper has, or its trainings do not belong together.
    """
    records = []
    for model, measured in by_model.items():
        trial = next(trial for trial in sweep.trials if trial.model == model)
        rows = sweep.stands_for.get(model)
        rows = papers_rows(trial, papers) if rows is None else rows
        for row in rows:
            bundle, _, key = row.partition("/")
            if bundle not in papers or key not in papers[bundle].rows:
                raise InputError(f"sweep {sweep.name}: {model} stands for {row}, which no paper has")
        records.append(_record(sweep, output, trial, measured, rows, papers, recipes, command))
    return records


def _record(
    sweep: Sweep,
    output: Path,
    trial: Trial,
    measured: Sequence[Measurement],
    rows: Sequence[str],
    papers: Mapping[str, Published],
    recipes: Mapping[str, str],
    command: str,
) -> Record:
    first, results = measured[0], [result for one in measured for result in one.results]
    if any(one.sizes != first.sizes for one in measured):
        raise InputError(f"sweep {sweep.name}: {trial.model} was measured on different images; run it again")
    models = [read_provenance(output / "trials" / trial_folder(result) / "models" / "model.pt") for result in results]
    network_def, settings = models[0].get("network_def", {}), models[0].get("settings", {})
    commits = sorted({str(result["machine"]["commit"]) for result in results})
    machine = results[-1]["machine"]
    split = first.data["datalist_sha256"]
    features = network_def.get("features", network_def.get("filters"))
    record = {
        "id": re.sub(r"[^a-z0-9_.-]+", "_", f"{sweep.name}.{trial.model}".lower()).lstrip("_.-"),
        "network": _network_name(trial, network_def, papers),
        "bundle": trial.bundle.name,
        "overlays": [path.stem for path in trial.overlays],
        "features": features if isinstance(features, list) else None,
        "epochs": settings.get("epochs"),
        "status": SUBSTITUTE_DATA,
        "rows": list(rows),
        "data": {
            "name": first.data["name"],
            "kind": "simulated" if first.data["simulated"] else "real",
            "section": first.data["section"],
            "split_sha256": split,
            **({"folds": list(first.folds)} if first.data["section"] == "validation" else {}),
            **({"recipe": recipes[split]} if split in recipes else {}),
        },
        "n": first.sizes,
        "metrics": _metrics(trial, measured),
        "seeds": [one.seed for one in measured],
        "commit": commits[-1],
        "hardware": {key: machine[key] for key in ("processor", "cores", "gpu") if machine.get(key)},
        "hours": round(sum(result["training_seconds"] for result in results) / 3600, 4),
        "date": max(str(result["finished"]) for result in results)[:10],
        "command": command,
        "weights_sha256": [result["weights_sha256"] for result in results],
        "deviations": [*_deviations(sweep, trial, first, network_def, settings), *_several(commits), *sweep.deviations],
    }
    kept = {key: value for key, value in record.items() if key == "rows" or value not in (None, [])}
    return check_record(kept, f"sweep {sweep.name}, {trial.model}")


def _metrics(trial: Trial, measured: Sequence[Measurement]) -> dict[str, Any]:
    """Every recorded metric that all measurements define; distances only where pixels have a size in mm."""
    has_spacing = bundle_metadata(trial.bundle).get("data_type") not in ("jpeg", "png")
    names = [*RECORDED, *(OUTLINES if has_spacing else ())]
    numbers = {
        name: [{key: v for key in ("value", "low", "high") if (v := one.estimates[name][key]) is not None}
               for one in measured if one.value(name) is not None]
        for name in names
    }  # fmt: skip
    return {name: combine(found) for name, found in numbers.items() if len(found) == len(measured)}


def _network_name(trial: Trial, network_def: Mapping[str, Any], papers: Mapping[str, Published]) -> str:
    """The name for `create_network`: the bundle's own, or that of the comparator's class."""
    if trial.network is None and trial.bundle.name in papers:
        return papers[trial.bundle.name].network
    from bonemets.networks.registry import NETWORKS

    target = str(network_def.get("_target_", "")).rpartition(".")[2]
    return next((name for name, made in NETWORKS.items() if getattr(made, "__name__", "") == target), target)


def _ablations(trial: Trial) -> list[Path]:
    return [path for path in trial.overlays if path.parent.name == "ablations"]


def _deviations(
    sweep: Sweep, trial: Trial, first: Measurement, network_def: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    """What differs from the paper, as far as files tell: data, budget, widths, how the epoch was chosen."""
    kind = "simulated" if first.data["simulated"] else "other"
    found = [f"{kind} data in place of the paper's: {first.data['name']}"]
    other = _differences(trial, network_def, settings)
    if other:
        found.append(f"settings, with the bundle's train.yaml in brackets: {', '.join(other)}")
    if sweep.is_pooled:
        found.append("cross-validation: each image predicted by the network that did not train on it, folds pooled")
    if first.data["section"] == "validation":
        found.append("the last epoch's weights; nothing was chosen on the images that are measured")
    else:
        folds = ", ".join(map(str, sweep.folds))
        found.append(f"trained without fold {folds}, on which the epoch was chosen")
    return found


def _differences(trial: Trial, network_def: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """``epochs 40 (200)`` for each setting other than train.yaml's that is not what the ablation row is about."""
    plain = yaml.safe_load((trial.bundle / "configs" / "train.yaml").read_text("utf-8"))
    about = {key for path in _ablations(trial) for key in yaml.safe_load(path.read_text("utf-8"))}
    pairs = [(key, value, plain.get(key)) for key, value in settings.items() if key not in (*NO_DEVIATION, *about)]
    if trial.network is None:
        pairs += [
            (f"network {key}", value, plain["network_def"].get(key))
            for key, value in network_def.items()
            if f"network_def::{key}" not in about
        ]
    return [f"{key} {_short(value)} ({_short(usual)})" for key, value, usual in pairs if _differs(value, usual)]


def _differs(value: Any, usual: Any) -> bool:
    """Whether train.yaml has another plain value; an expression there says nothing."""
    return usual is not None and not (isinstance(usual, str) and usual.startswith(("$", "@"))) and value != usual


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "–".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _several(commits: Sequence[str]) -> list[str]:
    return [f"trained at several commits: {', '.join(commit[:10] for commit in commits)}"] if len(commits) > 1 else []
