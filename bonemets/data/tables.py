"""Tables as CSV: one place where they are written and read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bonemets.errors import InputError

# A tab or a line's end before the sign is left out by spreadsheets.
FORMULA = ("=", "+", "-", "@", "\t", "\n")


def csv_bytes(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> bytes:
    """Rows as CSV; what is not defined is an empty cell, numbers have six significant digits, text is `inert`."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(columns or rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return inert(value)
    return f"{value:.6g}" if math.isfinite(value) else ""


def inert(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe before it.

    Names of patients and files come from elsewhere, and Excel and LibreOffice run what begins with ``=``, ``+``, ``-``
    or ``@`` (OWASP, "CSV injection"). Numbers, also as text, stay as they are. `original` takes the apostrophe away.
    """
    if not isinstance(value, str):
        return value
    # Python does not quote a carriage return, which would begin a row of its own.
    value = value.replace("\r", " ")
    return f"'{value}" if value.startswith(FORMULA) and not _is_number(value) else value


def original(text: str) -> str:
    """What `inert` was given."""
    return text[1:] if text.startswith("'") and inert(text[1:]) == text else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text, each by the names of its columns, as they were before `csv_bytes` made text inert."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{name: original(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]


def read_csv(path: Path | str) -> list[dict[str, str]]:
    """The rows of a CSV file (UTF-8, with or without a byte order mark), each by the names of its columns.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return csv_rows(Path(path).read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV table ({error}); write it as UTF-8 text") from error
