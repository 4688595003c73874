"""MONAI data lists with patient-level folds: reading, checking, hashing and writing.

A list is a JSON file: ``{"name", "modality", "numFolds", "labels", "training": [...], "testing": [...], ...}``. Each
item has ``image`` and ``label`` (paths relative to the file's folder), ``patient``, ``view`` and, in ``training``,
``fold``. An item for scoring detections has ``boxes`` (x_min, y_min, x_max, y_max in pixels) in place of ``label``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bonemets.data.files import write_bytes
from bonemets.data.lists.spellings import plain_name
from bonemets.errors import InputError

_PATH_KEYS = ("image", "label")


def load_datalist(
    path: Path | str, fold: int | None = 0, section: Literal["train", "validation", "test", "all"] = "train"
) -> list[dict[str, Any]]:
    """The items of one part of a data list, with absolute paths.

    Args:
        path: the JSON file.
        fold: the fold held out for validation; None holds out nothing (train on everything).
        section: ``"train"`` (training items of the other folds), ``"validation"`` (training items of `fold`),
            ``"test"`` (the testing items, without a fold) or ``"all"`` (all training items, then those for testing).

    Raises:
        InputError: if the file cannot be read, an item lacks a key or its files, the part is empty, or a patient is in
            two folds, or in training and testing, in whatever spelling.
        ValueError: if `section` is none of them.
    """
    path = Path(path)
    if section not in ("train", "validation", "test", "all"):
        raise ValueError(f"section must be 'train', 'validation', 'test' or 'all', got {section!r}")
    document = read_datalist(path)
    if section != "all":
        _check_patients(document, path)
    testing = [{key: value for key, value in item.items() if key != "fold"} for item in document.get("testing") or []]
    if section in ("test", "all"):
        items = testing if section == "test" else [*document["training"], *testing]
    else:
        held_out = section == "validation"
        items = [item for item in document["training"] if (fold is not None and item["fold"] == fold) == held_out]
    if not items:
        which = "" if section in ("test", "all") else f" with fold {fold} of {document.get('numFolds', '?')}"
        raise InputError(f"{path}: has no {section} items{which}")
    return [_absolute(item, path) for item in items]


def _check_patients(document: Mapping[str, Any], path: Path) -> None:
    """One patient in two parts would be learned from and measured."""
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    placed = [(f"fold {item['fold']}", item) for item in document["training"]]
    placed += [("testing", item) for item in document.get("testing") or []]
    for part, item in placed:
        parts[plain_name(str(item["patient"]))].setdefault(part, str(item["patient"]))
    for found in parts.values():
        if len(found) > 1:
            shown = ", ".join(f"{name!r} in {part}" for part, name in sorted(found.items()))
            raise InputError(
                f"{path}: one patient is in several parts ({shown}); give each patient one fold, or testing"
            )


def with_bones(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items with the map of the bones that `bonemets simulate` writes beside a view, ``X_bones.nii.gz``.

    Args:
        items: what `load_datalist` returns.

    Returns:
        The items, with the file as ``bones`` where there is one.
    """
    maps = [str(item["image"]).removesuffix(".nii.gz") + "_bones.nii.gz" for item in items]
    return [
        {**item, "bones": bones} if Path(bones).is_file() else dict(item)
        for item, bones in zip(items, maps, strict=True)
    ]


def read_datalist(path: Path | str) -> dict[str, Any]:
    """The whole document, with its items checked.

    Raises:
        InputError: if it is missing, not JSON, or not a data list.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a datalist.json") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); give a datalist.json") from error
    if not isinstance(document, dict) or not isinstance(document.get("training"), list):
        raise InputError(f"{path}: is not a data list: it has no list named 'training'")
    for part, keys in (("training", ("image", "label", "patient", "fold")), ("testing", ("image", "label", "patient"))):
        for index, item in enumerate(document.get(part) or []):
            wanted = [key for key in keys if key != "label" or "boxes" not in item]
            missing = [key for key in wanted if not isinstance(item, dict) or key not in item]
            if missing:
                raise InputError(f"{path}: item {index} of '{part}' has no {', '.join(missing)}")
    return document


def is_simulated(datalist: Path, document: Mapping[str, Any]) -> bool:
    """Whether a data list is of simulated patients, who have no name to protect: it says so, or the simulator made it.

    Args:
        datalist: its file.
        document: what `read_datalist` returned.
    """
    return bool(document.get("simulated", (datalist.parent / "cohort.json").is_file()))


def write_datalist(path: Path | str, document: Mapping[str, Any]) -> None:
    """Write a data list, whole or not at all, the same bytes for the same content."""
    write_bytes(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def datalist_hash(path: Path | str) -> str:
    """SHA-256 of the file, as ``sha256sum`` prints it: it names the split that a number was measured on."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a datalist.json") from error


def describe_part(path: Path | str, section: str, fold: int | None) -> dict[str, Any]:
    """What a number was measured on and when, as summaries of evaluations say it.

    Args:
        path: the data list.
        section: ``"validation"``, ``"test"`` or ``"all"``.
        fold: the fold, which only validation has.
    """
    path, document = Path(path), read_datalist(path)
    return {
        "name": document.get("name") or path.name,
        "description": document.get("description", ""),
        "datalist_sha256": datalist_hash(path),
        "section": section,
        "fold": fold if section == "validation" else None,
        "simulated": is_simulated(path, document),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _absolute(item: Mapping[str, Any], path: Path) -> dict[str, Any]:
    result = dict(item)
    for key in [key for key in _PATH_KEYS if key in item]:
        # Without following links: what they point to may have another name, or no suffix.
        file = Path(os.path.normpath(path.parent.resolve() / item[key]))
        file = file if file.is_file() else (path.parent / item[key]).resolve()
        if not file.is_file():
            raise InputError(f"{path}: names the {key} {item[key]}, which does not exist")
        result[key] = str(file)
    return result
