"""Structured reports, read by highdicom and DCMTK, and their outlines drawn again by matplotlib."""

import shutil
import subprocess
from dataclasses import replace

import highdicom
import numpy as np
import pydicom
import pydicom.data
import pytest
from matplotlib.path import Path as Line
from pydicom.sr.codedict import codes

from bonemets.data import read_ct, read_planar
from bonemets.dicom import Algorithm, write_ct_sr, write_nm, write_sr
from bonemets.dicom.ct import CTHeader, ct_bytes
from bonemets.dicom.nm import nm_dataset
from bonemets.reporting.study.ct_findings import measure_ct_findings
from bonemets.reporting.study.findings import measure_findings, number_findings

ALGORITHM = Algorithm("a bundle", "1.2", {"threshold": "0.5", "weights sha256": "0" * 64})

# A coding scheme of our own is what validators cannot know.
OWN_CODES = "Unrecognized defined term = <99BONEMETS>"


@pytest.fixture
def scan(tmp_path, counts, header):
    write_nm(tmp_path / "scan.dcm", counts, header)
    return read_planar(tmp_path / "scan.dcm")


@pytest.fixture
def mask(counts) -> np.ndarray:
    """Shapes that are hard to outline: a corner, a hole, a single pixel, the image's border; another in each view."""
    mask = np.zeros(counts.shape, bool)
    mask[3:6, 4:7, 0] = mask[6:9, 7:10, 0] = True
    mask[20:25, 5:10, 0] = True
    mask[21:24, 6:9, 0] = False
    mask[40, 12, 0] = True
    mask[60:, 18:, 1] = True
    return mask


def report_of(path, scan, mask, bone=None) -> tuple[list[dict], highdicom.sr.MeasurementReport]:
    """Write the report of a mask, and read it as highdicom does."""
    found = measure_findings(scan.pixels, mask * 0.75, mask, scan.views, scan.spacing, name_bones=False)
    findings = [replace(finding, bone=bone) for finding in found]
    write_sr(path, scan, number_findings(mask), findings, ALGORITHM)
    return [finding.as_dict() for finding in findings], highdicom.sr.srread(path).content


def drawn(region, shape) -> np.ndarray:
    """The pixels whose middles an outline surrounds; its corner is (0, 0), so that these are at one half."""
    rows, columns = np.indices(shape)
    points = np.stack([columns.ravel(), rows.ravel()], axis=1) + 0.5
    return Line(region.value).contains_points(points).reshape(shape)


def image_of(region) -> pydicom.Dataset:
    """What the outline says of the image that it lies on."""
    return region.ContentSequence[0].ReferencedSOPSequence[0]


def numbers(group) -> dict[str, float]:
    return {
        " ".join(filter(None, [item.name.meaning, item.derivation and item.derivation.meaning])): item.value
        for item in group.get_measurements()
    }


def test_outlines_are_the_findings(tmp_path, scan, mask):
    findings, report = report_of(tmp_path / "sr.dcm", scan, mask)
    groups = report.get_planar_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == [f"finding {n}" for n in (1, 2, 3, 4)]
    assert len({group.tracking_uid for group in groups}) == 4
    expected = mask.copy()
    expected[21:24, 6:9, 0] = True  # the hole is not drawn
    again = np.zeros(mask.shape, int)
    for group in groups:
        region = group.roi
        assert image_of(region).ReferencedSOPInstanceUID == scan.dataset.SOPInstanceUID
        again[..., image_of(region).ReferencedFrameNumber - 1] += drawn(region, mask.shape[:2])
        assert np.array_equal(region.value[0], region.value[-1])
    np.testing.assert_array_equal(again, expected)
    assert [finding["area_px"] for finding in findings] == [18, 16, 1, 24]


def test_numbers_are_those_of_the_findings(tmp_path, scan, mask):
    findings, report = report_of(tmp_path / "sr.dcm", scan, mask, bone="right rib 5-8")
    group = report.get_planar_roi_measurement_groups()[0]
    assert numbers(group) == {
        "Area": pytest.approx(18 * scan.spacing[0] * scan.spacing[1] / 100, abs=1e-3),
        "Mean counts over those of the rest of the body": findings[0]["uptake_ratio"],
        "Maximum counts of a pixel": scan.pixels[..., 0][number_findings(mask)[..., 0] == 1].max(),
        "Mean counts of a pixel": findings[0]["counts_mean"],
        "Certainty of Finding Maximum": 75,
    }
    assert group.finding_type == codes.SCT.BonyMetastasis
    (site,) = group.finding_sites
    assert (site.value.meaning, site.laterality.meaning) == ("Rib", "Right")
    # A view's own group counts what is in it.
    views = {group.tracking_identifier: group for group in report.get_image_measurement_groups()}
    assert numbers(views["anterior view"])["Number of lesions Total"] == 3
    assert numbers(views["posterior view"]) == {
        "Number of lesions Total": 1,
        "Area Total": pytest.approx(findings[3]["area_cm2"]),
    }
    (image,) = views["posterior view"].source_images
    assert image.referenced_frame_numbers == [2]


def test_no_finding_is_zero(tmp_path, scan, mask):
    _, report = report_of(tmp_path / "sr.dcm", scan, np.zeros_like(mask))
    assert report.get_planar_roi_measurement_groups() == []
    groups = report.get_image_measurement_groups()
    assert [numbers(group) for group in groups] == [{"Number of lesions Total": 0, "Area Total": 0}] * 2


def test_bone_in_doubt_has_no_site(tmp_path, scan, mask):
    _, report = report_of(tmp_path / "sr.dcm", scan, mask, bone="sternum or thoracic spine")
    assert report.get_planar_roi_measurement_groups()[0].finding_sites == []


