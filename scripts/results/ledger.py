"""The ledger of measured numbers: one YAML file per measurement, checked when it is written and when it is read.

A record says on which data, how many patients, which split, which seeds, which commit and which machine. Rows of the
papers' tables without a record are ``not-run``; that needs no record. docs/reference/results.md describes the fields.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from bonemets.data.files import write_bytes
from bonemets.errors import InputError

SAME_DATA, SUBSTITUTE_DATA, NOT_RUN = "same-data", "substitute-data", "not-run"
Record = dict[str, Any]

_NUMBER = {"type": "number"}
_TEXT = {"type": "string", "minLength": 1}
_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_INTEGER = {"type": "integer"}
_COUNT = {"type": "integer", "minimum": 1}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> dict[str, Any]:
    properties = {**required, **(optional or {})}
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **_object(
        {
            "id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_.-]*$"},
            "network": _TEXT,
            "status": {"enum": [SAME_DATA, SUBSTITUTE_DATA]},
            "rows": _list({"type": "string", "pattern": "^[a-z0-9_]+/(table|figure)[0-9]+_row[0-9]+$"}),
            "data": _object(
                {
                    "name": _TEXT,
                    "kind": {"enum": ["simulated", "real"]},
                    "section": {"enum": ["test", "validation"]},
                    "split_sha256": _HASH,
                },
                {"folds": _list({"type": "integer", "minimum": 0}), "recipe": _TEXT, "license": _TEXT},
            ),
            "n": _object(
                {"patients": _COUNT, "images": _COUNT}, {"images_lesion_bearing": _INTEGER, "lesions": _INTEGER}
            ),
            "seeds": _list(_INTEGER) | {"minItems": 1},
            "metrics": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": _object(
                    {"value": _NUMBER},
                    {"low": _NUMBER, "high": _NUMBER, "sd": _NUMBER, "values": _list(_NUMBER)},
                ),
            },
            "commit": {"type": "string", "pattern": "^[0-9a-f]{7,40}(\\+changes)?$"},
            "hardware": _object({"processor": _TEXT, "cores": _COUNT}, {"gpu": _TEXT, "memory_gib": _NUMBER}),
            "hours": {"type": "number", "exclusiveMinimum": 0},
            "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
            "command": _TEXT,
        },
        {
            "bundle": _TEXT,
            "overlays": _list(_TEXT),
            "features": _list(_COUNT),
            "epochs": _COUNT,
            "weights_sha256": _list(_HASH),
            "deviations": _list(_TEXT),
        },
    ),
}  # fmt: skip


def check_record(record: Any, source: str) -> Record:
    """Return a record that is sound.

    Args:
        record: what was read or made.
        source: what to call it in an error.

    Raises:
        InputError: a field is missing, unknown or of the wrong kind; every such field is named.
    """
    problems = [_problem(error) for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(record)]
    if not problems:
        unknown = sorted(set(record["metrics"]) - metric_names())
        if unknown:
            problems.append(f"metrics: {', '.join(unknown)} not in docs/reference/metrics.md")
        for name, entry in record["metrics"].items():
            if "values" in entry and len(entry["values"]) != len(record["seeds"]):
                problems.append(f"metrics.{name}: {len(entry['values'])} values for {len(record['seeds'])} seeds")
    if problems:
        raise InputError(f"{source}: {'; '.join(sorted(problems))}")
    return record


def _problem(error: jsonschema.ValidationError) -> str:
    where = ".".join(map(str, error.absolute_path))
    return f"{where}: {error.message}" if where else error.message


def metric_names() -> set[str]:
    """The names that ``bonemets evaluate`` uses."""
    from bonemets.metrics.evaluation.measures import MEASURES

    return {measure.key for measure in MEASURES}


def read_records(folder: Path) -> list[Record]:
    """Every record of a folder, by name of the file.

    Raises:
        InputError: a file cannot be read, is no sound record, or is not named after its id.
    """
    records = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            record = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from error
        records.append(check_record(record, str(path)))
        if record["id"] != path.stem:
            raise InputError(f"{path}: has the id {record['id']}; a record's file is named after its id")
    return records


def write_record(folder: Path, record: Record, *, replace: bool = False) -> Path:
    """Check a record and write it as ``<id>.yaml``, whole or not at all.

    Args:
        folder: the ledger's folder, ``results/measured``.
        record: the record.
        replace: whether a record of the same id may be replaced.

    Raises:
        InputError: the record is not sound, or there is one of that id already.
    """
    check_record(record, f"record {record.get('id', 'without id')}")
    path = folder / f"{record['id']}.yaml"
    if path.exists() and not replace:
        raise InputError(f"{path}: exists; choose another id or replace it on purpose")
    write_bytes(path, yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120).encode())
    return path


def summarize_runs(summaries: Sequence[Path], metrics: Sequence[str] | None = None) -> Record:
    """The fields of a record that follow from evaluations: data, n and metrics.

    Several evaluations are those of one setting trained with several seeds on the same split: each metric is then
    their mean, with standard deviation and single values. One evaluation keeps its 95 % intervals.

    Args:
        summaries: ``summary.json`` of `bonemets evaluate`, or of a bundle's evaluate configuration.
        metrics: names to keep; default all that have a number.

    Returns:
        ``data``, ``n``, ``metrics`` and, where the summaries say so, ``weights_sha256``.

    Raises:
        InputError: a summary cannot be read, or they are of different data.
    """
    if not summaries:
        raise ValueError("summaries must name at least one file, got none")
    documents = [_read_summary(path) for path in summaries]
    data = [_data(document, path) for document, path in zip(documents, summaries, strict=True)]
    sizes = [_sizes(document) for document in documents]
    for path, one, size in zip(summaries, data, sizes, strict=True):
        if (one, size) != (data[0], sizes[0]):
            raise InputError(f"{path}: is of other data than {summaries[0]}; a record is of one split")
    known = metric_names()
    estimates = [{name: entry for name, entry in _estimates(d).items() if name in known} for d in documents]
    names = metrics if metrics is not None else [name for name in estimates[0] if all(name in e for e in estimates)]
    missing = sorted({name for name in names for found in estimates if name not in found})
    if missing or not names:
        raise InputError(f"{summaries[0]}: has no number for {', '.join(missing) or 'any known metric'}")
    weights = [document["weights_sha256"] for document in documents if document.get("weights_sha256")]
    return {
        "data": data[0],
        "n": sizes[0],
        "metrics": {name: combine([found[name] for found in estimates]) for name in names},
        **({"weights_sha256": weights} if weights else {}),
    }


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a summary.json") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); give a summary.json") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: is not a summary of an evaluation")
    return document


def _data(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Name, kind, section and split of either kind of summary."""
    data = document.get("data") or {}
    datalist = document.get("datalist") or {}
    split = data.get("datalist_sha256") or datalist.get("sha256")
    if split is None:
        raise InputError(f"{path}: does not say which data list it is of, so its numbers cannot be compared")
    section, fold = data.get("section") or document.get("section"), data.get("fold", document.get("fold"))
    name = data.get("name") or datalist.get("name") or "unnamed"
    simulated = data.get("simulated", "simulated" in str(name).lower())
    return {
        "name": name,
        "kind": "simulated" if simulated else "real",
        "section": section,
        "split_sha256": split,
        **({"folds": [fold]} if section == "validation" and fold is not None else {}),
    }


def _sizes(document: Mapping[str, Any]) -> dict[str, int]:
    sizes = {key: document.get(key) for key in ("patients", "images", "lesions")}
    sizes["images_lesion_bearing"] = document.get("images_lesion_bearing", document.get("images_with_lesions"))
    return {key: int(value) for key, value in sizes.items() if value is not None}


def _estimates(document: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Metric → value and interval, for `bonemets evaluate`'s nested and a bundle's plain numbers."""
    entries = document.get("metrics", document)
    found = {}
    for name, entry in entries.items():
        numbers = entry if isinstance(entry, Mapping) else {"value": entry}
        kept = {key: numbers.get(key) for key in ("value", "low", "high")}
        if isinstance(kept["value"], (int, float)) and math.isfinite(kept["value"]):
            found[name] = {key: float(value) for key, value in kept.items() if value is not None}
    return found


def combine(entries: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """A record's entry of a metric: one number with its interval, or mean, standard deviation and values of several."""
    if len(entries) == 1:
        return {key: round(value, 6) for key, value in entries[0].items()}
    values = [round(entry["value"], 6) for entry in entries]
    return {"value": round(statistics.mean(values), 6), "sd": round(statistics.stdev(values), 6), "values": values}
