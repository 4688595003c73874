import highdicom
import numpy as np
import pydicom
import pydicom.data
import pytest

from bonemets.data import read_planar, read_study
from bonemets.dicom import Algorithm, NMHeader, read_seg, write_nm, write_seg
from bonemets.dicom.nm import nm_dataset
from bonemets.errors import InputError

ALGORITHM = Algorithm("a bundle", "1.2", {"threshold": "0.5", "weights sha256": "00ff"}, simulated_only=True)


@pytest.fixture
def mask(counts) -> np.ndarray:
    """Without any symmetry, different in both views."""
    return np.random.default_rng(1).random(counts.shape) > 0.9


@pytest.fixture
def scan(tmp_path, counts, header):
    write_nm(tmp_path / "scan.dcm", counts, header)
    return read_planar(tmp_path / "scan.dcm")


@pytest.fixture
def nema():
    path = pydicom.data.get_testdata_file("JPEG-LL.dcm", download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    return read_planar(path)


def in_halves(mask) -> dict[str, np.ndarray]:
    """Two bones, one above the other."""
    upper = np.arange(len(mask))[:, None, None] < len(mask) // 2
    return {"mandible": mask & upper, "left hand": mask & ~upper}


def by_plain_pydicom(path, scan) -> np.ndarray:
    """Frame by frame, bit by bit and by the references: nothing of ours, nothing of highdicom's."""
    dataset = pydicom.dcmread(path)
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    frames = bits[: dataset.NumberOfFrames * dataset.Rows * dataset.Columns].reshape(-1, dataset.Rows, dataset.Columns)
    result = np.zeros((dataset.Rows, dataset.Columns, len(scan.frames)), np.uint8)
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        reference = groups.DerivationImageSequence[0].SourceImageSequence[0]
        for index, source in enumerate(scan.frames):
            same = reference.ReferencedSOPInstanceUID == source.dataset.SOPInstanceUID
            if same and reference.get("ReferencedFrameNumber", 1) == source.number:
                result[..., index] = frame
    return result


def test_two_views_read_back_onto_the_source_frames(tmp_path, scan, mask):
    write_seg(tmp_path / "seg.dcm", scan, mask)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm"), mask)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", scan), mask)
    np.testing.assert_array_equal(by_plain_pydicom(tmp_path / "seg.dcm", scan), mask)
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    pixels = segmentation.get_pixels_by_source_frame(scan.dataset.SOPInstanceUID, [1, 2], combine_segments=True)
    np.testing.assert_array_equal(np.moveaxis(pixels, 0, -1), mask)


def test_source_is_left_as_it_is(tmp_path, nema):
    before = nema.dataset.to_json()
    write_seg(tmp_path / "seg.dcm", nema, nema.pixels > 50)
    assert nema.dataset.to_json() == before


def test_data_set_as_source(tmp_path, scan, mask):
    write_seg(tmp_path / "seg.dcm", pydicom.dcmread(scan.path), mask)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", scan), mask)


@pytest.mark.parametrize("keep", [(1, 0), (0, 1), (0, 0)])
def test_views_without_lesion_keep_their_frame(tmp_path, scan, mask, keep):
    mask = mask & np.array(keep, bool)
    write_seg(tmp_path / "seg.dcm", scan, mask)
    assert pydicom.dcmread(tmp_path / "seg.dcm").NumberOfFrames == 2
    np.testing.assert_array_equal(by_plain_pydicom(tmp_path / "seg.dcm", scan), mask)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm"), mask)


def test_posterior_frame_stored_first(tmp_path, counts, header, mask):
    """The mask is in the scan's order (anterior first), the references in the file's."""
    write_nm(tmp_path / "scan.dcm", counts, header, views=("posterior", "anterior"))
    scan = read_planar(tmp_path / "scan.dcm")
    assert scan.frames[0].number == 2
    write_seg(tmp_path / "seg.dcm", scan, mask)
    np.testing.assert_array_equal(by_plain_pydicom(tmp_path / "seg.dcm", scan), mask)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", scan), mask)
    write_seg(tmp_path / "seg.dcm", scan, mask, bones=in_halves(mask))
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", scan), mask)


