"""What cannot be segmented: one line on standard error, exit 2, nothing written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import JPEG2000, MPEG2MPML

from bonemets.cli.main import main
from bonemets.dicom import NMHeader, write_nm


def check(arguments: list, out: Path, error: str, status: int, words: tuple[str, ...] = ()) -> None:
    assert status == 2, arguments
    assert error.startswith("bonemets: ")
    assert error.count("\n") == 1, error
    assert "Traceback" not in error
    for word in words:
        assert word in error, error
    assert not out.exists()


@pytest.fixture
def refuse(tmp_path, bundle, capsys):
    """Run segment on a path in this process and check that it is refused as it must be."""

    def run(source: Path | str, *words: str) -> None:
        out = tmp_path / "results" / "out"
        arguments = ["segment", str(source), "-o", str(out), "--bundle", str(bundle)]
        status = main(arguments)
        captured = capsys.readouterr()
        assert captured.out == ""
        check(arguments, out.parent, captured.err, status, words)

    return run


def made(path: Path, change, body: np.ndarray) -> Path:
    """A valid scan, changed."""
    write_nm(path, body, NMHeader(patient="A"))
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path, enforce_file_format=False)
    return path


def test_missing_file(refuse, tmp_path):
    refuse(tmp_path / "nothing.dcm", "nothing.dcm")


def test_empty_folder(refuse, tmp_path):
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "empty")


def test_empty_file(refuse, tmp_path):
    (tmp_path / "empty.dcm").touch()
    refuse(tmp_path / "empty.dcm", "empty.dcm")


def test_text_named_dcm(refuse, tmp_path):
    (tmp_path / "notes.dcm").write_text("this is a letter about a bone scan\n" * 40)
    refuse(tmp_path / "notes.dcm", "notes.dcm")


def test_text_named_zip_nii_and_png(refuse, tmp_path):
    for name in ("notes.zip", "notes.nii.gz", "notes.png", "notes.nrrd"):
        (tmp_path / name).write_text("this is a letter about a bone scan\n")
        refuse(tmp_path / name, name)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "test-SR.dcm", "waveform_ecg.dcm"])
def test_other_dicom_objects(refuse, name):
    refuse(get_testdata_file(name), name)


@pytest.mark.parametrize("name", ["MR_truncated.dcm", "rtplan_truncated.dcm", "badVR.dcm", "no_meta.dcm"])
def test_odd_dicom_files(refuse, name):
    refuse(get_testdata_file(name), name)


def test_decoder_missing(refuse):
    """A planar NM scan in 12-bit JPEG Extended, which no decoder here reads."""
    refuse(get_testdata_file("JPEG-lossy.dcm"), "JPEG-lossy.dcm", "decompress")


@pytest.mark.parametrize("keep", [0.001, 0.01, 0.5, 0.99])
def test_truncated_scan(refuse, tmp_path, body, keep):
    write_nm(tmp_path / "scan.dcm", body, NMHeader(patient="A"))
    content = (tmp_path / "scan.dcm").read_bytes()
    (tmp_path / "scan.dcm").write_bytes(content[: int(keep * len(content))])
    refuse(tmp_path / "scan.dcm", "scan.dcm")


def test_no_pixel_data(refuse, tmp_path, body):
    refuse(made(tmp_path / "scan.dcm", lambda d: delattr(d, "PixelData"), body), "no pixel data")


@pytest.mark.parametrize("syntax", [JPEG2000, MPEG2MPML])
def test_broken_or_unsupported_compression(refuse, tmp_path, body, syntax):
    def compress(dataset: pydicom.Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = pydicom.encaps.encapsulate([b"not a code stream", b"nor this"])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    refuse(made(tmp_path / "scan.dcm", compress, body), "scan.dcm", "decompress")


def test_dynamic_study(refuse, tmp_path, body):
    def dynamic(dataset: pydicom.Dataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "DYNAMIC", "EMISSION"]

    refuse(made(tmp_path / "scan.dcm", dynamic, body), "dynamic")


def test_volume_and_color_nifti(refuse, tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4)), tmp_path / "volume.nii.gz")
    refuse(tmp_path / "volume.nii.gz", "volume")
    colors = np.zeros((8, 8, 1), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colors, np.eye(4)), tmp_path / "colors.nii")
    refuse(tmp_path / "colors.nii", "colors.nii")


def test_output_below_a_file(study, bundle, tmp_path, capsys):
    blocker = tmp_path / "blocker"
    blocker.write_text("a file")
    for out in (blocker, blocker / "out"):
        arguments = ["segment", str(study), "-o", str(out), "--bundle", str(bundle)]
        status = main(arguments)
        check(arguments, tmp_path / "never", capsys.readouterr().err, status, ("blocker", "--output"))
    assert blocker.read_text() == "a file"


def test_disk_full_leaves_nothing(study, bundle, tmp_path, capsys, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bonemets.reporting.pages.render_report", full)
    out = tmp_path / "out"
    arguments = ["segment", str(study), "-o", str(out), "--bundle", str(bundle)]
    status = main(arguments)
    check(arguments, out, capsys.readouterr().err, status, ("No space left",))


def test_stopped_half_way_leaves_nothing(study, bundle, tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bonemets.reporting.pages.render_report", stop)
    assert main(["segment", str(study), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 130
    assert not (tmp_path / "out").exists()


def test_no_weights_and_wrong_weights(study, bundle, tmp_path, capsys):
    bare = tmp_path / "bare_segmentation" / "configs"
    bare.mkdir(parents=True)
    (bare / "inference.yaml").write_text((bundle / "configs" / "inference.yaml").read_text())
    (tmp_path / "letter.pt").write_text("dear colleague")
    cases = (
        (["--bundle", str(bare.parent), "--trust"], ("has no weights", "--weights FILE")),
        (["--bundle", str(bundle), "--weights", str(tmp_path / "none.pt")], ("none.pt",)),
        (["--bundle", str(bundle), "--weights", str(tmp_path / "letter.pt")], ("letter.pt",)),
        (["--bundle", str(bundle), "--device", "toaster"], ("toaster", "--device cpu")),
        (["--bundle", str(tmp_path)], ("not a bundle",)),
    )
    for options, words in cases:
        arguments = ["segment", str(study), "-o", str(tmp_path / "out"), *options]
        status = main(arguments)
        check(arguments, tmp_path / "out", capsys.readouterr().err, status, words)


@pytest.mark.parametrize("name", ["text.dcm", "ct"])
def test_the_real_command(name, bundle, tmp_path):
    """In a process of its own, where nothing catches what libraries print."""
    (tmp_path / "text.dcm").write_text("a letter")
    source = get_testdata_file("CT_small.dcm") if name == "ct" else str(tmp_path / name)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "bonemets.cli.main", "segment", source, "-o", str(out), "--bundle", str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    check(command, out, done.stderr, done.returncode)


def test_the_real_command_without_weights(study, bundle, tmp_path):
    weights = tmp_path / "broken.pt"
    weights.write_bytes(b"PK\x03\x04")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "bonemets.cli.main",
        "segment",
        str(study),
        "-o",
        str(out),
        "--bundle",
        str(bundle),
    ]
    done = subprocess.run([*command, "--weights", str(weights)], capture_output=True, text=True, check=False)
    check(command, out, done.stderr, done.returncode, ("broken.pt",))


def test_a_folder_without_ct_for_the_ct_bundle(tmp_path, capsys):
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    arguments = ["segment", str(empty), "-o", str(out), "--bundle", "ct_mfp_deeplabv3plus_segmentation"]
    status = main(arguments)
    check(arguments, out, capsys.readouterr().err, status, ("holds no CT",))
