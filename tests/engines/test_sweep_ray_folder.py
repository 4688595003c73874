"""Ray's sockets have room, whatever the folder of temporary files is called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bonemets.errors import InputError
from bonemets.sweep.run import LONGEST_FOLDER, short_folder

# The longest path that Ray makes below its folder, with a process number of seven digits.
SOCKET = "/ray/session_2026-01-31_12-34-56_123456_1234567/sockets/plasma_store"


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_long_folder_is_replaced(variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, str(tmp_path / ("x" * 100)))
    folder = short_folder()
    assert folder is not None
    assert len(os.fsencode(folder.name + SOCKET)) <= 107
    assert os.access(folder.name, os.W_OK)
    folder.cleanup()
    assert not Path(folder.name).exists()


def test_a_short_folder_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/" + "x" * (LONGEST_FOLDER - 1))
    assert short_folder() is None
    assert len("x" * LONGEST_FOLDER + SOCKET) <= 107


def test_without_any_short_folder_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * 90)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="RAY_TMPDIR"):
        short_folder()
