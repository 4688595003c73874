"""What every adapter is made of: the cases that it finds, and the problems that it reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bonemets.data.files import files_below
from bonemets.data.planar.formats import IMAGE_SUFFIXES, NIFTI_SUFFIXES, NRRD_SUFFIXES
from bonemets.data.planar.scan import PlanarScan
from bonemets.errors import InputError

PLANAR_SUFFIXES = (*IMAGE_SUFFIXES, *NIFTI_SUFFIXES, *NRRD_SUFFIXES)
# Longest first. What follows any other dot belongs to the name, as in 1.2.840.113619.7.
_SUFFIXES = sorted(
    (*PLANAR_SUFFIXES, ".nii.gz", ".dcm", ".dicom", ".ima", ".json", ".xml", ".csv"), key=len, reverse=True
)

Kind = Literal["pair", "size", "unreadable", "values", "duplicate", "patient", "boxes"]
_PLURALS = {
    "pair": "wrong pairs", "size": "sizes that differ", "unreadable": "unreadable files",
    "values": "masks with unexpected values", "duplicate": "duplicates", "patient": "patients that cannot be told",
    "boxes": "wrong boxes",
}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a data set from being used.

    Args:
        kind: what sort of problem it is.
        file: the file, relative to the data set's folder.
        text: what is wrong and what to do.
    """

    kind: Kind
    file: str
    text: str


class ProblemsError(InputError):
    """A data set cannot be used; `problems` holds every reason, the message counts them in one line."""

    def __init__(self, source: Path, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        counts = Counter(problem.kind for problem in self.problems)
        kinds = ", ".join(f"{_PLURALS[kind]}: {count}" for kind, count in counts.items())
        total = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}"
        super().__init__(f"{source}: {total} ({kinds}); fix the files in the table, nothing was written")


class CaseError(InputError):
    """A case's files can be read but do not fit together; `kind` says in which way."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind


@dataclass(frozen=True)
class Options:
    """What a user can say about a data set beyond its folder.

    Args:
        patient_pattern: regular expression searched in the image's path (relative, without suffix); its group named
            ``patient``, else its first group, else the whole match is the patient.
        patient_table: CSV file with a column for the image and one for the patient.
        lesion_labels: LabelMe: names of the shapes that are lesions; empty means all but the reserved ones.
        salt: secret text that goes into pseudonyms.
    """

    patient_pattern: str | None = None
    patient_table: Path | None = None
    lesion_labels: tuple[str, ...] = ()
    salt: str = ""


@dataclass(frozen=True)
class Case:
    """One image with its label map or boxes, before anything is written.

    A case whose image file holds two views becomes two items of the data list, and is written view by view.

    Args:
        image: the image's file.
        patient: the patient; folds are made of patients.
        label: the label map's file; None for a case with boxes.
        name: what converted files are called, without suffix, relative to the folder of converted files.
        view: ``"anterior"``, ``"posterior"`` or ``"unknown"``.
        read_image: reads the image where the file cannot be used as it is; the image is then written again.
        image_bytes: the content of an image that is embedded in another file; it is then written as a file.
        read_label: label map, (H, W, V) as displayed, of the scan that it is given; it is then written again.
        frame: index of the view in the file, where the file holds two.
        boxes: (x_min, y_min, x_max, y_max) in pixels from 0, the maximum excluded; None for a case with a label map.
        box_names: a name per box.
        fold: the fold that the source itself gives.
        test: whether the source itself puts the case into its test part.
        details: further keys of the data list's item.
        label_values: the values that the source names; others are reported. None: those of every label map.
    """

    image: Path
    patient: str
    label: Path | None = None
    name: str = ""
    view: str = "unknown"
    read_image: Callable[[], PlanarScan] | None = None
    image_bytes: Callable[[], bytes] | None = None
    read_label: Callable[[PlanarScan], np.ndarray] | None = None
    frame: int | None = None
    boxes: tuple[tuple[float, float, float, float], ...] | None = None
    box_names: tuple[str, ...] = ()
    fold: int | None = None
    test: bool = False
    details: dict[str, Any] = field(default_factory=dict)
    label_values: frozenset[int] | None = None

    @property
    def rewrites_image(self) -> bool:
        """Whether the image has to be written again."""
        return self.read_image is not None or self.image_bytes is not None or self.frame is not None

    @property
    def rewrites_label(self) -> bool:
        """Whether the label map has to be written again."""
        return self.label is not None and (self.read_label is not None or self.rewrites_image)


@dataclass
class Collection:
    """What an adapter found in a folder.

    Args:
        cases: the cases.
        problems: what is wrong with the folder's layout.
        notes: what the user should know although it is no problem.
        folds: the number of folds that the source itself gives.
        patient_rule: how patients were told, in a few words.
    """

    cases: list[Case] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folds: int | None = None
    patient_rule: str = ""


@dataclass(frozen=True)
class Adapter:
    """A data set's layout and how to read it.

    Args:
        name: what ``--format`` calls it.
        title: name of the data set or format.
        modality: DICOM's code for the modality, ``"NM"``, ``"CT"``, …; ``"unknown"`` for generic formats.
        collect: finds the cases in a folder.
        reference: what to cite.
        labels: the meaning of the label map's values.
    """

    name: str
    title: str
    modality: str
    collect: Callable[[Path, Options], Collection]
    reference: str = ""
    labels: tuple[str, ...] = ("background", "lesion", "ignore")


def stem_of(path: Path) -> str:
    """The file's name without its suffix, if that is one of an image or its label; ``.nii.gz`` counts as one suffix."""
    return without_suffix(path.name)


def without_suffix(name: str) -> str:
    """As `stem_of`, of a name."""
    ending = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)] or name


def list_files(folder: Path, suffixes: Iterable[str] = PLANAR_SUFFIXES, deep: bool = True) -> list[Path]:
    """The files with one of the suffixes, sorted; links are followed, hidden files and folders are skipped."""
    wanted = tuple(suffixes)
    return [
        path
        for path in (files_below(folder) if deep else sorted(folder.glob("*")))
        if path.name.lower().endswith(wanted)
        and path.is_file()
        and not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
    ]


def find_folder(source: Path, names: Iterable[str], what: str) -> Path:
    """The first of the sub-folders that exists, whatever its case.

    Raises:
        InputError: if none does.
    """
    names = tuple(names)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give the data set's folder")
    folders = {path.name.lower(): path for path in sorted(source.iterdir()) if path.is_dir()}
    for name in names:
        if name.lower() in folders:
            return folders[name.lower()]
    raise InputError(
        f"{source}: has no folder {' or '.join(names)} with the {what}; see docs/reference/data-formats.md"
    )


def relative(path: Path, source: Path) -> str:
    """The path as it is shown in problems, relative to the data set's folder where it lies in it."""
    return path.relative_to(source).as_posix() if path.is_relative_to(source) else str(path)
