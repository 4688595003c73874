"""Frames stored turned or mirrored, with headers that say so, are the same scan as the upright ones."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from bonemets.data import read_planar, read_study
from bonemets.dicom.nm import NMHeader, nm_dataset
from bonemets.dicom.seg import read_seg, write_seg
from bonemets.errors import InputError

# The eight turns and flips of an image: quarter turns, then a mirror.
TURNS = [(quarters, mirrored) for quarters in range(4) for mirrored in (False, True)]
UPRIGHT, HALF_TURN, MIRROR = (0, False), (2, False), (0, True)
LETTERS = {(1, 0): "L", (-1, 0): "R", (0, 1): "H", (0, -1): "F"}
ROTATIONS = [turn for turn in TURNS if not turn[1]]


def turn(image: np.ndarray, how: tuple[int, bool]) -> np.ndarray:
    turned = np.rot90(image, how[0])
    return turned[:, ::-1] if how[1] else turned


def directions(view: str, how: tuple[int, bool]) -> list[tuple[int, int]]:
    """Where columns and rows of a turned image grow, as (left, up), by turning the pixels' own places."""
    left, down = np.meshgrid([0, 1], [0, 1])
    left, up = turn(left if view == "anterior" else -left, how), turn(-down, how)
    step = [(left[0, 1] - left[0, 0], up[0, 1] - up[0, 0]), (left[1, 0] - left[0, 0], up[1, 0] - up[0, 0])]
    return [(int(x), int(z)) for x, z in step]


def orientation(view: str, how: tuple[int, bool]) -> list[int]:
    return [number for x, z in directions(view, how) for number in (x, 0, z)]


def letters(view: str, how: tuple[int, bool]) -> list[str]:
    return [LETTERS[step] for step in directions(view, how)]


def scan_counts(columns: int = 14) -> np.ndarray:
    return np.random.default_rng(3).poisson(6, (20, columns, 2)).astype(np.uint16)


def turned_scan(counts: np.ndarray, turns: list[tuple[int, bool]], views=("anterior", "posterior")) -> pydicom.Dataset:
    """Frames of `views`, each turned, without any word on how."""
    frames = [turn(counts[..., index], how) for index, how in enumerate(turns)]
    dataset = nm_dataset(np.ascontiguousarray(np.stack(frames, axis=-1)), NMHeader("p"), views=views)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for detector in dataset.DetectorInformationSequence:
        del detector.ImageOrientationPatient, detector.ImagePositionPatient
    return dataset


def read(dataset: pydicom.Dataset, folder: Path):
    dataset.save_as(folder / "scan.dcm", enforce_file_format=True)
    return read_planar(folder / "scan.dcm")


def without_codes(dataset: pydicom.Dataset) -> None:
    for detector in dataset.DetectorInformationSequence:
        del detector.ViewCodeSequence


@settings(max_examples=40, deadline=None)
@given(
    turns=st.tuples(st.sampled_from(TURNS), st.sampled_from(TURNS)).filter(lambda t: t[0][0] % 2 == t[1][0] % 2),
    posterior_first=st.booleans(),
    by_vector=st.booleans(),
)
def test_any_turn_of_either_frame(turns, posterior_first, by_vector):
    """With view codes and the detectors' orientations: the same pixels, views and masks on the stored frames."""
    counts = scan_counts()
    views = ["anterior", "posterior"]
    order = [1, 0] if posterior_first else [0, 1]
    dataset = turned_scan(counts[..., order], [turns[index] for index in order], [views[index] for index in order])
    for index, detector in zip(order, dataset.DetectorInformationSequence, strict=True):
        detector.ImageOrientationPatient = orientation(views[index], turns[index])
    if by_vector:
        dataset.DetectorVector = [2, 1]
        dataset.DetectorInformationSequence = list(dataset.DetectorInformationSequence)[::-1]
    with tempfile.TemporaryDirectory() as folder:
        scan = read(dataset, Path(folder))
        assert scan.views == ("anterior", "posterior")
        np.testing.assert_array_equal(scan.pixels, counts)
        mask = counts > 9
        write_seg(Path(folder) / "seg.dcm", scan, mask)
        np.testing.assert_array_equal(read_seg(Path(folder) / "seg.dcm", scan), mask)
        segmentation = pydicom.dcmread(Path(folder) / "seg.dcm")
    for index, frame in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        view = views.index("posterior" if frame.DerivationImageSequence[0].SourceImageSequence[0]
                           .ReferencedFrameNumber == (1 if posterior_first else 2) else "anterior")  # fmt: skip
        stored = turn(mask[..., view], turns[view])
        np.testing.assert_array_equal(segmentation.pixel_array[index], stored)
        assert_lies_on_the_body(segmentation, frame, views[view], stored, mask[..., view])


