"""From an adapter's cases to a data list: check all, group, split, then write."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from bonemets.data.adapters.base import Adapter, Case, Options, ProblemsError
from bonemets.data.files import write_bytes, write_mask_like, write_nifti
from bonemets.data.lists.check import (
    Checked,
    Duplicate,
    Track,
    check_cases,
    duplicate_problems,
    find_duplicates,
    patient_problems,
    read_case,
)  # fmt: skip
from bonemets.data.lists.datalist import write_datalist
from bonemets.data.lists.folds import assign_folds, split_test
from bonemets.data.lists.spellings import one_spelling
from bonemets.errors import InputError

DuplicateRule = Literal["error", "group", "ignore"]
DEFAULT_FOLDS = 5


@dataclass(frozen=True)
class Built:
    """What `build_datalist` did.

    Args:
        document: the data list as written.
        notes: what the user should know.
        written: how many files were converted and written beside the list.
    """

    document: dict[str, Any]
    notes: tuple[str, ...]
    written: int


def build_datalist(
    source: Path,
    adapter: Adapter,
    output: Path,
    *,
    folds: int | None = None,
    seed: int = 0,
    test_share: float = 0.0,
    options: Options | None = None,
    duplicates: DuplicateRule = "error",
    name: str | None = None,
    track: Track = iter,
) -> Built:
    """Make a data list with patient-level folds from a real data set.

    Every file is read and checked first; files that have to be converted are written to the folder ``NAME_files``
    beside ``NAME.json``, and the list last.

    Args:
        source: the data set's folder.
        adapter: its format.
        output: the data list to write.
        folds: number of folds; by default the source's own or 5.
        seed: of the folds.
        test_share: share of the patients that becomes the test part; with 1 there is no other, and there are no folds.
        options: what the user says about patients and labels.
        duplicates: what to do about images that are the same or nearly so: ``"error"`` reports them, ``"group"``
            treats their patients as one, ``"ignore"`` does not look for them.
        name: the data list's name; by default the source folder's.
        track: wraps the cases to show progress while they are read.

    Raises:
        ProblemsError: with everything that is wrong with the data set; nothing is written then.
        InputError: if the folder does not have the format's layout, or folds and test share do not suit it.
    """
    collection = adapter.collect(source, options or Options())
    if not collection.cases and not collection.problems:
        raise InputError(f"{source}: holds no {adapter.title} images; see docs/reference/data-formats.md")
    checked, problems = check_cases(collection.cases, source, track)
    found = [] if duplicates == "ignore" else find_duplicates(checked)
    notes = list(collection.notes)
    checked, several = _share_names(checked)
    if several:
        shown = "; ".join(", ".join(repr(name) for name in names) for names in several[:3])
        more = f" and {len(several) - 3} more" if len(several) > 3 else ""
        text = "names that differ in case, blanks, separators or leading zeros only count as one patient"
        notes.append(f"{text}: {shown}{more} (--patient-table keeps them apart under other names)")
    ignored = sum(item.has_ignored for item in checked)
    if ignored:
        notes.append(f"{ignored} label maps hold 2: those pixels are ignored, in training and in scores")
    if duplicates == "group" and found:
        checked = _group_patients(checked, found)
        notes.append(f"{len(found)} pairs of duplicate images: their patients count as one")
    elif found:
        problems += duplicate_problems(found, source)
    problems = collection.problems + problems + patient_problems([item.case for item in checked], source)
    if problems:
        raise ProblemsError(source, problems)
    if collection.patient_rule:
        patients = len({item.case.patient for item in checked})
        notes.insert(0, f"patients were told {collection.patient_rule}: {patients} patients, {len(checked)} images")
    fold_of, test, number = _split(checked, collection.patient_rule, source, folds, collection.folds, seed, test_share)
    folder = output.with_name(f"{output.stem}_files")
    parts: dict[str, list[dict[str, Any]]] = {"training": [], "testing": []}
    written = 0
    for item in sorted(checked, key=lambda item: (item.case.patient, str(item.case.image), item.case.frame or 0)):
        case = item.case
        files, count = _write_files(case, folder)
        written += count
        entry = {**_relative(files, output.parent), "patient": case.patient, "view": case.view, **case.details}
        if case.boxes is not None:
            entry |= {"boxes": [list(box) for box in case.boxes], "box_names": list(case.box_names)}
        if case.patient in test:
            parts["testing"].append(entry)
        else:
            parts["training"].append({**entry, "fold": fold_of[case.patient]})
    document = {
        "name": name or source.resolve().name,
        "description": f"{adapter.title}, "
        + (f"{number} patient-level folds, seed {seed}" if parts["training"] else "for testing only"),
        "modality": adapter.modality,
        "format": adapter.name,
        "reference": adapter.reference,
        "licence": "see the data set's own terms",
        "numFolds": number,
        "numTraining": len(parts["training"]),
        "numTest": len(parts["testing"]),
        "labels": {str(value): label for value, label in enumerate(adapter.labels)},
        **parts,
    }
    write_datalist(output, document)
    return Built(document, tuple(notes), written)


def _split(
    checked: Sequence[Checked],
    rule: str,
    source: Path,
    folds: int | None,
    given: int | None,
    seed: int,
    test_share: float,
) -> tuple[Mapping[str, int], set[str], int]:
    """The fold of each training patient, the test patients, and the number of folds."""
    if not 0 <= test_share <= 1:
        raise InputError(f"--test-share {test_share:g}: must be from 0 to 1")
    lesion: dict[str, bool] = {}
    for item in checked:
        lesion[item.case.patient] = lesion.get(item.case.patient, False) or item.has_lesion
    test = {item.case.patient for item in checked if item.case.test}
    if given is not None:
        if folds not in (None, given) or test_share:
            raise InputError(f"{source}: brings its own {given} folds; leave out --folds and --test-share")
        fold_of = {item.case.patient: item.case.fold for item in checked if item.case.fold is not None}
        return fold_of, test, given
    if test and test_share:
        raise InputError(f"{source}: brings its own test part; leave out --test-share")
    test = test or split_test(lesion, test_share, lesion)
    training = set(lesion) - test
    if test_share == 1 and folds is None:
        return {}, test, 0
    number = DEFAULT_FOLDS if folds is None else folds
    if not 1 <= number <= len(training):
        told = f", told {rule}" if rule else ""
        raise InputError(
            f"--folds {number}: {source} has {len(training)} patients to split{told}; choose a number from 1 to that"
        )
    return assign_folds(training, number, seed, lesion), test, number


def _share_names(checked: Sequence[Checked]) -> tuple[list[Checked], list[tuple[str, ...]]]:
    """Give all spellings of a patient's name the same one; the spellings that differ in more than Unicode."""
    shared, several = one_spelling(item.case.patient for item in checked)
    same = [replace(item, case=replace(item.case, patient=shared[item.case.patient])) for item in checked]
    return same, several


