"""The viewer's built files are those of its sources, small, and ask nobody but their own server."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "apps" / "monailabel"
SOURCES, BUILT = ROOT / "viewer-src", ROOT / "viewer"
OTHER_SOURCES = ("build.mjs", "index.html", "package-lock.json", "package.json", "tsconfig.json", "viewer.css")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_built_files_are_current() -> None:
    names = sorted([*(f"src/{path.name}" for path in (SOURCES / "src").iterdir()), *OTHER_SOURCES])
    sources = sha256("".join(f"{name} {sha256((SOURCES / name).read_bytes())}\n" for name in names).encode())
    first, _, program = (BUILT / "viewer.js").read_bytes().partition(b"\n")
    told = re.fullmatch(r"// bonemets viewer, Apache-2.0; sources (\w+); program (\w+)", first.decode())
    assert told, "viewer.js does not tell what it was built from; run `make viewer`"
    assert told[1] == sources, "the viewer's sources have changed since viewer.js was built; run `make viewer`"
    assert told[2] == sha256(program), "viewer.js was edited by hand; edit its sources and run `make viewer`"
    for name in ("index.html", "viewer.css"):
        assert (BUILT / name).read_bytes() == (SOURCES / name).read_bytes(), f"{name} is old; run `make viewer`"
    assert sorted(path.name for path in BUILT.iterdir()) == ["index.html", "viewer.css", "viewer.js"]


def test_small_and_from_this_server_only() -> None:
    files = {path.name: path.read_text("utf-8") for path in BUILT.iterdir()}
    assert sum(map(len, files.values())) < 100_000
    for name, text in files.items():
        assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text.partition("\n")[2]), name
    assert "default-src 'self'" in files["index.html"]


def test_packages_are_pinned() -> None:
    wanted = json.loads((SOURCES / "package.json").read_text())["devDependencies"]
    locked = json.loads((SOURCES / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert locked[f"node_modules/{name}"]["version"] == version
    # Fingerprints for all, and no name of a registry: whoever builds uses their own.
    assert all(package.get("integrity") for path, package in locked.items() if path)
    assert not any("resolved" in package for package in locked.values())
