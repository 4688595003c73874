"""What a training run was: its merged configuration, and the record that travels beside its weights."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

import bonemets
from bonemets.bundle.folders import MACHINE_SETTINGS, read_provenance
from bonemets.data.lists.datalist import datalist_hash, is_simulated, read_datalist
from bonemets.errors import InputError

# Settings of overlays that are expressions.
COMPUTED_SETTINGS = ("processes", "start_weights_sha256", "threshold")


@dataclass(frozen=True)
class RunningConfig:
    """The configuration that a bundle runs with, after overlays and command-line overrides.

    Args:
        merged: the whole configuration as text: references and expressions as they were written.
        settings: values at the top level: the ids above ``network_def``, and plain values that overlays add.
        network_def: ``_target_`` and arguments of the network, with references replaced by values.
        version: the bundle's version, from its metadata.
    """

    merged: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    network_def: dict[str, Any] = field(default_factory=dict)
    version: str | None = None

    @property
    def portable_settings(self) -> dict[str, Any]:
        """The settings without those that belong to one machine: no path, no device."""
        return {key: value for key, value in self.settings.items() if key not in MACHINE_SETTINGS}

    @property
    def sha256(self) -> str:
        """Fingerprint of the configuration, equal on every machine and for every folder that it ran in."""
        content = {key: value for key, value in self.merged.items() if key not in MACHINE_SETTINGS}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def parameters(self) -> dict[str, str]:
        """Flat names and values for an experiment tracker: the settings, and the leaves of what is trained and how."""
        sections = {key: self.merged[key] for key in ("loss", "optimizer", "lr_scheduler") if key in self.merged}
        flat = dict(_flatten({**self.settings, "network_def": self.network_def, **sections}))
        # MLflow servers before 2.10 refuse longer values.
        return {key: str(value)[:499] for key, value in flat.items()}


def running_config() -> RunningConfig:
    """The configuration of the bundle that is being run, for use in that configuration: ``$…running_config()``.

    MONAI gives expressions no name for the whole configuration, so the parser that evaluates the expression is looked
    up among the callers.

    Raises:
        RuntimeError: if no configuration is being evaluated.
    """
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return read_config(parser)
        frame = frame.f_back
    raise RuntimeError("running_config() works in an expression of a bundle's configuration only")


def read_config(parser: ConfigParser) -> RunningConfig:
    """Read merged configuration, settings and network definition from a parser."""
    merged = {key: value for key, value in parser.get().items() if key != parser.meta_key}
    names = [key for key in merged if key != "imports"]
    first = names.index("network_def") if "network_def" in names else len(names)
    # Settings that an overlay adds come after the others; what is not plain there is a part, not a setting.
    names = [
        key
        for index, key in enumerate(names)
        if index < first or _is_plain_value(merged[key]) or key in COMPUTED_SETTINGS
    ]
    network_def = {}
    for key in merged.get("network_def", {}):
        network_def[key] = _plain(parser.get_parsed_content(f"network_def::{key}"))
    return RunningConfig(
        merged=json.loads(json.dumps(merged, default=str)),
        settings={name: _plain(parser.get_parsed_content(name)) for name in names},
        network_def=network_def,
        version=parser.get(f"{parser.meta_key}::version", None),
    )


def trained_setting(weights: str | Path, name: str, default: Any) -> Any:
    """A setting that weights were trained with, from the .json file beside them, or the default.

    Inference configurations use it, so that weights of another width than the paper's just work.

    Args:
        weights: the weights file; it need not exist.
        name: name of the setting in the training configuration.
        default: the value where nothing is known.

    Raises:
        InputError: if the file beside the weights cannot be read.
    """
    return read_provenance(Path(weights)).get("settings", {}).get(name, default)


def chosen_threshold(weights: str | Path, default: float = 0.5) -> float:
    """The probability from which a pixel is lesion that was chosen for weights, from the .json file beside them.

    Args:
        weights: the weights file; it need not exist.
        default: the value where none was chosen.

    Raises:
        InputError: if the file beside the weights cannot be read, or names no probability.
    """
    threshold = read_provenance(Path(weights)).get("threshold", default)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold < 1:
        raise InputError(f"{Path(weights).with_suffix('.json')}: threshold must be between 0 and 1, got {threshold!r}")
    return float(threshold)


def trained_network(weights: str | Path, name: str, default: Any) -> Any:
    """An argument of the network that weights were trained with, from the .json file beside them, or the default.

    Switches that change what a network computes but not the names of its parameters would load without a complaint.

    Args:
        weights: the weights file; it need not exist.
        name: name of the argument in ``network_def``.
        default: the value where nothing is known.

    Raises:
        InputError: if the file beside the weights cannot be read.
    """
    return read_provenance(Path(weights)).get("network_def", {}).get(name, default)


def datalist_record(datalist: str | Path | None) -> dict[str, Any] | None:
    """Name and SHA-256 of a data list, and whether its patients are simulated.

    None where there is no list, as when MONAI Label hands over its own items.
    """
    if datalist is None or not Path(datalist).is_file():
        return None
    document = read_datalist(datalist)
    record = {"name": document.get("name"), "sha256": datalist_hash(datalist)}
    return {**record, "simulated": True} if is_simulated(Path(datalist), document) else record


def environment() -> dict[str, Any]:
    """What a run ran on: versions, system, processors; nothing that names the machine or its user."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        **versions(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda,
    }


def requirements() -> str:
    """Every installed package with its version, as ``pip install -r`` reads it."""
    packages = {(found.name, found.version) for found in distributions()}
    return "".join(f"{name}=={number}\n" for name, number in sorted(packages, key=lambda item: item[0].lower()))


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = ("torch", "monai", "pytorch-ignite", "numpy")
    return {
        "bonemets": bonemets.__version__,
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def describe_hardware() -> dict[str, Any]:
    """Processor, cores and, where PyTorch sees one, GPU of this machine; no name of a host."""
    information = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", information.read_text()) if information.exists() else []
    hardware = {"processor": (models or [platform.processor() or platform.machine()])[0], "cores": os.cpu_count() or 1}
    return hardware | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def git_commit() -> str | None:
    """The commit of the checkout that this package is imported from, with "+changes" if it has any; else None."""
    folder = Path(bonemets.__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # An environment may lie inside someone else's repository: only a tracked package has a commit of its own.
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = git("rev-parse", "HEAD")
    return f"{commit}+changes" if commit and git("status", "--porcelain") else commit


def _is_plain_value(value: Any) -> bool:
    """Whether it is a number, a word or a list of them, without references and expressions."""
    if isinstance(value, list):
        return all(_is_plain_value(item) for item in value)
    is_word = isinstance(value, str) and not value.startswith(("$", "@", "%"))
    return value is None or is_word or isinstance(value, (bool, int, float))


def _plain(value: Any) -> Any:
    """What JSON can hold: numbers, text, lists and dictionaries as they are, anything else as its text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