def _group_patients(checked: Sequence[Checked], found: Iterable[Duplicate]) -> list[Checked]:
    """Give all patients that share an image the name of the first of them."""
    leader: dict[str, str] = {}

    def lead(patient: str) -> str:
        while leader.get(patient, patient) != patient:
            patient = leader[patient]
        return patient

    for duplicate in found:
        first, second = sorted((lead(duplicate.first.patient), lead(duplicate.second.patient)))
        leader[second] = first
    return [replace(item, case=replace(item.case, patient=lead(item.case.patient))) for item in checked]


def _write_files(case: Case, folder: Path) -> tuple[dict[str, Path], int]:
    """Write what has to be converted; the files of the item, and how many were written."""
    files = {"image": case.image}
    if case.label is not None:
        files["label"] = case.label
    if not (case.rewrites_image or case.rewrites_label):
        return files, 0
    scan, label = read_case(case)
    suffix = ".png" if scan.format == "image" else ".nii.gz"
    if case.image_bytes is not None:
        files["image"] = folder / f"{case.name}{case.image.suffix}"
        write_bytes(files["image"], case.image_bytes())
    elif case.rewrites_image:
        files["image"] = folder / f"{case.name}.nii.gz"
        write_nifti(files["image"], _compact(scan.pixels[..., 0]), scan.affine)
    if label is not None and case.rewrites_label:
        files["label"] = folder / f"{case.name}_label{suffix}"
        mask = np.where(label == 255, 1, label).astype(np.uint8)
        if suffix == ".png":
            buffer = io.BytesIO()
            Image.fromarray(mask[..., 0]).save(buffer, "PNG")
            write_bytes(files["label"], buffer.getvalue())
        elif case.rewrites_image:
            write_nifti(files["label"], mask[..., 0], scan.affine)
        else:
            write_mask_like(files["label"], mask, scan)
    return files, int(case.rewrites_image) + int(case.rewrites_label)


def _compact(pixels: np.ndarray) -> np.ndarray:
    """Counts as uint16 where they are whole numbers that fit, else float32."""
    whole = pixels.min() >= 0 and pixels.max() < 2**16 and np.array_equal(pixels, np.rint(pixels))
    return pixels.astype(np.uint16 if whole else np.float32)


def _relative(files: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """Paths as the user knows them: a link's own name, since what it points to may have another, or no suffix."""
    places = {key: path.absolute() if ".." not in path.parts else path.resolve() for key, path in files.items()}
    return {key: Path(os.path.relpath(path, folder.resolve())).as_posix() for key, path in places.items()}
