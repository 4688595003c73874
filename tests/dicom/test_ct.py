"""DICOM CT: standard, readable, de-identified, and the same bytes for the same input."""

from __future__ import annotations

import shutil
import subprocess
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage

from bonemets.dicom.ct import CTHeader, ct_bytes
from bonemets.dicom.nm import NMHeader, nm_bytes

ORIGIN, PIXEL = (-210.5, -150.0, -432.5), 0.85
HEADER = CTHeader("patient_0007", sex="M", age_years=93, contrast="portal venous")


@pytest.fixture
def hu() -> np.ndarray:
    image = np.random.default_rng(1).integers(-1024, 3071, (64, 48)).astype(np.int16)
    image[0, :2] = -1024, 3071
    return image


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(BytesIO(content))


def test_values_and_geometry_come_back(hu):
    dataset = read(ct_bytes(hu, ORIGIN, PIXEL, 3, HEADER))
    assert dataset.SOPClassUID == CTImageStorage
    np.testing.assert_array_equal(dataset.pixel_array.astype(int) + int(dataset.RescaleIntercept), hu)
    assert [float(value) for value in dataset.ImagePositionPatient] == list(ORIGIN)
    assert [float(value) for value in dataset.PixelSpacing] == [PIXEL, PIXEL]
    assert dataset.InstanceNumber == 3
    assert "portal venous" in dataset.ContrastBolusAgent


def test_no_contrast_agent_without_contrast(hu):
    assert "ContrastBolusAgent" not in read(ct_bytes(hu, ORIGIN, PIXEL, 1, CTHeader("p")))


def test_nobody_is_identified(hu):
    dataset = read(ct_bytes(hu, ORIGIN, PIXEL, 1, HEADER))
    assert dataset.PatientIdentityRemoved == "YES"
    assert dataset.PatientBirthDate == ""
    assert dataset.PatientAge == "089Y"
    assert dataset.PatientName == "Anonymous^patient_0007"


def test_identifiers_follow_from_patient_study_and_slice(hu):
    one, again = (ct_bytes(hu, ORIGIN, PIXEL, 1, HEADER, study="seed 1") for _ in range(2))
    assert one == again
    first, second = read(one), read(ct_bytes(hu, ORIGIN, PIXEL, 2, HEADER, study="seed 1"))
    other = read(ct_bytes(hu, ORIGIN, PIXEL, 1, HEADER, study="seed 2"))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != other.SeriesInstanceUID
    assert len({first.SOPInstanceUID, second.SOPInstanceUID, other.SOPInstanceUID}) == 3


def test_series_shares_the_frame_of_reference_of_the_patients_scan(hu):
    scan = read(nm_bytes(np.ones((8, 8, 2), np.uint16), NMHeader("patient_0007"), study="seed 1"))
    ct = read(ct_bytes(hu, ORIGIN, PIXEL, 1, HEADER, study="seed 1"))
    assert ct.FrameOfReferenceUID == scan.FrameOfReferenceUID
    assert ct.SeriesInstanceUID != scan.SeriesInstanceUID


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.int32), np.zeros((4, 4, 1), np.int16), np.full((4, 4), -1025, np.int16)]
)
def test_refuses_what_is_no_slice(image):
    with pytest.raises(ValueError, match="hu must be"):
        ct_bytes(image, ORIGIN, PIXEL, 1, HEADER)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("header", [HEADER, CTHeader("p", sex="F")])
def test_dciodvfy_finds_no_error(hu, header, tmp_path):
    (tmp_path / "slice.dcm").write_bytes(ct_bytes(hu, ORIGIN, PIXEL, 1, header))
    result = subprocess.run(["dciodvfy", str(tmp_path / "slice.dcm")], capture_output=True, text=True, check=False)
    assert "CTImage" in result.stderr
    assert not [line for line in result.stderr.splitlines() if line.startswith("Error")]
