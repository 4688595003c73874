import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from bonemets.data import read_planar
from bonemets.data.planar.geometry import Layout
from bonemets.errors import InputError


def test_nema_scan_is_read_as_measured(nema_scan):
    scan = read_planar(nema_scan)
    assert scan.shape == (1024, 256, 1)
    assert scan.pixels.dtype == np.float32
    assert scan.spacing == (2.26, 2.26)
    assert (scan.pixels.min(), scan.pixels.max()) == (0, 278)
    # The header's own Counts Accumulated.
    assert scan.pixels.sum(dtype=np.float64) == 3596452 == int(scan.dataset.CountsAccumulated)
    # GE's private detector number: head 1 of 2, the anterior one.
    assert scan.views == ("anterior",)
    assert scan.format == "dicom"


def test_nema_head_is_at_the_top(nema_scan):
    image = read_planar(nema_scan).pixels[..., 0]
    widths = (image > 5).sum(axis=1)
    head, shoulders = widths[40:120].max(), widths[150:260].max()
    assert head < 0.6 * shoulders
    # The bladder, the densest pixel of this scan, is in the lower half of the trunk.
    assert 400 < np.unravel_index(image.argmax(), image.shape)[0] < 600


def test_two_frames(save_nm, counts):
    scan = read_planar(save_nm("two.dcm", counts))
    assert scan.views == ("anterior", "posterior")
    np.testing.assert_array_equal(scan.pixels, counts)
    np.testing.assert_array_equal(scan.view("posterior"), counts[..., 1])
    assert [frame.number for frame in scan.frames] == [1, 2]


def test_posterior_frame_first_is_reordered(save_nm, counts):
    scan = read_planar(save_nm("swapped.dcm", counts, views=("posterior", "anterior")))
    assert scan.views == ("anterior", "posterior")
    np.testing.assert_array_equal(scan.pixels, counts[..., ::-1])
    assert [frame.number for frame in scan.frames] == [2, 1]


def test_detector_vector_swaps_the_frames(save_nm, counts):
    """Frame 1 was taken by detector 2, whose view code says posterior."""

    def change(dataset):
        dataset.DetectorVector = [2, 1]

    scan = read_planar(save_nm("vector.dcm", counts, change))
    np.testing.assert_array_equal(scan.pixels, counts[..., ::-1])


def _no_view_codes(dataset):
    for detector in dataset.DetectorInformationSequence:
        del detector.ViewCodeSequence


def test_views_from_image_orientation(save_nm, counts):
    def change(dataset):
        _no_view_codes(dataset)
        first, second = dataset.DetectorInformationSequence
        first.ImageOrientationPatient, second.ImageOrientationPatient = (
            second.ImageOrientationPatient,
            first.ImageOrientationPatient,
        )

    np.testing.assert_array_equal(read_planar(save_nm("o.dcm", counts, change)).pixels, counts[..., ::-1])


def test_equal_orientations_are_no_evidence(save_nm, counts):
    def change(dataset):
        _no_view_codes(dataset)
        for detector in dataset.DetectorInformationSequence:
            detector.ImageOrientationPatient = [-1, 0, 0, 0, 0, -1]

    scan = read_planar(save_nm("o.dcm", counts, change))
    assert scan.views == ("anterior", "posterior")
    np.testing.assert_array_equal(scan.pixels, counts)


def test_two_frames_without_any_evidence_are_detectors_one_and_two(save_nm, counts):
    def change(dataset):
        del dataset.DetectorInformationSequence

    scan = read_planar(save_nm("bare.dcm", counts, change))
    assert scan.views == ("anterior", "posterior")
    np.testing.assert_array_equal(scan.pixels, counts)


@pytest.mark.parametrize(
    ("change", "view"),
    [
        (lambda d: None, "unknown"),
        (lambda d: setattr(d, "PatientOrientation", ["L", "F"]), "anterior"),
        (lambda d: setattr(d, "PatientOrientation", ["R", "F"]), "posterior"),
        (lambda d: setattr(d, "SeriesDescription", "WB POST"), "posterior"),
        (lambda d: setattr(d, "ImageID", "WHOLEBODY_ANT"), "anterior"),
        (lambda d: setattr(d, "SeriesDescription", "ANT/POST whole body"), "unknown"),
        (lambda d: setattr(d, "SeriesDescription", "poster"), "unknown"),
        (lambda d: setattr(d, "DetectorVector", [2]), "posterior"),
    ],
)
def test_view_of_a_single_frame(save_nm, counts, change, view):
    def strip(dataset):
        del dataset.DetectorInformationSequence
        dataset.SeriesDescription = ""
        change(dataset)

    scan = read_planar(save_nm("one.dcm", counts[..., :1], strip))
    assert scan.views == (view,)
    np.testing.assert_array_equal(scan.pixels, counts[..., :1])