def test_stored_feet_first(tmp_path, counts, header, mask):
    dataset = nm_dataset(counts, header)
    for detector in dataset.DetectorInformationSequence:
        detector.ImageOrientationPatient = [*detector.ImageOrientationPatient[:5], 1]
    dataset.save_as(tmp_path / "scan.dcm", enforce_file_format=True)
    scan = read_planar(tmp_path / "scan.dcm")
    np.testing.assert_array_equal(scan.pixels, counts[::-1])
    write_seg(tmp_path / "seg.dcm", scan, mask)
    np.testing.assert_array_equal(by_plain_pydicom(tmp_path / "seg.dcm", scan), mask[::-1])
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", scan), mask)


def test_two_single_view_objects_share_one_segmentation(tmp_path, counts, header, mask, validate):
    (tmp_path / "study").mkdir()
    for index, view in enumerate(("anterior", "posterior")):
        dataset = nm_dataset(counts[..., index : index + 1], header, views=[view])
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        dataset.SeriesInstanceUID = pydicom.uid.generate_uid()
        dataset.save_as(tmp_path / "study" / f"{9 - index}.dcm", enforce_file_format=True)
    (scan,) = read_study(tmp_path / "study")
    write_seg(tmp_path / "seg.dcm", scan, mask)
    np.testing.assert_array_equal(by_plain_pydicom(tmp_path / "seg.dcm", scan), mask)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", scan), mask)
    uids = [frame.dataset.SOPInstanceUID for frame in scan.frames]
    pixels = highdicom.seg.segread(tmp_path / "seg.dcm").get_pixels_by_source_instance(uids, combine_segments=True)
    np.testing.assert_array_equal(np.moveaxis(pixels, 0, -1), mask)
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    assert len(segmentation.ReferencedSeriesSequence) == 2
    assert validate(tmp_path / "seg.dcm") == []
    write_seg(tmp_path / "seg.dcm", scan, mask, bones=in_halves(mask))
    assert len(pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence) == 2
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", scan), mask)
    assert validate(tmp_path / "seg.dcm") == []


def test_real_scan(tmp_path, nema, validate):
    """Secondary Capture with modality NM, one frame, old and odd header."""
    mask = np.random.default_rng(0).random(nema.shape) > 0.95
    write_seg(tmp_path / "seg.dcm", nema, mask)
    np.testing.assert_array_equal(by_plain_pydicom(tmp_path / "seg.dcm", nema), mask)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", nema), mask)
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    pixels = segmentation.get_pixels_by_source_instance([nema.dataset.SOPInstanceUID])
    np.testing.assert_array_equal(pixels[0], mask)
    reference = pydicom.dcmread(tmp_path / "seg.dcm").SourceImageSequence[0]
    assert reference.ReferencedSOPClassUID == nema.dataset.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert validate(tmp_path / "seg.dcm") == []


def test_validators_have_nothing_to_say(tmp_path, scan, mask, validate):
    write_seg(tmp_path / "seg.dcm", scan, mask, algorithm=ALGORITHM)
    assert validate(tmp_path / "seg.dcm") == []


def test_header(tmp_path, scan, mask):
    write_seg(tmp_path / "seg.dcm", scan, mask, algorithm=ALGORITHM)
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    (segment,) = dataset.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Bony metastasis"
    assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == ("AUTOMATIC", "a bundle")
    (identification,) = segment.SegmentationAlgorithmIdentificationSequence
    assert identification.AlgorithmVersion == "1.2"
    assert "weights sha256=00ff" in identification.AlgorithmParameters
    assert "research use only" in dataset.SeriesDescription.lower()
    assert dataset.ContentDescription == ALGORITHM.remark
    assert "research use only" in ALGORITHM.remark.lower() and "simulated" in ALGORITHM.remark
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID"):
        assert dataset[keyword].value == scan.dataset[keyword].value
    # Each frame lies where its view does.
    orientations = [
        item.PlaneOrientationSequence[0].ImageOrientationPatient for item in dataset.PerFrameFunctionalGroupsSequence
    ]
    assert orientations == [d.ImageOrientationPatient for d in scan.dataset.DetectorInformationSequence]


