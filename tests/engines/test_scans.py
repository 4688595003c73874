from __future__ import annotations

from pathlib import Path

import pytest

from bonemets.bundle.scans import find_scans, shared_folder
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


def test_several_patterns(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "c.txt"):
        (tmp_path / name).touch()
    found = find_scans(tmp_path, ["*.jpg", "*.png", "a.*"])
    assert [Path(item["image"]).name for item in found] == ["a.png", "b.jpg"]
    with pytest.raises(InputError, match=r"'\*.gif' or '\*.bmp'"):
        find_scans(tmp_path, ["*.gif", "*.bmp"])


def test_folders(tmp_path: Path) -> None:
    for name in ("a/ct/1.dcm", "b/ct/1.dcm", "b/other/1.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_scans(tmp_path, "*/ct", folders=True)
    assert [item["image"] for item in found] == [str(tmp_path / "a" / "ct"), str(tmp_path / "b" / "ct")]
    with pytest.raises(InputError, match="no folder matches"):
        find_scans(tmp_path, "a/ct/1.dcm", folders=True)


def test_masks_never_lead_out_of_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"image": str(tmp_path / "set" / name / "scan.dcm")} for name in ("a", "b")]
    assert shared_folder(items, tmp_path) == str(tmp_path)
    assert shared_folder(items, tmp_path / "lists") == str(tmp_path / "set")
    assert shared_folder(items[:1], tmp_path / "set" / "b") == str(tmp_path / "set" / "a")
    monkeypatch.chdir(tmp_path)
    assert shared_folder(items, "") == shared_folder([{"image": "set/a/scan.dcm"}], ".") == str(tmp_path)
