"""Tables of cases for an experiment tracker, with the names of patients and files replaced."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
from pathlib import Path
from typing import Any

from bonemets.data.lists.datalist import is_simulated, read_datalist
from bonemets.data.tables import inert, original, read_csv

NAMES = ("patient", "image", "label")


class Identifiers:
    """Replace names of patients and files by pseudonyms, unless the data are simulated or names may be told.

    A pseudonym is a keyed hash (HMAC-SHA-256, 12 digits) whose key is the content of the data list. Whoever has the
    list finds the case again; without it a name can be neither read nor guessed and tried. The same list gives the same
    pseudonyms, so cases can be compared between runs.

    Args:
        datalist: the data list; without one every name is left out.
        mode: "hashed", or "plain" to keep the names.

    Raises:
        ValueError: if `mode` is another word.
    """

    def __init__(self, datalist: Path | None, mode: str = "hashed") -> None:
        if mode not in ("hashed", "plain"):
            raise ValueError(f"identifiers must be 'hashed' or 'plain', got {mode!r}")
        self.document = {} if datalist is None else read_datalist(datalist)
        self.plain = mode == "plain" or (datalist is not None and is_simulated(datalist, self.document))
        self._key = json.dumps(self.document, sort_keys=True).encode() if self.document else None

    def pseudonym(self, name: str) -> str:
        """What stands for a name: the name itself where it may be told."""
        if self.plain:
            return name
        return "" if self._key is None else hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()[:12]

    def datalist(self) -> dict[str, Any]:
        """The data list with every item's names replaced: which case is in which fold stays visible."""
        parts: dict[str, Any] = {
            part: [self._item(item) for item in self.document[part]]
            for part in ("training", "testing")
            if part in self.document
        }
        return {**self.document, **parts}

    def _item(self, item: dict[str, Any]) -> dict[str, Any]:
        if self.plain:
            return item
        # Keys that are not known may hold names too.
        kept = {key: item[key] for key in ("view", "fold") if key in item}
        return {key: self.pseudonym(str(item[key])) for key in NAMES if key in item} | kept

    def table(self, path: Path) -> dict[str, list[str | float]]:
        """Columns of a CSV file, names replaced and numbers as numbers."""
        rows = read_csv(path)
        return {
            column: [self.pseudonym(row[column]) if column in NAMES else _number(row[column]) for row in rows]
            for column in (rows[0] if rows else ())
        }

    def csv_text(self, path: Path) -> str:
        """A CSV file with its names replaced, all else as it is."""
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            text = io.StringIO()
            writer = csv.DictWriter(text, fieldnames=list(reader.fieldnames or ()), lineterminator="\n")
            writer.writeheader()
            for row in reader:
                writer.writerow(
                    {name: inert(self.pseudonym(original(row[name]))) if name in NAMES else row[name] for name in row}
                )
        return text.getvalue()


def _number(text: str) -> str | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
