"""nnU-Net's raw format (version 2), with its splits.

Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature
Methods 18:203 (2021); format: documentation/dataset_format.md of MIC-DKFZ/nnUNet.

Layout::

    SOURCE/                       for instance nnUNet_raw/Dataset501_BoneScan
      dataset.json                channel_names, labels, file_ending
      imagesTr/CASE_0000.nii.gz   one channel; or one RGB picture
      labelsTr/CASE.nii.gz
      imagesTs/  labelsTs/        optional: the test part; images without labels are not used
      splits_final.json           optional: nnU-Net's folds (it keeps the file in nnUNet_preprocessed; copy it here)

All classes but the background become the lesion, and nnU-Net's ignore label becomes 2; label maps that differ from
that are written again, and values that ``dataset.json`` does not name are refused. The patient comes from
``--patient-pattern`` or ``--patient-table``, from what our own export noted in ``dataset.json``, else from the case's
name without ``ant``/``post``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bonemets.data.adapters.base import (
    Adapter,
    Case,
    CaseError,
    Collection,
    Options,
    Problem,
    find_folder,
    list_files,
    relative,
    stem_of,
)  # fmt: skip
from bonemets.data.lists.pairing import match_folders, plain_cases
from bonemets.data.lists.patients import PatientRule, patient_from_stem
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError

DATASET, SPLITS = "dataset.json", "splits_final.json"
# Key of dataset.json under which our export notes patient and view of each case; nnU-Net passes over it.
NOTES_KEY = "bonemets_cases"
_CHANNEL = re.compile(r"_(\d{4})$")


def collect(source: Path, options: Options) -> Collection:
    """Pair nnU-Net's images and labels, and take over its folds."""
    document = _read_json(source / DATASET, dict)
    classes, ignore = _labels(document, source / DATASET)
    lesions = {value for values in classes.values() for value in values} - {0}
    known: dict[str, dict[str, str]] = document.get(NOTES_KEY) or {}
    folds = _fold_of_case(source / SPLITS) if (source / SPLITS).is_file() else None

    def patient_of(image: Path) -> str:
        case = _case_name(stem_of(image))
        return known.get(case, {}).get("patient") or patient_from_stem(Path(case))

    rule = "what our export noted" if known else "the case's name without ant/post"
    patients = PatientRule(source, options, patient_of, rule)
    result = Collection(folds=None if folds is None else 1 + max(folds.values()))
    for part, test in (("Tr", False), ("Ts", True)):
        if test and not ((source / "imagesTs").is_dir() and (source / "labelsTs").is_dir()):
            continue
        images = find_folder(source, (f"images{part}",), "images")
        labels = find_folder(source, (f"labels{part}",), "labels")
        files = _first_channels(list_files(images), source, result.problems)
        pairs, problems = match_folders(images, labels, source, images=files, image_stem=_case_name, unlabeled=test)
        result.problems += problems
        for case in plain_cases(pairs, patients, source):
            name = _case_name(stem_of(case.image))
            case = replace(case, test=test, view=known.get(name, {}).get("view") or case.view)
            if (lesions, ignore) in (({1}, None), ({1}, 2)):
                case = replace(case, label_values=frozenset({0, 1} if ignore is None else {0, 1, 2}))
            else:
                case = _map_labels(case, lesions, ignore)
            if folds is not None and not test:
                if name not in folds:
                    text = f"is in no validation part of {SPLITS}; add it, or remove that file to get new folds"
                    result.problems.append(Problem("patient", relative(case.image, source), text))
                case = replace(case, fold=folds.get(name))
            result.cases.append(case)
    merged = [name for name, values in classes.items() if values != {0}]
    if len(merged) > 1:
        result.notes.append(f"{len(merged)} classes become the lesion: {', '.join(merged)}")
    result.problems += patients.problems
    result.patient_rule = patients.rule
    return result


def _read_json(path: Path, kind: type) -> Any:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give a folder in nnU-Net's raw format") from error
    if not isinstance(document, kind):
        raise InputError(f"{path}: is not a JSON {'object' if kind is dict else 'list'}, as nnU-Net writes it")
    return document


def _labels(document: dict[str, Any], path: Path) -> tuple[dict[str, set[int]], int | None]:
    """The values of each class, several for a region of classes, and of what nnU-Net ignores."""
    try:
        named = dict(document["labels"])
        ignore = named.pop("ignore", None)
        labels = {
            str(k): {int(v) for v in (value if isinstance(value, list) else [value])} for k, value in named.items()
        }
        ignored = None if ignore is None else int(ignore)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: has no labels as nnU-Net v2 writes them (name: value); convert the data set"
        ) from error
    if not any(values - {0} for values in labels.values()):
        raise InputError(f"{path}: names no label but the background; add the lesion's")
    return labels, ignored


def _fold_of_case(path: Path) -> dict[str, int]:
    splits = _read_json(path, list)
    try:
        held_out = [(str(case), fold) for fold, split in enumerate(splits) for case in split["val"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: is not a list of train and val, as nnU-Net writes it") from error
    twice = [case for case, count in Counter(case for case, _ in held_out).items() if count > 1]
    empty = [fold for fold, split in enumerate(splits) if not split["val"]]
    if empty and held_out:
        raise InputError(f"{path}: fold {empty[0]} has no validation case; remove it, or the file to get new folds")
    if twice or not held_out:
        shown = (
            f"{len(twice)} cases ({twice[0]}, …) are in several validation parts"
            if twice
            else "it has no validation case"
        )
        raise InputError(f"{path}: {shown}; only splits in which each case is validated once are folds")
    both = [
        case for fold, split in enumerate(splits) for case in split.get("train", []) if (str(case), fold) in held_out
    ]
    if both:
        raise InputError(f"{path}: {both[0]} is in the training and the validation part of a fold; fix the file")
    return dict(held_out)


def _first_channels(files: list[Path], source: Path, problems: list[Problem]) -> list[Path]:
    first = []
    for file in files:
        channel = _CHANNEL.search(stem_of(file))
        if channel is None:
            problems.append(
                Problem("pair", relative(file, source), "does not end in _0000; rename it as nnU-Net wants it")
            )
        elif channel.group(1) == "0000":
            first.append(file)
        else:
            text = "is a further channel; the networks here take one image: keep _0000 only"
            problems.append(Problem("pair", relative(file, source), text))
    return first


def _case_name(stem: str) -> str:
    return _CHANNEL.sub("", stem)


def _map_labels(case: Case, lesions: set[int], ignore: int | None) -> Case:
    def read_label(scan: PlanarScan) -> np.ndarray:
        assert case.label is not None
        label = read_planar(case.label).pixels
        unnamed = sorted(set(np.unique(label).tolist()) - {0, ignore} - lesions)
        if unnamed:
            shown = ", ".join(f"{value:.10g}" for value in unnamed[:6])
            raise CaseError(
                "values", f"{case.label}: holds {shown}, which {DATASET} does not name; name it or fix the mask"
            )
        mapped = np.zeros_like(label)
        mapped[np.isin(label, list(lesions))] = 1
        if ignore is not None:
            mapped[label == ignore] = 2
        return mapped

    return replace(case, read_label=read_label)


ADAPTER = Adapter(
    name="nnunet",
    title="nnU-Net raw data set",
    modality="unknown",
    collect=collect,
    reference="Isensee et al., Nature Methods 18:203 (2021), doi:10.1038/s41592-020-01008-z",
)
