"""CT files of a patient: DICOM series, NIfTI pairs that lie on it, and the data list."""

from __future__ import annotations

from io import BytesIO

import nibabel as nib
import numpy as np
import pydicom
import pytest

from bonemets.data.lists.datalist import load_datalist, write_datalist
from bonemets.simulation.ct.folder import ct_contents, ct_datalist, slice_affine
from bonemets.simulation.ct.slices import SimulatedCT

PERSON = {"sex": "F", "age_years": 93, "height_m": 1.6, "weight_kg": 62.0}


@pytest.fixture(scope="module")
def ct() -> SimulatedCT:
    rng = np.random.default_rng(0)
    lesions = (rng.uniform(size=(2, 40, 50)) > 0.95).astype(np.uint16) * 7
    return SimulatedCT(
        hu=rng.integers(-1024, 2000, (2, 40, 50)).astype(np.int16),
        label=(lesions > 0).astype(np.uint8),
        lesions=lesions,
        bones=rng.integers(0, 126, (2, 40, 50)).astype(np.uint8),
        origin=np.array([[-20.5, -110.25, -800.0], [-20.5, -110.25, -640.0]]),
        pixel=0.85,
        thickness=2.5,
        parameters={"contrast": "portal venous"},
    )


@pytest.fixture(scope="module")
def contents(ct: SimulatedCT) -> dict[str, bytes]:
    return ct_contents("patient_0003", 5, ct, PERSON)


def read_nifti(content: bytes) -> nib.Nifti1Image:
    import gzip

    return nib.Nifti1Image.from_bytes(gzip.decompress(content))


def test_every_slice_has_dicom_image_and_maps(contents):
    suffixes = (".dcm", ".nii.gz", "_label.nii.gz", "_lesions.nii.gz", "_bones.nii.gz")
    assert set(contents) == {f"ct/slice_{n:02d}{suffix}" for n in (1, 2) for suffix in suffixes}


def test_nifti_and_dicom_hold_the_same_values_at_the_same_places(ct, contents):
    for index in range(2):
        dicom = pydicom.dcmread(BytesIO(contents[f"ct/slice_{index + 1:02d}.dcm"]))
        image = read_nifti(contents[f"ct/slice_{index + 1:02d}.nii.gz"])
        values = np.asarray(image.dataobj)
        assert values.dtype == np.int16
        hu = dicom.pixel_array * float(dicom.RescaleSlope) + float(dicom.RescaleIntercept)
        np.testing.assert_array_equal(values[..., 0], ct.hu[index])
        np.testing.assert_array_equal(hu, ct.hu[index])
        row, column = 17, 31
        along, down = np.array(dicom.ImageOrientationPatient, float).reshape(2, 3)
        spacing = float(dicom.PixelSpacing[0])
        lps = np.array(dicom.ImagePositionPatient, float) + column * spacing * along + row * spacing * down
        ras = (image.affine @ [row, column, 0, 1])[:3]
        np.testing.assert_allclose(ras, lps * [-1, -1, 1], atol=1e-3)
        np.testing.assert_array_equal(
            np.asarray(read_nifti(contents[f"ct/slice_{index + 1:02d}_label.nii.gz"]).dataobj)[..., 0], ct.label[index]
        )


def test_affine_says_rows_to_the_back_and_columns_to_the_left():
    affine = slice_affine(np.array([1.0, 2.0, 3.0]), 0.5, 2.5)
    assert nib.aff2axcodes(affine) == ("P", "L", "S")
    np.testing.assert_allclose(affine[:3, 3], [-1, -2, 3])


def test_same_content_same_bytes(ct, contents):
    assert ct_contents("patient_0003", 5, ct, PERSON) == contents


def test_datalist_keeps_the_folds_of_the_scans(tmp_path):
    scans = {
        "name": "Simulated bone scans, seed 0, 3 patients",
        "licence": "Apache-2.0",
        "numFolds": 2,
        "training": [
            {"image": f"{p}/{v}.nii.gz", "label": f"{p}/{v}_label.nii.gz", "patient": p, "view": v, "fold": f}
            for p, f in (("a", 0), ("b", 1))
            for v in ("anterior", "posterior")
        ],
        "testing": [{"image": "c/anterior.nii.gz", "label": "c/l.nii.gz", "patient": "c", "view": "anterior"}],
    }
    document = ct_datalist(scans, {"a": [0, 5], "b": [0], "c": [9, 0]})
    assert document["modality"] == "CT"
    assert document["name"] == "Simulated CT slices, seed 0, 3 patients"
    assert "2 of 5 with metastases" in document["description"]
    assert [(item["patient"], item["fold"]) for item in document["training"]] == [("a", 0), ("a", 0), ("b", 1)]
    assert [item["image"] for item in document["testing"]] == ["c/ct/slice_01.nii.gz", "c/ct/slice_02.nii.gz"]
    write_datalist(tmp_path / "datalist_ct.json", document)
    for item in [*document["training"], *document["testing"]]:
        for key in ("image", "label"):
            (tmp_path / item[key]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / item[key]).touch()
    assert {item["patient"] for item in load_datalist(tmp_path / "datalist_ct.json", 1, "train")} == {"a"}
    assert {item["patient"] for item in load_datalist(tmp_path / "datalist_ct.json", 1, "validation")} == {"b"}
    assert {item["patient"] for item in load_datalist(tmp_path / "datalist_ct.json", 1, "test")} == {"c"}
