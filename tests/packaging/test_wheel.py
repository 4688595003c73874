"""What `pip install bonemets` gives: built from the sdist, installed in a fresh environment, away from the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from bonemets import __version__

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://github.com/bonemets/bonemets"

pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sdist, and the wheel that is made from it and not from the checkout."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, folder=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (path,) = dist.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment with the wheel; the dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, folder=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Without addsitedir: its .pth files would lead to the checkout.
    here = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(here) + "\n")
    return folder / "bin"


def test_sdist_has_the_product_and_nothing_else(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = [Path(name).relative_to(f"bonemets-{__version__}") for name in archive.getnames()]
    tops = {name.parts[0] for name in names if name.parts}
    files = {"constraints-label.txt", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"}
    assert tops == {"bonemets", "bundles", "apps", "PKG-INFO", ".gitignore"} | files


def test_wheel_has_package_bundles_and_types(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"bonemets", f"bonemets-{__version__}.dist-info"}
    assert "bonemets/py.typed" in names
    assert "bonemets/apps/monailabel/main.py" in names
    weights = {path.parts[1] for path in (path.relative_to(ROOT) for path in ROOT.glob("bundles/*/models/model.pt"))}
    assert {name.split("/")[2] for name in names if name.endswith("/models/model.pt")} == weights


def test_the_index_page_has_absolute_links_to_files_that_exist(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = message_from_bytes(archive.read(f"bonemets-{__version__}.dist-info/METADATA"))
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", str(metadata.get_payload()))
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    raw = REPOSITORY.replace("github.com", "raw.githubusercontent.com")
    for start in (f"{REPOSITORY}/blob/v{__version__}/", f"{raw}/v{__version__}/"):
        ours = [link.removeprefix(start) for link in links if link.startswith(start)]
        assert ours, start
        assert [link for link in ours if not (ROOT / link).exists()] == []
    assert metadata["Requires-Python"] == ">=3.11"


def test_twine_finds_no_fault(dist: Path) -> None:
    pytest.importorskip("twine")
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(dist.iterdir()), folder=dist)


def test_version_is_told_alike_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {__version__}\n" in citation
    released = re.search(r"^date-released: (\S+)$", citation, re.MULTILINE)
    assert released is not None
    assert f"\n## [{__version__}] - {released.group(1)}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_installed_wheel_segments_a_scan(fresh: Path, cohort: Path, tmp_path: Path) -> None:
    code = "import bonemets; print(bonemets.__file__)"
    place = run(fresh / "python", "-c", code, folder=tmp_path).strip()
    assert Path(place).is_relative_to(fresh.parent)
    facts = json.loads(run(fresh / "bonemets", "info", "--json", folder=tmp_path))
    assert facts["bonemets"] == __version__
    assert [Path(folder).is_relative_to(fresh.parent) for folder in facts["bundle_folders"]] == [True]
    assert run(fresh / "python", "-m", "bonemets", "--version", folder=tmp_path) == f"bonemets {__version__}\n"
    scan = sorted(cohort.glob("patient_*/*.dcm"))[0]
    run(fresh / "bonemets", "segment", scan, "-o", "results", folder=tmp_path, OMP_NUM_THREADS="1")
    (result,) = tmp_path.glob("results/*/result.json")
    assert {"seg.dcm", "sr.dcm", "mask.nii.gz", "report.html"} <= {path.name for path in result.parent.iterdir()}
