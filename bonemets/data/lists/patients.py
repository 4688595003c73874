"""Whose image is it? Rules that give a patient to every image, and pseudonyms."""

from __future__ import annotations

import csv
import hashlib
import hmac
import re
from collections.abc import Callable
from pathlib import Path

from bonemets.data.adapters.base import Options, Problem, relative, stem_of
from bonemets.data.planar.geometry import without_view
from bonemets.errors import InputError

IMAGE_COLUMNS = ("file", "filename", "image", "image_id", "isic_id", "id", "name")
PATIENT_COLUMNS = ("patient", "patient_id", "patientid", "subject", "subject_id", "lesion_id")

PatientOf = Callable[[Path], str]


def pseudonym(identifier: str, salt: str) -> str:
    """A short name for a patient from which the identifier cannot be read: keyed SHA-256 (HMAC), 48 bits.

    Equal identifiers and salts give equal names. Without a secret salt, an identifier from a small set (hospital
    numbers) can be found by trying all of them.
    """
    digest = hmac.new(salt.encode() or b"bonemets", identifier.strip().encode(), hashlib.sha256).hexdigest()
    return f"patient_{digest[:12]}"


def patient_from_stem(path: Path) -> str:
    """The file's name without suffix and view words, so that both views of a scan belong to one patient."""
    stem = stem_of(path)
    plain = without_view(stem)
    if plain == stem.lower():
        return stem
    return re.sub(r"[_\-. ]+", "_", plain).strip("_") or stem


class PatientRule:
    """Give every image its patient: by the user's pattern or table, else by the format's own rule.

    Args:
        source: the data set's folder.
        options: the user's options.
        default: the format's own rule; takes the image's path.
        table: a table of the data set itself, used where the user gives none.

    Raises:
        InputError: if the pattern is no regular expression or the table cannot be read.
    """

    def __init__(
        self, source: Path, options: Options, default: PatientOf = patient_from_stem, table: Path | None = None
    ) -> None:
        self.source = source
        self.default = default
        self.problems: list[Problem] = []
        self.pattern = _compile(options.patient_pattern)
        table = options.patient_table or (table if self.pattern is None else None)
        self.table = None if table is None else read_patient_table(table)
        self.table_path = table
        self.uses_default = self.pattern is None and self.table is None

    def __call__(self, image: Path) -> str:
        """The patient of an image; where none can be told, a problem is noted and the image's name returned."""
        if self.pattern is not None:
            place = image.relative_to(self.source) if image.is_relative_to(self.source) else image
            text = (place.parent / stem_of(image)).as_posix()
            match = self.pattern.search(text)
            if match is None:
                return self._unknown(image, f"the pattern {self.pattern.pattern} does not match {text}")
            named = match.groupdict().get("patient")
            return named or (match.group(1) if match.groups() else match.group(0)) or stem_of(image)
        if self.table is not None:
            for key in (image.name, stem_of(image)):
                if key.lower() in self.table:
                    return self.table[key.lower()]
            return self._unknown(image, f"{self.table_path} has no row with a patient for it")
        return self.default(image)

    def _unknown(self, image: Path, reason: str) -> str:
        self.problems.append(
            Problem("patient", relative(image, self.source), f"{reason}; mend it, or leave the image out")
        )
        return stem_of(image)


def read_patient_table(path: Path) -> dict[str, str]:
    """Read a CSV file: file name, with and without suffix, in lower case, to patient. Rows without either are skipped.

    Raises:
        InputError: if it cannot be read or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); save it as CSV with a header line") from error
    columns = {(name or "").strip().lower(): name for name in (rows[0] if rows else {})}
    images = [columns[name] for name in IMAGE_COLUMNS if name in columns]
    patients = [columns[name] for name in PATIENT_COLUMNS if name in columns]
    if not images or not patients:
        wanted = f"one of {', '.join(IMAGE_COLUMNS)} and one of {', '.join(PATIENT_COLUMNS)}"
        raise InputError(f"{path}: its header needs {wanted}; add or rename the columns")
    table = {}
    for row in rows:
        patient = (row[patients[0]] or "").strip()
        for column in images:
            name = Path((row[column] or "").strip().replace("\\", "/"))
            if patient and name.name:
                table[name.name.lower()] = table[stem_of(name).lower()] = patient
    return table


def _compile(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise InputError(f"--patient-pattern {pattern}: is no regular expression ({error}); mend it") from error