def assert_lies_on_the_body(segmentation, frame, view: str, stored: np.ndarray, displayed: np.ndarray) -> None:
    """Pixel (0, 0) as displayed is at z = 0, half the width from the middle; from the definition of the affine."""
    height, width = displayed.shape
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    across, down = np.array(frame.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    origin = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
    row_step, column_step = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    for row, column in np.argwhere(stored):
        x, _, z = origin + across * column_step * column + down * row_step * row
        side = 1 if view == "anterior" else -1
        shown = (round(-z / 2.26), round(side * x / 2.26 + (width - 1) / 2))
        assert displayed[shown]


@pytest.mark.parametrize("how", ROTATIONS)
def test_row_times_column_decides_where_no_code_does(how, tmp_path):
    counts = scan_counts()
    dataset = turned_scan(counts[..., ::-1], [how, how], ("anterior", "posterior"))
    without_codes(dataset)
    for view, detector in zip(("posterior", "anterior"), dataset.DetectorInformationSequence, strict=True):
        detector.ImageOrientationPatient = orientation(view, how)
    scan = read(dataset, tmp_path)
    assert scan.views == ("anterior", "posterior")
    np.testing.assert_array_equal(scan.pixels, counts)


@pytest.mark.parametrize("how", TURNS)
@pytest.mark.parametrize("view", ["anterior", "posterior"])
@pytest.mark.parametrize("said_by", ["PatientOrientation", "ImageOrientationPatient", "detector"])
def test_single_frame(view, how, said_by, tmp_path):
    counts = scan_counts()[..., :1]
    dataset = turned_scan(counts, [how], [view])
    if said_by == "detector":
        dataset.DetectorInformationSequence[0].ImageOrientationPatient = orientation(view, how)
    else:
        setattr(dataset, said_by, (letters if said_by == "PatientOrientation" else orientation)(view, how))
    if not how[1]:
        # A rotation needs no code.
        without_codes(dataset)
    dataset.PixelSpacing = ["2", "3"]
    scan = read(dataset, tmp_path)
    assert scan.views == (view,)
    np.testing.assert_array_equal(scan.pixels, counts)
    assert scan.spacing == ((3, 2) if how[0] % 2 else (2, 3))


def test_letters_of_the_standard():
    assert letters("anterior", UPRIGHT) == ["L", "F"]
    assert letters("anterior", HALF_TURN) == ["R", "H"]
    assert letters("posterior", UPRIGHT) == ["R", "F"]


@pytest.mark.parametrize("how", TURNS)
def test_the_objects_orientation_speaks_for_its_first_frame(how, tmp_path):
    """All frames are stored in the way of the first."""
    counts = scan_counts()
    dataset = turned_scan(counts, [how, how])
    dataset.PatientOrientation = letters("anterior", how)
    np.testing.assert_array_equal(read(dataset, tmp_path).pixels, counts)


def body_counts() -> np.ndarray:
    """Two views of something with most counts in its upper half, as a body has."""
    counts = scan_counts().astype(float)
    counts[10:] /= 4
    return counts.astype(np.uint16)


def feet_first(dataset: pydicom.Dataset, by: str) -> None:
    del dataset.PatientGantryRelationshipCodeSequence
    if by == "PatientPosition":
        dataset.PatientPosition = "FFS"
        return
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = by, "SCT" if by[0] == "1" else "SRT", "feet-first"
    dataset.PatientGantryRelationshipCodeSequence = [code]


@pytest.mark.parametrize("by", ["102541007", "F-10480", "PatientPosition"])
def test_feet_first(by, tmp_path):
    """Turned where the detector saw the patient so, but not where the camera has turned the scan already."""
    counts = body_counts()
    for how in (HALF_TURN, UPRIGHT):
        dataset = turned_scan(counts, [how, how])
        feet_first(dataset, by)
        scan = read(dataset, tmp_path)
        np.testing.assert_array_equal(scan.pixels, counts)
        mask = counts > 9
        write_seg(tmp_path / "seg.dcm", scan, mask)
        np.testing.assert_array_equal(read_seg(tmp_path / "seg.dcm", scan), mask)


@pytest.mark.parametrize("how", [UPRIGHT, HALF_TURN, MIRROR])
def test_an_orientation_is_about_the_patient_however_he_lay(how, tmp_path):
    counts = scan_counts()
    dataset = turned_scan(counts, [how, how])
    feet_first(dataset, "102541007")
    for view, detector in zip(("anterior", "posterior"), dataset.DetectorInformationSequence, strict=True):
        detector.ImageOrientationPatient = orientation(view, how)
    np.testing.assert_array_equal(read(dataset, tmp_path).pixels, counts)


def test_frames_turned_by_different_angles_are_refused(tmp_path):
    counts = scan_counts(columns=20)
    dataset = turned_scan(counts, [(1, False), UPRIGHT])
    for view, how, detector in zip(
        ("anterior", "posterior"), ((1, False), UPRIGHT), dataset.DetectorInformationSequence, strict=True
    ):
        detector.ImageOrientationPatient = orientation(view, how)
    np.testing.assert_array_equal(read(dataset, tmp_path).pixels, counts)
    dataset.Rows, dataset.Columns = 25, 16
    with pytest.raises(InputError, match="turned by different angles"):
        read(dataset, tmp_path)


def test_single_views_of_one_study_stored_in_different_ways(tmp_path):
    """One segmentation has rows and columns in one way: views that lie across stay two scans."""
    counts = scan_counts()
    for index, (view, how) in enumerate((("anterior", UPRIGHT), ("posterior", (1, False)))):
        dataset = turned_scan(counts[..., index : index + 1], [how], [view])
        dataset.DetectorInformationSequence[0].ImageOrientationPatient = orientation(view, how)
        dataset.save_as(tmp_path / f"{view}.dcm", enforce_file_format=True)
    scans = read_study(tmp_path)
    assert [scan.views for scan in scans] == [("anterior",), ("posterior",)]
    np.testing.assert_array_equal(np.concatenate([scan.pixels for scan in scans], axis=-1), counts)
