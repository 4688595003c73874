"""Where the bundles are and what lies in them, without importing torch."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import yaml

from bonemets.errors import InputError

# Of the bone-scan networks the one that measured best on the benchmark cohort (docs/reference/measured-sweeps.md).
DEFAULT_BUNDLE = "spect_msa_net_segmentation"
BUNDLES_VARIABLE = "BONEMETS_BUNDLES"
# Settings that say where and on what a run happens, not what it is.
MACHINE_SETTINGS = (
    "bundle_root", "ckpt_dir", "ckpt_path", "datalist", "dataset_dir", "device", "experiment_name", "num_workers",
    "output_dir", "parent_run", "report_dir", "resume", "run_name", "start_weights", "track", "tracking_uri",
)  # fmt: skip


def bundle_folders() -> list[Path]:
    """The folders that bundles are looked up in: $BONEMETS_BUNDLES, the checkout's, the installed package's."""
    package = Path(__file__).resolve().parents[1]
    folders = [package.parent / "bundles", package / "bundles"]
    if os.environ.get(BUNDLES_VARIABLE):
        folders = [*map(Path, os.environ[BUNDLES_VARIABLE].split(os.pathsep)), *folders]
    return [folder for folder in folders if folder.is_dir()]


def is_bundle(folder: Path) -> bool:
    """Whether the folder holds what inference needs."""
    return (folder / "configs" / "inference.yaml").is_file()


def list_bundles() -> dict[str, Path]:
    """Name → folder of every bundle that is found; the first folder that has a name wins."""
    found: dict[str, Path] = {}
    for folder in bundle_folders():
        for path in sorted(folder.iterdir()):
            if is_bundle(path):
                found.setdefault(path.name, path)
    return found


def find_bundle(name_or_folder: str | Path = DEFAULT_BUNDLE) -> Path:
    """The bundle's folder.

    A bundle's configuration can run any code, so text without a slash is a name and nothing else: a folder of that
    name which happens to lie beside the user's files is never meant.

    Args:
        name_or_folder: a bundle's name, or the path of its folder; a path as text has a slash in it.

    Raises:
        InputError: there is none; the message lists what there is.
    """
    folder = Path(name_or_folder)
    is_path = isinstance(name_or_folder, Path) or any(mark in name_or_folder for mark in (os.sep, os.altsep) if mark)
    if is_path and is_bundle(folder):
        return folder
    known = list_bundles()
    if str(name_or_folder) in known:
        return known[str(name_or_folder)]
    if not is_path and is_bundle(folder):
        raise InputError(f"there is no bundle {name_or_folder!r}; for the folder of that name here give ./{folder}")
    if folder.is_dir():
        raise InputError(f"{folder} is not a bundle: it has no configs/inference.yaml")
    near = difflib.get_close_matches(str(name_or_folder), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
    raise InputError(f"there is no bundle {str(name_or_folder)!r}; {hint} (set ${BUNDLES_VARIABLE} to look elsewhere)")


def bundle_of(weights: Path) -> str:
    """Name of the bundle whose network weights are of, as the record beside them says; the default where it does not.

    Args:
        weights: ``model.pt``, with ``model.json`` beside it.

    Raises:
        InputError: the record cannot be read.
    """
    network = _network_class(read_provenance(weights))
    if network is not None:
        for name, folder in list_bundles().items():
            config = yaml.safe_load((folder / "configs" / "inference.yaml").read_text("utf-8"))
            if _network_class(config) == network:
                return name
    return DEFAULT_BUNDLE


def _network_class(document: Any) -> str | None:
    definition = document.get("network_def") if isinstance(document, dict) else None
    return definition.get("_target_") if isinstance(definition, dict) else None


def bundle_metadata(bundle: Path) -> dict[str, Any]:
    """What the bundle's ``configs/metadata.json`` says; empty where there is none.

    Raises:
        InputError: it cannot be read.
    """
    return _read_json(Path(bundle) / "configs" / "metadata.json")


def find_weights(bundle: Path, weights: str | Path | None = None) -> Path:
    """The weights file to use: the given one, or the bundle's own ``models/model.pt``.

    Raises:
        InputError: there is none; the message says what to do.
    """
    if weights is not None:
        if not Path(weights).is_file():
            raise InputError(f"{weights}: there is no such weights file")
        return Path(weights)
    path = Path(bundle) / "models" / "model.pt"
    if not path.is_file():
        raise InputError(
            f"bundle {Path(bundle).resolve().name} has no weights ({path} is missing): give --weights FILE, or train "
            "it as its docs/README.md says"
        )
    return path


def read_provenance(weights: Path) -> dict[str, Any]:
    """What training wrote beside the weights (``model.json`` for ``model.pt``); empty where there is nothing.

    Raises:
        InputError: it cannot be read.
    """
    return _read_json(Path(weights).with_suffix(".json"))


def file_sha256(path: Path) -> str:
    """The file's fingerprint, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON; restore it or remove it") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object")
    return content
