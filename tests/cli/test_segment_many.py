"""One bad study never stops the others, and paths may be named as people name them."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from bonemets.cli.main import main
from bonemets.dicom import NMHeader, write_nm

ODD_NAMES = [
    "with blank",
    "Größe",
    "Gro\u0308\u00dfe decomposed",
    "it's",
    'a "quoted" name',
    "100%",
    "a%20b",
    "a#b?c",
    "a+b&c;d",
    "[x]{y}*",
    "患者",
    "-o",
    "$HOME",
    "tab\tline\nbreak",
    "n" * 200,
    os.fsdecode(b"M\xfcller"),
]


@pytest.fixture
def small() -> np.ndarray:
    counts = np.random.default_rng(0).poisson(10, (64, 32, 2)).astype(np.uint16)
    counts[20:24, 10:15, 0] = 200
    return counts


@pytest.fixture
def cohort(tmp_path: Path, small: np.ndarray) -> Path:
    """Two good studies between a truncated, an odd and two that are something else."""
    folder = tmp_path / "in"
    for patient in ("a", "b", "c", "d", "e"):
        write_nm(folder / f"{patient}.dcm", small, NMHeader(patient=patient))
    content = (folder / "b.dcm").read_bytes()
    (folder / "b.dcm").write_bytes(content[: len(content) // 2])
    for name, keyword, value in (("c", "StudyInstanceUID", ""), ("e", "Modality", "SR")):
        dataset = pydicom.dcmread(folder / f"{name}.dcm")
        setattr(dataset, keyword, value)
        if name == "e":
            dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
        dataset.save_as(folder / f"{name}.dcm")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_good_studies_of_a_mixed_folder(cohort: Path, zipped: bool, bundle: Path, tmp_path: Path, capsys) -> None:
    source = cohort
    if zipped:
        source = tmp_path / "in.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in cohort.iterdir():
                archive.write(path, path.name)
    out = tmp_path / "out"
    assert main(["segment", str(source), "-o", str(out), "--bundle", str(bundle)]) == 2
    assert len([path for path in out.iterdir() if (path / "seg.dcm").is_file()]) == 2 == len(list(out.iterdir()))
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert "2 of 4 could not be segmented" in told.err
    table = told.out[told.out.index("Done 2, failed 2") :].splitlines()
    assert sum(line.startswith("  done  ") for line in table) == 2
    failed = [line for line in table if line.startswith("  failed  ")]
    assert sum("cut short" in line or "damaged" in line for line in failed) == 1
    assert sum("StudyInstanceUID is missing" in line for line in failed) == 1


def test_what_is_skipped_is_no_failure(cohort: Path, tmp_path: Path, capsys, monkeypatch, bundle: Path) -> None:
    shutil.copytree(bundle, tmp_path / "bundles" / "spect_msa_net_segmentation")
    monkeypatch.setenv("BONEMETS_BUNDLES", str(tmp_path / "bundles"))
    for name in ("b", "c"):
        (cohort / f"{name}.dcm").unlink()
    assert main(["segment", str(cohort), "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert "Done 2, failed 0, skipped 2" in told.out
    assert "notes.txt" in told.out
    assert "modality SR" in told.out


def test_a_result_that_is_not_ours_stops_its_study_alone(cohort: Path, bundle: Path, tmp_path: Path, capsys) -> None:
    for name in ("b", "c", "e"):
        (cohort / f"{name}.dcm").unlink()
    arguments = ["segment", str(cohort), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]
    assert main(arguments) == 0
    first, second = sorted((tmp_path / "out").iterdir())
    (first / "notes.txt").write_text("precious")
    shutil.rmtree(second)
    capsys.readouterr()
    assert main(arguments) == 2
    assert "notes.txt" in capsys.readouterr().err
    assert (second / "seg.dcm").is_file()
    assert (first / "notes.txt").read_text() == "precious"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_paths_of_any_name(name: str, bundle: Path, small: np.ndarray, tmp_path: Path) -> None:
    source = tmp_path / name / f"{name}.png"
    source.parent.mkdir()
    Image.fromarray(np.minimum(small[..., 0], 255).astype(np.uint8)).save(source)
    out = tmp_path / "out" / name
    assert main(["segment", f"{tmp_path}/{name}/{name}.png", "-o", str(out), "--bundle", str(bundle)]) == 0
    (folder,) = out.iterdir()
    assert (folder / "result.json").is_file()
    assert len(folder.name) <= 100
    # Again: the same folder is replaced.
    assert main(["segment", str(source.parent), "-o", str(out), "--bundle", str(bundle)]) == 0
    assert list(out.iterdir()) == [folder]


@pytest.mark.parametrize("which", ["source", "output"])
def test_a_name_that_is_too_long(
    which: str, bundle: Path, small: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_nm(tmp_path / "scan.dcm", small, NMHeader(patient="a"))
    paths = {"source": tmp_path / "scan.dcm", "output": tmp_path / "out"}
    paths[which] = tmp_path / ("n" * 300)
    assert main(["segment", str(paths["source"]), "-o", str(paths["output"]), "--bundle", str(bundle)]) == 2
    told = capsys.readouterr().err
    assert "too long" in told
    assert told.count("\n") == 1


def test_a_parent_that_cannot_be_written(bundle: Path, small: np.ndarray, tmp_path: Path, capsys, monkeypatch) -> None:
    write_nm(tmp_path / "scan.dcm", small, NMHeader(patient="a"))
    (tmp_path / "locked").mkdir()
    if os.geteuid() == 0:
        # The administrator may write anywhere.
        real = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and real(path, mode))
    (tmp_path / "locked").chmod(0o500)
    out = tmp_path / "locked" / "deep" / "out"
    assert main(["segment", str(tmp_path / "scan.dcm"), "-o", str(out), "--bundle", str(bundle)]) == 2
    assert "not writable" in capsys.readouterr().err
    assert not out.exists()
