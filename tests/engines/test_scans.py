from __future__ import annotations

from pathlib import Path

import pytest

from bonemets.engines.scans import find_scans
from bonemets.errors import InputError


def test_sorted_files(tmp_path: Path) -> None:
    for name in ("b/scan.dcm", "a/scan.dcm", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [item["image"] for item in find_scans(tmp_path, "**/*.dcm")] == [
        str(tmp_path / "a" / "scan.dcm"),
        str(tmp_path / "b" / "scan.dcm"),
    ]


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file matches"):
        find_scans(tmp_path, "*.dcm")
    with pytest.raises(InputError, match="no such folder"):
        find_scans(tmp_path / "missing", "*.dcm")