def test_one_segment_per_bone(tmp_path, scan, mask, validate):
    """Regions of a bone become one segment; what has no single bone stays without a region."""
    spread = np.random.default_rng(2).integers(0, 4, mask.shape)
    names = ("right rib 5-8", "right rib 9-12", "lumbar spine", "sternum or thoracic spine")
    bones = {name: mask & (spread == number) for number, name in enumerate(names)}
    write_seg(tmp_path / "seg.dcm", scan, mask, bones=bones)
    assert validate(tmp_path / "seg.dcm") == []
    dataset = pydicom.dcmread(tmp_path / "seg.dcm")
    labels = ["Bone metastasis, right rib", "Bone metastasis, lumbar spine", "Bone metastasis"]
    assert [segment.SegmentLabel for segment in dataset.SegmentSequence] == labels
    rib, spine, other = dataset.SegmentSequence
    assert rib.AnatomicRegionSequence[0].CodeValue == "113197003"
    assert rib.AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0].CodeMeaning == "Right"
    assert spine.AnatomicRegionSequence[0].CodeValue == "122496007"
    assert "AnatomicRegionModifierSequence" not in spine.AnatomicRegionSequence[0]
    assert "AnatomicRegionSequence" not in other
    # Whoever reads all segments together sees the same mask as before.
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm"), mask)
    np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", scan), mask)
    by_number = highdicom.seg.segread(tmp_path / "seg.dcm").get_pixels_by_source_frame(
        scan.dataset.SOPInstanceUID, [1, 2], segment_numbers=[1, 2, 3]
    )
    ribs = bones["right rib 5-8"] | bones["right rib 9-12"]
    np.testing.assert_array_equal(np.moveaxis(by_number[..., 0], 0, -1), ribs)
    np.testing.assert_array_equal(np.moveaxis(by_number[..., 1], 0, -1), bones["lumbar spine"])


def test_without_frame_of_reference_and_patient(tmp_path, counts, header, mask):
    dataset = nm_dataset(counts, header)
    for keyword in ("FrameOfReferenceUID", "PatientName", "AccessionNumber", "PixelSpacing"):
        del dataset[keyword]
    dataset.save_as(tmp_path / "scan.dcm", enforce_file_format=True)
    scan = read_planar(tmp_path / "scan.dcm")
    write_seg(tmp_path / "seg.dcm", scan, mask)
    np.testing.assert_array_equal(by_plain_pydicom(tmp_path / "seg.dcm", scan), mask)


def test_highdicom_still_refuses_the_plain_source(scan, mask):
    """The reason for `_with_functional_groups`: when an upgrade of highdicom breaks this test, try without."""
    segment = highdicom.seg.SegmentDescription(
        1, "lesion", pydicom.sr.codedict.codes.SCT.MorphologicallyAbnormalStructure,
        pydicom.sr.codedict.codes.SCT.BonyMetastasis, "MANUAL",
    )  # fmt: skip
    with pytest.raises((ValueError, AttributeError), match="Only a single frame|SharedFunctionalGroupsSequence"):
        highdicom.seg.Segmentation(
            [scan.dataset], np.moveaxis(mask, 2, 0).astype(np.uint8), "BINARY", [segment],
            pydicom.uid.generate_uid(), 1, pydicom.uid.generate_uid(), 1, "m", "m", "1", "1",
        )  # fmt: skip


def test_segmentation_of_another_scan(tmp_path, scan, mask, counts):
    write_seg(tmp_path / "seg.dcm", scan, mask)
    write_nm(tmp_path / "other.dcm", counts, NMHeader("patient_0002"))
    with pytest.raises(InputError, match="does not refer to this scan"):
        read_seg(tmp_path / "seg.dcm", read_planar(tmp_path / "other.dcm"))


def test_no_segmentation(tmp_path, scan):
    (tmp_path / "text.dcm").write_text("text")
    for path in (tmp_path / "text.dcm", tmp_path / "missing.dcm", scan.path):
        with pytest.raises(InputError, match="cannot be read as DICOM SEG"):
            read_seg(path)


def test_mask_must_fit(tmp_path, scan, mask):
    with pytest.raises(ValueError, match="mask must be"):
        write_seg(tmp_path / "seg.dcm", scan, mask[..., :1])
    assert not (tmp_path / "seg.dcm").exists()
