"""A table that says whose images are whose: CSV with a column for the image and one for the patient."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from bonemets.data.adapters.base import without_suffix
from bonemets.data.lists.spellings import plain_name, tidy_name
from bonemets.data.tables import original
from bonemets.errors import InputError

# In order of preference: "id" may be a row's number, and "name" a person's.
IMAGE_COLUMNS = ("file", "filename", "path", "image", "image_id", "isic_id", "id", "name")
PATIENT_COLUMNS = ("patient", "patient_id", "patientid", "subject", "subject_id", "lesion_id")

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where an image lies, as a table may name it.

    Args:
        whole: the parts of its path, as long as it is known.
        inside: the parts of its path below the folder of the images.
    """

    whole: Parts
    inside: Parts

    @classmethod
    def of(cls, whole: Path, inside: Path) -> Place:
        """From paths; the last part is without suffix."""
        return cls(_parts(whole.as_posix()), _parts(inside.as_posix()))

    def is_named(self, value: Parts) -> bool:
        """Whether a table's value means this image: one of the two paths ends with the other."""
        if len(value) > len(self.inside) and value[-len(self.inside) :] == self.inside:
            return True
        return self.whole[-len(value) :] == value


class PatientTable:
    """Patients by image.

    A row names an image by its name or by its path, with or without suffix, whatever the case. A path tells images of
    one name apart: ``p01/slice_1.png`` is not ``p02/slice_1.png``.

    Args:
        path: the CSV file; separated by commas, semicolons or tabs, in UTF-8 or UTF-16.

    Raises:
        InputError: if it cannot be read or lacks a column.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        rows, header = _read_rows(path)
        columns = {tidy_name(name or "").lower(): name for name in header}
        images = [columns[name] for name in IMAGE_COLUMNS if name in columns]
        patients = [columns[name] for name in PATIENT_COLUMNS if name in columns]
        if not images or not patients:
            wanted = f"one of {', '.join(IMAGE_COLUMNS)} and one of {', '.join(PATIENT_COLUMNS)}"
            raise InputError(f"{path}: its header needs {wanted}; add or rename the columns")
        self._rows = {column: _index(rows, column, patients[0]) for column in images}
        self.column = images[0]

    def use_for(self, places: Sequence[Place]) -> None:
        """Choose the column of the images: the first, in the order of `IMAGE_COLUMNS`, that names any of them."""
        for column, rows in self._rows.items():
            if any(_rows_of(place, rows) for place in places):
                self.column = column
                return

    def patient_of(self, place: Place) -> str | None:
        """The patient of an image; None where no row names it.

        Raises:
            InputError: if rows that name it have several patients.
        """
        rows = _rows_of(place, self._rows[self.column])
        if len({plain_name(patient) for _, patient in rows}) > 1:
            shown = sorted({patient for _, patient in rows})
            advice = "give its path in the table, or one patient"
            raise InputError(f"{self.path.name} gives it to several patients ({', '.join(shown)}); {advice}")
        return min(patient for _, patient in rows) if rows else None

    def shared_rows(self, places: Iterable[Place]) -> list[list[Place]]:
        """Images that the same row names, for each row that names several."""
        groups: dict[Parts, list[Place]] = {}
        for place in places:
            if rows := _rows_of(place, self._rows[self.column]):
                groups.setdefault(rows[0][0], []).append(place)
        return [group for group in groups.values() if len(group) > 1]


def _rows_of(place: Place, rows: dict[str, list[tuple[Parts, str]]]) -> list[tuple[Parts, str]]:
    """The rows that name a place most closely: with the longest path."""
    named = [row for row in rows.get(place.inside[-1], []) if place.is_named(row[0])]
    longest = max((len(value) for value, _ in named), default=0)
    return [row for row in named if len(row[0]) == longest]


def _index(rows: Iterable[dict[str, str]], column: str, patient: str) -> dict[str, list[tuple[Parts, str]]]:
    """Rows with an image and a patient, by the last part of the image's path."""
    found: dict[str, list[tuple[Parts, str]]] = {}
    for row in rows:
        parts, name = _parts(row[column] or ""), tidy_name(row[patient] or "")
        if parts and name:
            found.setdefault(parts[-1], []).append((parts, name))
    return found


@lru_cache(maxsize=1 << 16)
def _parts(text: str) -> Parts:
    path = PurePosixPath(unicodedata.normalize("NFC", tidy_name(text).replace("\\", "/")).casefold())
    parts = [part for part in path.parts if part not in ("/", ".", "..")]
    return (*parts[:-1], without_suffix(parts[-1])) if parts else ()


def _read_rows(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        separator = max(",;\t", key=text.split("\n", 1)[0].count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval="")
        # What we wrote ourselves may have an apostrophe before text that begins like a formula.
        rows = [
            {name: original(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in reader
        ]
        return rows, list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); save it as CSV with a header line") from error