def test_single_posterior_frame_by_view_code(save_nm, counts):
    scan = read_planar(save_nm("one.dcm", counts[..., :1], views=("posterior",)))
    assert scan.views == ("posterior",)


def test_signed_pixels_and_rescale(save_nm, counts):
    values = counts.astype(np.int16) - 20

    def change(dataset):
        dataset.PixelRepresentation = 1
        dataset.PixelData = np.moveaxis(values, 2, 0).tobytes()
        for keyword in ("SmallestImagePixelValue", "LargestImagePixelValue"):
            del dataset[keyword]
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "3"

    scan = read_planar(save_nm("signed.dcm", counts, change))
    assert scan.pixels.min() < 0
    np.testing.assert_allclose(scan.pixels, values * 0.5 + 3)


def test_stored_feet_first_is_turned(save_nm, counts):
    def change(dataset):
        for detector in dataset.DetectorInformationSequence:
            detector.ImageOrientationPatient = [*detector.ImageOrientationPatient[:5], 1]

    scan = read_planar(save_nm("feet.dcm", counts, change))
    np.testing.assert_array_equal(scan.pixels, counts[::-1])
    assert all(frame.layout == Layout(flip_rows=True) for frame in scan.frames)


def test_photopeak_window_is_taken(save_nm, counts):
    """Four frames: scatter window (114-126 keV) first, photopeak second."""
    four = np.concatenate([counts * 0, counts], axis=2)

    def change(dataset):
        peak = dataset.EnergyWindowInformationSequence[0]
        scatter = pydicom.Dataset()
        limits = pydicom.Dataset()
        limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = "114", "126"
        scatter.EnergyWindowRangeSequence = [limits]
        dataset.EnergyWindowInformationSequence = [scatter, peak]
        dataset.EnergyWindowVector = [1, 1, 2, 2]
        dataset.NumberOfEnergyWindows = 2
        dataset.DetectorVector = [1, 2, 1, 2]
        dataset.NumberOfFrames = 4
        dataset.PixelData = np.moveaxis(four, 2, 0).tobytes()

    scan = read_planar(save_nm("windows.dcm", counts, change))
    np.testing.assert_array_equal(scan.pixels, counts)
    assert [frame.number for frame in scan.frames] == [3, 4]


def test_compressed_transfer_syntax(save_nm, counts, tmp_path):
    path = save_nm("plain.dcm", counts)
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(tmp_path / "rle.dcm")
    np.testing.assert_array_equal(read_planar(tmp_path / "rle.dcm").pixels, counts)


def test_without_spacing(save_nm, counts):
    scan = read_planar(save_nm("s.dcm", counts, lambda d: delattr(d, "PixelSpacing")))
    assert scan.spacing == (1.0, 1.0)


def test_without_file_meta_information(save_nm, counts, tmp_path):
    """Data sets without preamble, as old cameras write them."""
    dataset = pydicom.dcmread(save_nm("plain.dcm", counts))
    dataset.file_meta, dataset.preamble = pydicom.dataset.FileMetaDataset(), None
    dataset.save_as(tmp_path / "bare.dcm", implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert (tmp_path / "bare.dcm").read_bytes()[128:132] != b"DICM"
    np.testing.assert_array_equal(read_planar(tmp_path / "bare.dcm").pixels, counts)


@pytest.mark.parametrize("kind", ["DYNAMIC", "TOMO", "RECON TOMO", "GATED"])
def test_other_nm_kinds_are_refused(save_nm, counts, kind):
    path = save_nm("kind.dcm", counts, lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", kind, "EMISSION"]))
    with pytest.raises(InputError, match="dynamic or tomographic"):
        read_planar(path)


def test_many_frames_are_refused_before_decoding(save_nm, counts):
    def change(dataset):
        dataset.NumberOfFrames = 30
        dataset.EnergyWindowVector = [1] * 30
        dataset.DetectorVector = [1] * 30

    with pytest.raises(InputError, match="has 30 frames"):
        read_planar(save_nm("many.dcm", counts, change))


def test_two_views_of_the_same_side_are_refused(save_nm, counts):
    with pytest.raises(InputError, match="both frames are anterior"):
        read_planar(save_nm("same.dcm", counts, views=("anterior", "anterior")))
