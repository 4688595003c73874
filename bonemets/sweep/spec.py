"""What a sweep is: a small YAML file, and the trials that it stands for."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bonemets.bundle.folders import file_sha256, find_bundle
from bonemets.data.lists.datalist import datalist_hash, read_datalist
from bonemets.errors import InputError

SPEC_KEYS = (
    "name", "description", "dataset_dir", "datalist", "section", "models", "overlays", "settings", "folds", "seeds",
    "resources", "retries", "deviations",
)  # fmt: skip
MODEL_KEYS = ("bundle", "name", "row", "rows", "network", "overlays", "settings", "stands_for")
RESOURCES = {"cpus": 1, "gpus": 0.0, "processes": 1}


@dataclass(frozen=True)
class Trial:
    """One training and its evaluation.

    Args:
        model: what is compared, as shown in the tables; all folds and seeds of it share the name.
        bundle: the bundle's folder.
        overlays: configuration files over ``train.yaml``, in order.
        network: ``network_def`` in place of the bundle's; None keeps the bundle's.
        settings: as on the command line of ``monai.bundle run``.
        fold: fold held out for validation.
        seed: seed of weights, windows and order.
        dataset_dir: the images' folder.
        datalist: the data list.
        section: "test" or "validation": what the trial is measured on.
        processes: how many train together (``multi_gpu_train.yaml``); ``batch_size`` is of each.
    """

    model: str
    bundle: Path
    overlays: tuple[Path, ...]
    network: dict[str, Any] | None
    settings: dict[str, Any]
    fold: int
    seed: int
    dataset_dir: Path
    datalist: Path
    section: str
    processes: int = 1

    @property
    def name(self) -> str:
        """The trial's folder and the name of its MLflow run."""
        return f"{self.model}-fold{self.fold}-seed{self.seed}"

    @property
    def configs(self) -> list[Path]:
        """``train.yaml`` and the overlays."""
        files = [self.bundle / "configs" / "train.yaml"]
        if self.processes > 1:
            files.append(self.bundle / "configs" / "multi_gpu_train.yaml")
        return [*files, *self.overlays]

    @property
    def fingerprint(self) -> str:
        """Changes with anything that the result depends on but the package's own code."""
        content = {
            "configs": [file_sha256(path) for path in self.configs],
            "datalist": datalist_hash(self.datalist),
            **{key: getattr(self, key) for key in ("network", "settings", "fold", "seed", "section")},
            **({"processes": self.processes} if self.processes > 1 else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Sweep:
    """A checked specification.

    Args:
        name: name of the sweep, and of its parent run and experiment in MLflow.
        description: one or two sentences for the page.
        trials: all trainings; the first model is the one that others are compared with.
        resources: ``cpus`` and ``gpus`` of each trial; a share of a GPU lets several trials use one. ``processes``
            train together on them.
        retries: how often a trial that fails is tried again.
        stands_for: model → rows of the papers' tables that it measures, ``BUNDLE/table2_row6``, where the
            specification names them; the ledger finds those of a bundle's own rows by itself.
        deviations: what the ledger shall say of every model beside what it finds out itself.
        source: the specification as it was read.
    """

    name: str
    description: str
    trials: list[Trial]
    resources: dict[str, float]
    retries: int
    stands_for: dict[str, list[str]]
    deviations: list[str]
    source: dict[str, Any] = field(repr=False)

    @property
    def models(self) -> list[str]:
        """The models in the order of the specification."""
        return list(dict.fromkeys(trial.model for trial in self.trials))

    @property
    def folds(self) -> list[int]:
        """The folds in the order of the specification."""
        return list(dict.fromkeys(trial.fold for trial in self.trials))

    @property
    def is_pooled(self) -> bool:
        """Whether the folds of a seed are measured together, each patient once."""
        return len(self.folds) > 1 and self.trials[0].section == "validation"


def read_sweep(path: Path, dataset_dir: Path | None = None) -> Sweep:
    """Read a specification and expand it: models × folds × seeds.

    Paths in it are relative to the file. docs/how-to/sweep.md describes every key.

    Args:
        path: the specification.
        dataset_dir: the images' folder, in place of the specification's.

    Raises:
        InputError: it cannot be read, has unknown keys, or names a bundle, overlay, fold or data list that is missing.
    """
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML ({_first_line(error)})") from error
    if not isinstance(spec, dict):
        raise InputError(f"{path}: must hold keys and values, such as name, dataset_dir and models")
    _check_keys(spec, SPEC_KEYS, f"{path}")
    for key in ("name", "models"):
        if not spec.get(key):
            raise InputError(f"{path}: needs {key}")
    if dataset_dir is None and not spec.get("dataset_dir"):
        raise InputError(f"{path}: needs dataset_dir, or --data on the command line")
    dataset_dir = (dataset_dir or path.parent / str(spec["dataset_dir"])).resolve()
    datalist = dataset_dir / str(spec.get("datalist", "datalist.json"))
    folds, seeds = _numbers(spec, "folds", path), _numbers(spec, "seeds", path)
    section = spec.get("section", "test")
    if section not in ("test", "validation"):
        raise InputError(f"{path}: section is {section!r}; it must be test or validation")
    _check_folds(datalist, folds, section)
    models = [model for entry in spec["models"] for model in _models(entry, spec, path)]
    if section == "validation":
        _check_last_epoch(models, path)
    stands_for = {model["model"]: rows for model in models if (rows := model.pop("stands_for")) is not None}
    resources = _resources(spec, path)
    names = [model["model"] for model in models]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path}: several models are called {', '.join(repeated)}; give each a name of its own")
    trials = [
        Trial(
            **model, fold=fold, seed=seed, dataset_dir=dataset_dir, datalist=datalist, section=section,
            processes=int(resources["processes"]),
        )
        for model, fold, seed in itertools.product(models, folds, seeds)
    ]  # fmt: skip
    return Sweep(
        name=str(spec["name"]),
        description=str(spec.get("description", "")),
        trials=trials,
        resources=resources,
        retries=int(spec.get("retries", 1)),
        stands_for=stands_for,
        deviations=_texts(spec, "deviations", path),
        source=spec,
    )


def trial_record(trial: Trial) -> dict[str, Any]:
    """The trial as JSON can hold it, without a path of this machine."""
    record = asdict(trial)
    for key in ("dataset_dir", "datalist"):
        del record[key]
    if trial.processes == 1:
        del record["processes"]  # records of before it was a choice have none
    record["bundle"] = trial.bundle.name
    record["overlays"] = [overlay.stem for overlay in trial.overlays]
    return {**record, "datalist_sha256": datalist_hash(trial.datalist), "fingerprint": trial.fingerprint}


def _resources(spec: Mapping[str, Any], path: Path) -> dict[str, float]:
    given = dict(spec.get("resources") or {})
    _check_keys(given, tuple(RESOURCES), f"{path}: resources")
    wanted = {**RESOURCES, **given}
    processes, gpus = wanted["processes"], wanted["gpus"]
    if not isinstance(processes, int) or processes < 1:
        raise InputError(f"{path}: resources: processes must be a whole number of at least 1, got {processes!r}")
    if gpus > 1 and gpus != processes:
        raise InputError(f"{path}: resources: {gpus:g} GPUs need as many processes; set processes: {gpus:g}")
    if processes > 1 and 0 < gpus < processes:
        raise InputError(f"{path}: resources: {processes} processes need a GPU each; set gpus: {processes}")
    return wanted


def _models(entry: Any, spec: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """One model per row of an entry of ``models``; the bundle as it is where there are no rows."""
    if not isinstance(entry, dict) or "bundle" not in entry:
        raise InputError(f"{path}: each of models needs a bundle")
    _check_keys(entry, MODEL_KEYS, f"{path}: models")
    bundle = find_bundle(str(entry["bundle"])).resolve()
    rows = entry.get("rows") or [entry.get("row")]
    stands_for = _texts(entry, "stands_for", path) if "stands_for" in entry else None
    if len(rows) > 1 and stands_for is not None:
        raise InputError(f"{path}: models: stands_for fits one row; there are {len(rows)}")
    if len(rows) > 1 and entry.get("name"):
        raise InputError(f"{path}: models: a name fits one row; {entry['name']!r} has {len(rows)}")
    overlays = entry.get("overlays", spec.get("overlays")) or []
    settings = {**(spec.get("settings") or {}), **(entry.get("settings") or {})}
    found = []
    for row in rows:
        files = [_overlay(bundle, str(name), path) for name in overlays]
        if row is not None:
            files.append(_overlay(bundle, f"ablations/{row}", path))
        name = entry.get("name") or "-".join(part for part in (bundle.name.removesuffix("_segmentation"), row) if part)
        found.append(
            {
                "model": str(name),
                "bundle": bundle,
                "overlays": tuple(files),
                "network": entry.get("network"),
                "settings": settings,
                "stands_for": stands_for,
            }
        )
    return found


def _overlay(bundle: Path, name: str, path: Path) -> Path:
    """An overlay by its name in the bundle's ``configs``, or a file beside the specification."""
    for file in (bundle / "configs" / f"{name}.yaml", (path.parent / name).resolve()):
        if file.is_file():
            return file
    known = [
        file.relative_to(bundle / "configs").with_suffix("").as_posix() for file in bundle.glob("configs/**/*.yaml")
    ]
    near = difflib.get_close_matches(name, known, n=1)
    raise InputError(f"{path}: {bundle.name} has no overlay {name}" + (f"; did you mean {near[0]}?" if near else ""))


def _check_folds(datalist: Path, folds: list[int], section: str) -> None:
    document = read_datalist(datalist)
    known = {item["fold"] for item in document["training"]}
    if missing := sorted(set(folds) - known):
        raise InputError(f"{datalist}: has no fold {missing[0]}; it has {', '.join(map(str, sorted(known)))}")
    if section == "test" and not document.get("testing"):
        raise InputError(f"{datalist}: has no testing items; set section: validation")


def _check_last_epoch(models: list[dict[str, Any]], path: Path) -> None:
    """Measured on the held-out fold, nothing may be chosen on it: the weights are those of the last validation."""
    for model in models:
        if any(overlay.stem == "early_stopping" for overlay in model["overlays"]):
            raise InputError(f"{path}: early_stopping chooses the epoch on the fold that section: validation measures")
        epochs, interval = (model["settings"].get(key) for key in ("epochs", "val_interval"))
        if epochs and interval and epochs % interval:
            raise InputError(f"{path}: val_interval {interval} must divide epochs {epochs}, else the last are not used")


def _texts(spec: Mapping[str, Any], key: str, path: Path) -> list[str]:
    values = spec.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InputError(f"{path}: {key} must be a list of words, got {values!r}")
    return values


def _numbers(spec: Mapping[str, Any], key: str, path: Path) -> list[int]:
    values = spec.get(key, [0])
    if not isinstance(values, list) or not values or not all(isinstance(value, int) for value in values):
        raise InputError(f"{path}: {key} must be a list of whole numbers, such as [0, 1, 2]")
    return values


def _check_keys(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"{where}: there is no key {key!r}; {hint}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
