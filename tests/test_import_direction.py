"""Imports of the package run inwards only: nothing imports from a room further out, not even inside a function."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bonemets

# From the inside out; rooms on one line do not import each other's outer neighbors, but may import one another.
ORDER = (
    ("errors",),
    ("moved",),
    ("networks",),
    ("data",),
    ("anatomy",),
    ("dicom",),
    ("simulation",),
    ("metrics",),
    ("losses", "transforms", "inferers"),
    ("bundle",),
    ("reporting",),
    ("handlers",),
    ("engines",),
    ("sweep",),
    ("labeling",),
    ("cli",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
# The package's own top offers the API, and may import anything.
TOP = {"__init__", "__main__"}
PACKAGE = Path(bonemets.__file__).parent


def imported(source: str) -> list[tuple[int, str]]:
    """Line and room of everything that is imported from the package, wherever the statement stands."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            inner = [f"bonemets.{alias.name}" for alias in node.names]
            names = inner if node.module == "bonemets" else [node.module or ""]
        else:
            continue
        found += [(node.lineno, name.split(".")[1]) for name in names if name.startswith("bonemets.")]
    return found


def upward(room: str, source: str) -> list[tuple[int, str]]:
    return [(line, name) for line, name in imported(source) if RANK.get(name, -1) > RANK[room]]


def test_every_room_has_its_place() -> None:
    rooms = {path.name if path.is_dir() else path.stem for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    rooms = {room for room in rooms if (PACKAGE / room / "__init__.py").is_file() or (PACKAGE / f"{room}.py").is_file()}
    assert rooms - TOP == set(RANK)


@pytest.mark.parametrize("room", RANK)
def test_no_import_runs_outwards(room: str) -> None:
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else (PACKAGE / room).rglob("*.py")
    wrong = {
        f"{path.relative_to(PACKAGE)}:{line}": name
        for path in files
        for line, name in upward(room, path.read_text("utf-8"))
    }
    assert wrong == {}


def test_an_import_in_a_function_or_for_types_is_seen() -> None:
    hidden = (
        "if TYPE_CHECKING:\n    from bonemets.engines import x\n"
        "def f():\n    import bonemets.cli.main\n    from bonemets import sweep\n"
    )
    assert upward("data", hidden) == [(2, "engines"), (4, "cli"), (5, "sweep")]
    assert upward("cli", hidden) == []
