"""Tables as CSV: one place where they are written and read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bonemets.errors import InputError


def csv_bytes(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> bytes:
    """Rows as CSV; what is not defined is an empty cell, numbers have six significant digits."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(columns or rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f"{value:.6g}" if math.isfinite(value) else ""


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text, each by the names of its columns."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def read_csv(path: Path | str) -> list[dict[str, str]]:
    """The rows of a CSV file (UTF-8, with or without a byte order mark), each by the names of its columns.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return csv_rows(Path(path).read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV table ({error}); write it as UTF-8 text") from error
