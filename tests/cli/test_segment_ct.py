"""`bonemets segment` on CT: real files, with a bundle that marks what is dense, so that its findings are known."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from ct_series import STEP, write_series
from PIL import Image
from pydicom.uid import SecondaryCaptureImageStorage

from bonemets.cli.main import main
from bonemets.data import read_ct, write_nifti
from bonemets.engines.predictor import BundlePredictor


def segment(source: Path, out: Path, bundle: Path) -> list[Path]:
    assert main(["segment", str(source), "-o", str(out), "--bundle", str(bundle)]) == 0
    return sorted(out.iterdir())


def load(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def test_series(dense_bundle, hu, tmp_path, capsys):
    source = write_series(tmp_path / "SECRET^NAME" / "series", hu)
    (folder,) = segment(tmp_path / "SECRET^NAME", tmp_path / "out", dense_bundle)
    assert re.fullmatch(r"study-[0-9a-f]{12}", folder.name)
    assert {p.name for p in folder.iterdir()} == {
        "mask.nii.gz",
        "seg.dcm",
        "sr.dcm",
        "overlay.png",
        "report.html",
        "result.json",
    }
    assert "2 findings in 6 slices" in capsys.readouterr().out

    # DICOM's own order is (column, row, slice).
    mask = nib.load(folder / "mask.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj).swapaxes(0, 1), hu >= 500)
    assert np.allclose(mask.affine @ (0, 0, 1, 1), (40, 50, STEP, 1))

    upper, lower = (result := load(folder))["findings"]
    assert (upper["slice"], upper["first_slice"], upper["last_slice"]) == (5, 5, 6)
    assert (upper["height_mm"], upper["row"], upper["column"], upper["area_px"]) == (4 * STEP, 21.5, 22.5, 24)
    assert upper["area_cm2"] == pytest.approx(24 * 0.15**2)
    assert upper["volume_ml"] == pytest.approx(48 * 0.15**2 * STEP / 10)
    assert (upper["value_max"], upper["value_mean"], upper["probability_max"]) == (800, 800, 1.0)
    assert upper["sop_instance_uid"] == pydicom.dcmread(source / "02.dcm").SOPInstanceUID
    # Two areas that touch at a corner, one slice apart, are one finding.
    assert (lower["first_slice"], lower["last_slice"], lower["value_max"]) == (2, 3, 700)
    assert lower["value_mean"] == 650
    assert result["study"]["slice_step_mm"] == STEP
    assert result["study"]["series_instance_uid"] == str(pydicom.dcmread(source / "02.dcm").SeriesInstanceUID)
    assert result["warnings"] == []

    page = (folder / "report.html").read_text()
    assert "SECRET" not in page + json.dumps(result)
    assert [page.count(f'id="finding-{number}"') for number in (1, 2, 3)] == [1, 1, 0]
    assert not re.search(r"https?://|<script", page)
    assert Image.open(folder / "overlay.png").size[0] > 600


def test_seg_lies_on_the_slices(dense_bundle, hu, tmp_path):
    source = write_series(tmp_path / "series", hu)
    (folder,) = segment(source, tmp_path / "out", dense_bundle)
    segmentation = pydicom.dcmread(folder / "seg.dcm")
    names = {str(pydicom.dcmread(path).SOPInstanceUID): 6 - int(path.stem) for path in source.iterdir()}
    frames = segmentation.PerFrameFunctionalGroupsSequence
    slices = [names[f.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID] for f in frames]
    assert sorted(slices) == [1, 2, 4, 5]
    for index, pixels in zip(slices, segmentation.pixel_array, strict=True):
        assert np.array_equal(pixels, hu[..., index] >= 500)
    assert segmentation.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "1.0.0"
    groups = highdicom.sr.srread(folder / "sr.dcm").content.get_volumetric_roi_measurement_groups()
    volumes = [finding["volume_ml"] for finding in load(folder)["findings"]]
    assert [group.get_measurements()[0].value for group in groups] == volumes
    if shutil.which("dciodvfy") is not None:
        report = subprocess.run(
            ["dciodvfy", "-new", str(folder / "seg.dcm")], capture_output=True, text=True, check=False
        )
        assert "Error" not in report.stderr


def test_slices_far_apart_are_findings_of_their_own(dense_bundle, hu, tmp_path):
    source = write_series(tmp_path / "series", hu, heights=[0, 4, 8, 40, 44, 75])
    (folder,) = segment(source, tmp_path / "out", dense_bundle)
    findings = load(folder)["findings"]
    assert [(f["first_slice"], f["last_slice"], f["height_mm"]) for f in findings] == [
        (6, 6, 75),
        (5, 5, 44),
        (2, 3, 4),
    ]
    assert all(finding["volume_ml"] is None for finding in findings)
    assert "not evenly spaced" in (folder / "report.html").read_text()


def test_predictor_counts_slices(dense_bundle, hu, tmp_path):
    told = []
    scan = read_ct(write_series(tmp_path / "series", hu))
    BundlePredictor(dense_bundle).predict(scan, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (6, 6)
    assert told == sorted(told)


def test_every_series_of_a_folder_or_archive(dense_bundle, hu, tmp_path):
    for number, study in enumerate(("first", "second"), start=1):
        write_series(tmp_path / "study" / "mixed" / str(number), hu[..., number:], study)
    # A localizer, a dose report and a copy of an image are skipped.
    scout = pydicom.dcmread(tmp_path / "study" / "mixed" / "1" / "01.dcm")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.SOPInstanceUID, scout.SeriesInstanceUID = "1.2.3", "1.2.4"
    scout.save_as(tmp_path / "study" / "scout.dcm")
    scout.SOPClassUID = scout.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    scout.SOPInstanceUID, scout.SeriesInstanceUID = "1.2.5", "1.2.6"
    scout.ImageType = ["DERIVED", "SECONDARY"]
    del scout.ImageOrientationPatient
    scout.save_as(tmp_path / "study" / "dose.dcm")
    shutil.copy(tmp_path / "study" / "mixed" / "1" / "02.dcm", tmp_path / "study" / "copy.dcm")
    folders = segment(tmp_path / "study", tmp_path / "out", dense_bundle)
    assert sorted(load(folder)["study"]["slices"] for folder in folders) == [4, 5]
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in (tmp_path / "study").rglob("*.dcm"):
            archive.write(path, path.relative_to(tmp_path))
    zipped = segment(tmp_path / "study.zip", tmp_path / "zipped", dense_bundle)
    assert [folder.name for folder in zipped] == [folder.name for folder in folders]


def test_nifti_volume_and_picture(dense_bundle, hu, tmp_path):
    # Columns to the right, rows to the front, slices to the feet.
    turned = np.diag([1.5, 1.5, -STEP, 1.0])
    volume = hu[::-1, ::-1, ::-1].swapaxes(0, 1)
    write_nifti(tmp_path / "ct.nii.gz", volume, turned, keep_axes=True)
    (folder,) = segment(tmp_path / "ct.nii.gz", tmp_path / "out", dense_bundle)
    assert folder.name == "ct"
    mask = nib.load(folder / "mask.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), volume >= 500)
    assert np.allclose(mask.affine, turned)
    upper = load(folder)["findings"][0]
    assert (upper["slice"], upper["row"], upper["column"], upper["sop_instance_uid"]) == (5, 21.5, 22.5, None)

    Image.fromarray(((hu[..., 4] + 1000) / 8).astype(np.uint8)).save(tmp_path / "slice.png")
    (folder,) = segment(tmp_path / "slice.png", tmp_path / "pictures", dense_bundle)
    result = load(folder)
    assert (result["study"]["values"], result["study"]["spacing_mm"], result["findings"]) == ("gray values", None, [])
    assert any("picture" in warning for warning in result["warnings"])
    assert "No findings" in (folder / "report.html").read_text()


def test_ct_gets_the_shipped_ct_bundle(hu, tmp_path, capsys):
    """NIfTI files beside the DICOM images, as in simulated patients, do not make it a bone scan."""
    source = write_series(tmp_path / "ct", hu[..., :1])
    write_nifti(source / "slice.nii.gz", hu[..., :1], np.diag([1.5, 1.5, STEP, 1.0]), keep_axes=True)
    assert main(["segment", str(source), "-o", str(tmp_path / "out")]) == 0
    (folder,) = (tmp_path / "out").iterdir()
    assert load(folder)["model"]["bundle"] == "ct_mfp_deeplabv3plus_segmentation"
    assert load(folder)["model"]["simulated_patients_only"] is True
    assert "CT, using" in capsys.readouterr().out
    assert "simulated patients only" in str(pydicom.dcmread(folder / "seg.dcm").ContentDescription)