def test_stored_feet_first(tmp_path, counts, header, mask):
    """The outline is in the order of the stored rows."""
    dataset = nm_dataset(counts, header)
    for detector in dataset.DetectorInformationSequence:
        detector.ImageOrientationPatient = [*detector.ImageOrientationPatient[:5], 1]
    dataset.save_as(tmp_path / "scan.dcm", enforce_file_format=True)
    _, report = report_of(tmp_path / "sr.dcm", read_planar(tmp_path / "scan.dcm"), mask)
    posterior = report.get_planar_roi_measurement_groups()[3]
    np.testing.assert_array_equal(drawn(posterior.roi, mask.shape[:2]), mask[::-1, :, 1])


def test_header(tmp_path, scan, mask):
    write_sr(tmp_path / "sr.dcm", scan, mask * 0, [], Algorithm("a bundle", "1.2", simulated_only=True))
    report = pydicom.dcmread(tmp_path / "sr.dcm")
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate"):
        assert report[keyword].value == scan.dataset[keyword].value
    assert (report.Modality, report.VerificationFlag, report.PreliminaryFlag) == ("SR", "UNVERIFIED", "PRELIMINARY")
    assert report.SeriesInstanceUID != scan.dataset.SeriesInstanceUID
    assert "simulated patients only" in report.CompletionFlagDescription
    assert "simulated patients only" in report.ContentSequence[-1].TextValue
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert [item.ReferencedSOPInstanceUID for item in evidence] == [scan.dataset.SOPInstanceUID]


def test_real_scan(tmp_path, validate):
    """Secondary Capture with modality NM, one frame, old and odd header."""
    path = pydicom.data.get_testdata_file("JPEG-LL.dcm", download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    scan = read_planar(path)
    mask = np.zeros(scan.shape, bool)
    mask[100:110, 100:120] = True
    _, report = report_of(tmp_path / "sr.dcm", scan, mask)
    (group,) = report.get_planar_roi_measurement_groups()
    assert "ReferencedFrameNumber" not in image_of(group.roi)
    np.testing.assert_array_equal(drawn(group.roi, mask.shape[:2]), mask[..., 0])
    assert [line for line in validate(tmp_path / "sr.dcm") if OWN_CODES not in line] == []


def test_validators_know_all_but_our_own_codes(tmp_path, scan, mask, validate):
    report_of(tmp_path / "sr.dcm", scan, mask, bone="left hand")
    (scheme,) = pydicom.dcmread(tmp_path / "sr.dcm").CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99BONEMETS"
    assert [line for line in validate(tmp_path / "sr.dcm") if OWN_CODES not in line] == []
    if shutil.which("dsr2html") is None:
        pytest.skip("dsr2html is not installed (Debian: dcmtk)")
    page = subprocess.run(["dsr2html", str(tmp_path / "sr.dcm")], capture_output=True, text=True, check=True).stdout
    assert "finding 4" in page
    assert "Research use only" in page


def test_numbers_must_fit(tmp_path, scan, mask):
    with pytest.raises(ValueError, match="must have the scan's shape"):
        write_sr(tmp_path / "sr.dcm", scan, mask[..., :1], [], ALGORITHM)
    assert not (tmp_path / "sr.dcm").exists()


def test_ct(tmp_path, validate):
    """Outlines on each slice that a finding reaches, also in two pieces; numbers of the whole."""
    hu = np.full((32, 40, 4), -1000, np.int16)
    hu[5:9, 6:12, 1] = hu[5:9, 6:8, 2] = hu[5:9, 10:12, 2] = 700
    hu[20:22, 30:33, 0] = 500
    (tmp_path / "ct").mkdir()
    for index in range(4):
        content = ct_bytes(hu[..., index], (-40.0, -50.0, 2.5 * index), 1.5, index + 1, CTHeader("patient_0001"))
        (tmp_path / "ct" / f"{9 - index}.dcm").write_bytes(content)
    scan = read_ct(tmp_path / "ct")
    mask = scan.pixels > 0
    found, numbered = measure_ct_findings(scan, mask * 0.5, mask)
    write_ct_sr(tmp_path / "sr.dcm", scan, numbered, found, ALGORITHM)
    report = highdicom.sr.srread(tmp_path / "sr.dcm").content
    upper, lower = report.get_volumetric_roi_measurement_groups()
    assert numbers(upper) == {
        "Volume": pytest.approx(40 * 0.15**2 * 0.25),
        "Area Maximum": pytest.approx(24 * 0.15**2),
        "Maximum Attenuation Coefficient": 700,
        "Mean Attenuation Coefficient": 700,
        "Certainty of Finding Maximum": 50,
    }
    assert (len(upper.roi), len(lower.roi)) == (3, 1)
    assert drawn(upper.roi[0], hu.shape[:2]).sum() == 24  # the largest first
    height = {dataset.SOPInstanceUID: float(dataset.ImagePositionPatient[2]) for dataset in scan.datasets}
    again = np.zeros(hu.shape, int)
    for region in [*upper.roi, *lower.roi]:
        index = round(height[image_of(region).ReferencedSOPInstanceUID] / 2.5)
        again[..., index] += drawn(region, hu.shape[:2])
    np.testing.assert_array_equal(again, hu > 0)
    (total,) = report.get_image_measurement_groups()
    assert numbers(total)["Number of lesions Total"] == 2
    assert numbers(total)["Volume Total"] == pytest.approx(46 * 0.15**2 * 0.25, abs=1e-3)
    assert validate(tmp_path / "sr.dcm") == []  # it has standard codes alone, and declares no others
    with pytest.raises(ValueError, match="must have the CT's shape"):
        write_ct_sr(tmp_path / "other.dcm", scan, numbered[..., :1], found, ALGORITHM)
