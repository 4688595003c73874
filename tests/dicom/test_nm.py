import itk
import numpy as np
import pydicom
import pytest
from pydicom.uid import NuclearMedicineImageStorage

from bonemets.data import read_planar
from bonemets.dicom import NMHeader, make_uid, write_nm
from bonemets.errors import InputError


def test_validators_have_nothing_to_say(tmp_path, counts, header, validate):
    write_nm(tmp_path / "scan.dcm", counts, header)
    assert validate(tmp_path / "scan.dcm") == []


def test_single_view_is_valid_too(tmp_path, counts, header, validate):
    write_nm(tmp_path / "scan.dcm", counts[..., :1], header, views=["posterior"])
    assert validate(tmp_path / "scan.dcm") == []


def test_pydicom_reads_it_back(tmp_path, counts, header):
    write_nm(tmp_path / "scan.dcm", counts, header, spacing=(2.26, 2.0))
    dataset = pydicom.dcmread(tmp_path / "scan.dcm")
    np.testing.assert_array_equal(np.moveaxis(dataset.pixel_array, 0, -1), counts)
    assert dataset.SOPClassUID == NuclearMedicineImageStorage
    assert dataset.ImageType == ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    assert dataset.PixelSpacing == [2.26, 2.0]
    assert (dataset.DetectorVector, dataset.EnergyWindowVector) == ([1, 2], [1, 1])
    views = [detector.ViewCodeSequence[0].CodeMeaning for detector in dataset.DetectorInformationSequence]
    assert views == ["Anterior projection", "Posterior projection"]
    tracer = dataset.RadiopharmaceuticalInformationSequence[0]
    assert tracer.RadiopharmaceuticalCodeSequence[0].CodeValue == "53951001"
    assert tracer.RadiopharmaceuticalStartTime == "090000"
    window = dataset.EnergyWindowInformationSequence[0].EnergyWindowRangeSequence[0]
    assert window.EnergyWindowLowerLimit < 140.5 < window.EnergyWindowUpperLimit
    assert dataset.CountsAccumulated == counts.sum()
    assert (dataset.PatientIdentityRemoved, dataset.PatientBirthDate) == ("YES", "")
    assert (dataset.PatientSex, dataset.PatientAge) == ("F", "061Y")


def test_itk_reads_it_back(tmp_path, counts, header):
    write_nm(tmp_path / "scan.dcm", counts, header)
    image = itk.imread(str(tmp_path / "scan.dcm"))
    np.testing.assert_array_equal(np.moveaxis(itk.array_from_image(image), 0, -1), counts)
    np.testing.assert_allclose(list(image.GetSpacing())[:2], [2.26, 2.26])


def test_our_reader_reads_it_back(tmp_path, counts, header):
    write_nm(tmp_path / "scan.dcm", counts, header)
    scan = read_planar(tmp_path / "scan.dcm")
    np.testing.assert_array_equal(scan.pixels, counts)
    assert scan.views == ("anterior", "posterior")
    assert scan.spacing == (2.26, 2.26)


def test_geometry_is_that_of_the_nifti(tmp_path, counts, header):
    """The first pixel's position and the directions, LPS against RAS."""
    write_nm(tmp_path / "scan.dcm", counts, header)
    from bonemets.data import VIEWS, planar_affine

    dataset = pydicom.dcmread(tmp_path / "scan.dcm")
    for view, detector in zip(VIEWS, dataset.DetectorInformationSequence, strict=True):
        affine = np.diag([-1, -1, 1, 1]) @ planar_affine(counts.shape, (2.26, 2.26), view)
        np.testing.assert_allclose(detector.ImagePositionPatient, affine[:3, 3], atol=0.01)
        np.testing.assert_allclose(detector.ImageOrientationPatient[:3], affine[:3, 1] / 2.26, atol=1e-6)
        np.testing.assert_allclose(detector.ImageOrientationPatient[3:], affine[:3, 0] / 2.26, atol=1e-6)


def test_same_input_same_bytes(tmp_path, counts, header):
    for name in "ab":
        write_nm(tmp_path / name, counts, header, study="seed 1")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    write_nm(tmp_path / "c", counts, header, study="seed 2")
    first, other = pydicom.dcmread(tmp_path / "a"), pydicom.dcmread(tmp_path / "c")
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert first[keyword].value != other[keyword].value
        assert first[keyword].value.is_valid


def test_old_age_is_not_told(tmp_path, counts):
    write_nm(tmp_path / "a", counts, NMHeader("p", age_years=97))
    assert pydicom.dcmread(tmp_path / "a").PatientAge == "089Y"


def test_uids_are_valid_and_follow_from_their_parts():
    assert make_uid("study", 1) == make_uid("study", 1) != make_uid("study", 2)
    assert make_uid("a", "b") != make_uid("ab")
    uid = make_uid("study", 1)
    assert uid.startswith("2.25.")
    assert len(uid) <= 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": np.zeros((4, 4, 2), np.float32)}, "counts must be"),
        ({"counts": np.zeros((4, 4, 1), np.uint16)}, "counts must be"),
        ({"header": NMHeader("p", tracer="FDG")}, "tracer must be one of MDP, HDP"),
        ({"views": ("anterior", "left")}, "views must be anterior or posterior, got 'left'"),
    ],
)
def test_wrong_arguments(tmp_path, counts, header, change, message):
    arguments = {"counts": counts, "header": header} | change
    with pytest.raises(ValueError, match=message):
        write_nm(tmp_path / "a", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_folder(tmp_path, counts, header):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_nm(tmp_path / "file" / "scan.dcm", counts, header)
