"""`bonemets segment` on real files, with a bundle whose findings are known."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from bonemets.bundle.folders import DEFAULT_BUNDLE
from bonemets.cli.main import main
from bonemets.data import read_planar
from bonemets.dicom import NMHeader, read_seg, write_nm


def results(out: Path) -> list[Path]:
    return sorted(path for path in out.iterdir())


def load(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_dicom_study(study, bundle, body, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    assert main(["segment", str(study), "-o", str(out), "--bundle", str(bundle)]) == 0
    (folder,) = results(out)
    uid = str(pydicom.dcmread(study / "scan.dcm").StudyInstanceUID)
    assert re.fullmatch(r"study-[0-9a-f]{12}", folder.name)
    assert {p.name for p in folder.iterdir()} == {
        "mask.nii.gz",
        "seg.dcm",
        "sr.dcm",
        "overlay.png",
        "report.html",
        "result.json",
    }

    expected = (body >= 100).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(nib.load(folder / "mask.nii.gz").dataobj), expected)
    np.testing.assert_array_equal(read_seg(folder / "seg.dcm", read_planar(study)), expected)

    result = load(folder)
    groups = highdicom.sr.srread(folder / "sr.dcm").content.get_planar_roi_measurement_groups()
    assert [g.get_measurements()[0].value for g in groups] == [f["area_cm2"] for f in result["findings"]]
    assert result["study"]["study_instance_uid"] == uid
    assert result["study"]["total_counts"] == body.sum(axis=(0, 1)).tolist()
    assert result["model"]["bundle"] == "hot_spot_segmentation"
    assert result["model"]["version"] == "1.2.3"
    assert result["model"]["threshold"] == 0.5
    assert result["model"]["training_data"] == "nothing, made for a test"
    assert result["warnings"] == []
    first, second, third = result["findings"]
    assert (first["view"], first["row"], first["column"], first["area_px"]) == ("anterior", 301.5, 102.0, 20)
    assert first["area_cm2"] == pytest.approx(20 * 0.226**2, abs=1e-3)
    assert first["counts_max"] == first["counts_mean"] == 200
    assert first["uptake_ratio"] == pytest.approx(200 / 20, rel=0.05)
    assert first["probability_max"] == 1.0
    assert (second["view"], third["view"], third["row"], third["column"]) == ("anterior", "posterior", 501.0, 113.0)
    assert [f["number"] for f in result["findings"]] == [1, 2, 3]
    assert "3 findings (anterior 2, posterior 1)" in capsys.readouterr().out

    for name in ("report.html", "result.json"):
        assert "SECRET" not in (folder / name).read_text()
    width, height = Image.open(folder / "overlay.png").size
    assert 0.3 < width / height < 0.7


def test_report_is_whole_and_offline(study, bundle, tmp_path):
    assert main(["segment", str(study), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    (folder,) = results(tmp_path / "out")
    page = (folder / "report.html").read_text()
    assert "Research use only" in page
    assert page.count('id="finding-') == 3
    assert not re.search(r"https?://|<script", page)
    links = re.findall(r'(?:href|src)="([^"#][^"]*)"', page)
    for link in links:
        assert link.startswith("data:image/png;base64,") or (folder / link).is_file()


def test_again_replaces_and_leaves_no_traces(study, bundle, tmp_path):
    out = tmp_path / "out"
    command = ["segment", str(study), "-o", str(out), "--bundle", str(bundle)]
    assert main(command) == 0
    (folder,) = results(out)
    assert main([*command, "--threshold", "0.999999999999"]) == 0
    assert results(out) == [folder]
    assert load(folder)["model"]["threshold"] == 0.999999999999
    assert folder.stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_never_replaces_what_is_not_ours(study, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["segment", str(study), "-o", str(out), "--bundle", str(bundle)]
    assert main(command) == 0
    (folder,) = results(out)
    (folder / "my notes.txt").write_text("precious")
    assert main(command) == 2
    assert "my notes.txt" in capsys.readouterr().err
    assert (folder / "my notes.txt").read_text() == "precious"
    shutil.rmtree(folder)
    folder.mkdir()
    assert main(command) == 2
    assert results(out) == [folder]


def test_another_scan_of_the_same_study_gets_its_own_folder(bundle, body, tmp_path):
    out = tmp_path / "out"
    for name, counts in (("early", body), ("late", body // 2)):
        write_nm(tmp_path / f"{name}.dcm", counts, NMHeader(patient="P1"), study="S1")
        assert main(["segment", str(tmp_path / f"{name}.dcm"), "-o", str(out), "--bundle", str(bundle)]) == 0
    first, second = results(out)
    assert second.name.startswith(f"{first.name}-")
    assert {tuple(load(f)["study"]["total_counts"]) for f in (first, second)} == {
        tuple(body.sum(axis=(0, 1)).tolist()),
        tuple((body // 2).sum(axis=(0, 1)).tolist()),
    }
    assert main(["segment", str(tmp_path / "late.dcm"), "-o", str(out), "--bundle", str(bundle)]) == 0
    assert results(out) == [first, second]


def test_zip_with_two_studies(bundle, body, tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        for patient in ("A", "B"):
            write_nm(tmp_path / f"{patient}.dcm", body, NMHeader(patient=patient))
            archive.write(tmp_path / f"{patient}.dcm", f"{patient}/scan.dcm")
    assert main(["segment", str(tmp_path / "two.zip"), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    assert len(results(tmp_path / "out")) == 2


def test_two_single_view_objects_become_one_study(bundle, body, tmp_path):
    for index, view in enumerate(("anterior", "posterior")):
        one = np.ascontiguousarray(body[..., index : index + 1])
        write_nm(tmp_path / "in" / f"{view}.dcm", one, NMHeader(patient="A"), views=(view,), study="S")
    datasets = [pydicom.dcmread(path) for path in sorted((tmp_path / "in").iterdir())]
    assert datasets[0].StudyInstanceUID == datasets[1].StudyInstanceUID
    datasets[1].SOPInstanceUID = pydicom.uid.generate_uid()
    datasets[1].save_as(tmp_path / "in" / "posterior.dcm")
    assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    (folder,) = results(tmp_path / "out")
    assert load(folder)["study"]["views"] == ["anterior", "posterior"]
    np.testing.assert_array_equal(read_seg(folder / "seg.dcm", read_planar(tmp_path / "in")), body >= 100)


def test_nifti_keeps_its_own_grid(bundle, body, tmp_path):
    affine = np.array([[-2.26, 0, 0, 0], [0, 0, 1, 0], [0, 2.26, 0, 0], [0, 0, 0, 1.0]])
    stored = np.ascontiguousarray(body[::-1, :, 0].T)  # ITK's order: first axis columns, feet first
    nib.save(nib.Nifti1Image(stored, affine), tmp_path / "case 7.nii.gz")
    assert main(["segment", str(tmp_path / "case 7.nii.gz"), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    (folder,) = results(tmp_path / "out")
    assert folder.name == "case_7"
    mask = nib.load(folder / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), stored >= 100)
    np.testing.assert_allclose(mask.affine, affine)
    assert not (folder / "seg.dcm").exists()
    assert not (folder / "sr.dcm").exists()
    assert "seg.dcm" not in (folder / "report.html").read_text()


def test_picture_is_segmented_with_warnings(bundle, body, tmp_path, capsys):
    Image.fromarray(np.minimum(body[::2, ::2, 0], 255).astype(np.uint8)).save(tmp_path / "scan.png")
    assert main(["segment", str(tmp_path / "scan.png"), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    (folder,) = results(tmp_path / "out")
    result = load(folder)
    told = " ".join(result["warnings"])
    for word in ("512×128", "spacing", "anterior or a posterior", "picture"):
        assert word in told
    assert result["findings"]
    assert all(finding["area_cm2"] is None for finding in result["findings"])
    assert capsys.readouterr().out.count("note:") == len(result["warnings"])
    assert "differs from those" in (folder / "report.html").read_text()


def test_a_scan_without_findings(bundle, body, tmp_path):
    write_nm(tmp_path / "cold.dcm", np.minimum(body, 60).astype(np.uint16), NMHeader(patient="A"))
    assert main(["segment", str(tmp_path / "cold.dcm"), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    (folder,) = results(tmp_path / "out")
    assert load(folder)["findings"] == []
    assert "No findings" in (folder / "report.html").read_text()
    assert not read_seg(folder / "seg.dcm").any()


def test_the_real_scan(bundle, tmp_path):
    """NEMA's whole-body scan from pydicom-data: Secondary Capture of modality NM, JPEG lossless, one anterior view."""
    path = Path(pytest.importorskip("data_store").__file__).parent / "data" / "JPEG-LL.dcm"
    assert main(["segment", str(path), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    (folder,) = results(tmp_path / "out")
    result = load(folder)
    assert result["study"]["views"] == ["anterior"]
    assert result["study"]["total_counts"] == [3596452]
    scan = read_planar(path)
    np.testing.assert_array_equal(read_seg(folder / "seg.dcm", scan)[..., 0], scan.pixels[..., 0] >= 100)


@pytest.mark.parametrize("picture", ["white", "black", "one pixel"])
def test_pictures_without_a_body_are_no_crash(picture, bundle, tmp_path):
    gray = np.zeros((300, 80), np.uint8)
    if picture == "white":
        gray[:] = 255
    elif picture == "one pixel":
        gray[40, 40] = 255
    Image.fromarray(gray).save(tmp_path / "scan.png")
    assert main(["segment", str(tmp_path / "scan.png"), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]) == 0
    (folder,) = results(tmp_path / "out")
    assert load(folder)["warnings"]


def test_weights_that_saw_simulated_patients_only_say_so(study, bundle, tmp_path, capsys):
    copy = tmp_path / "bundles" / "hot_spot_segmentation"
    shutil.copytree(bundle, copy)
    (copy / "models" / "model.json").write_text(json.dumps({"datalist": {"name": "S", "simulated": True}}))
    told = {}
    for name, folder in (("simulated", copy), ("other", bundle)):
        assert main(["segment", str(study), "-o", str(tmp_path / name), "--bundle", str(folder)]) == 0
        (out,) = results(tmp_path / name)
        told[name] = (
            "trained on simulated patients only" in capsys.readouterr().out,
            "trained on simulated patients only" in (out / "report.html").read_text(),
            "trained on simulated patients only" in pydicom.dcmread(out / "seg.dcm").ContentDescription,
            "trained on simulated patients only" in pydicom.dcmread(out / "sr.dcm").CompletionFlagDescription,
            load(out)["model"]["simulated_patients_only"],
        )
    assert told == {"simulated": (True,) * 5, "other": (False,) * 5}


def test_without_bundle_the_input_decides(study, bundle, body, tmp_path, monkeypatch, capsys):
    """A picture in color goes to the bundle for skin, everything else to the one for bone scans."""
    for name in ("skin_sc_unext_segmentation", DEFAULT_BUNDLE):
        shutil.copytree(bundle, tmp_path / "bundles" / name)
    monkeypatch.setenv("BONEMETS_BUNDLES", str(tmp_path / "bundles"))
    colors = np.random.default_rng(0).integers(90, 110, (64, 80, 3), dtype=np.uint8) + np.array([90, 20, 0], np.uint8)
    gray = np.repeat(np.minimum(body[..., :1], 255).astype(np.uint8), 3, axis=2)
    Image.fromarray(colors).save(tmp_path / "mole.jpg")
    Image.fromarray(gray).save(tmp_path / "scan.jpg")
    for source, name in (
        (tmp_path / "mole.jpg", "skin_sc_unext_segmentation"),
        (tmp_path / "scan.jpg", DEFAULT_BUNDLE),
    ):
        out = tmp_path / "out" / source.stem
        assert main(["segment", str(source), "-o", str(out)]) == 0
        (folder,) = results(out)
        assert load(folder)["model"]["bundle"] == name
        assert ("Color pictures, using" in capsys.readouterr().out) == (name == "skin_sc_unext_segmentation")
