"""Writing a lesion mask as DICOM Segmentation (PS3.3 A.51) that lies on the frames of a planar scan, and reading it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.errors import InvalidDicomError
from pydicom.sr.codedict import codes
from pydicom.uid import NuclearMedicineImageStorage, generate_uid

from bonemets.anatomy.regions import bone_named
from bonemets.data.files import write_bytes
from bonemets.data.headers import pixel_spacing
from bonemets.data.planar.geometry import planar_affine
from bonemets.data.planar.nuclear import select_frames
from bonemets.data.planar.scan import PlanarScan, SourceFrame
from bonemets.dicom.algorithm import Algorithm
from bonemets.dicom.bone_codes import bone_codes
from bonemets.dicom.identifiers import make_uid
from bonemets.dicom.source_header import checked_uid, decimal, reference_number, source_header
from bonemets.errors import InputError

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

# Distance in mm between the planes of the two views, so that no two frames have the same position: a body's thickness.
VIEW_DISTANCE = 250.0


def write_seg(
    path: Path | str,
    source: PlanarScan | Dataset,
    mask: np.ndarray,
    *,
    algorithm: Algorithm | None = None,
    algorithm_type: Literal["AUTOMATIC", "SEMIAUTOMATIC"] = "AUTOMATIC",
    series_description: str = "Bone metastases, automatic; research use only",
    series_number: int = 100,
    bones: Mapping[str | None, np.ndarray] | None = None,
) -> None:
    """Write one binary segmentation on the pixels of the frames that were read: a frame per segment and view.

    highdicom wants sources with functional groups, which planar NM objects do not have; it gets a copy of the header
    with groups that say how each view lies, and the references are then pointed at the real frames. So one object
    covers both views, also where they came as two single-frame objects. Views without lesion keep their empty frame.

    Args:
        path: the file to write, whole or not at all.
        source: the scan that was read from DICOM, or a planar NM data set (its frames are found as in reading).
        mask: (H, W, V), nonzero = lesion, as displayed, views in the scan's order.
        algorithm: what made the mask; None names the project alone.
        algorithm_type: ``"SEMIAUTOMATIC"`` for a mask that a person has reviewed.
        series_description: shown by viewers.
        series_number: number of the new series in the study.
        bones: the mask taken apart by the names of the bones (`bonemets.reporting.study.findings.masks_by_bone`).
            There is then one segment per bone, with its SNOMED CT code as anatomic region; without, a single one.

    Raises:
        ValueError: if the scan is not from DICOM, or the mask's shape is not the scan's.
        InputError: if the file cannot be written.
    """
    segments: dict[str | None, np.ndarray] = _segments(bones) if bones else {None: mask}
    algorithm = algorithm or Algorithm()
    segmentation = _segmentation(source, mask.shape, segments, algorithm, algorithm_type)
    segmentation.SeriesDescription = series_description[:64]
    segmentation.SeriesNumber = series_number
    segmentation.ContentDescription = algorithm.remark
    buffer = BytesIO()
    dcmwrite(buffer, segmentation, enforce_file_format=True)
    write_bytes(path, buffer.getvalue())


def read_seg(path: Path | str, source: PlanarScan | Dataset | None = None) -> np.ndarray:
    """Read a segmentation of a planar scan that `write_seg` or another program wrote.

    Args:
        path: the DICOM SEG file.
        source: the scan to lay it on: frames are found by their references and turned as the scan was. Without it
            the frames are returned as they are stored, in their order (anterior, posterior in our files).

    Returns:
        (H, W, V) uint8; where several segments overlap, nonzero in any of them.

    Raises:
        InputError: if the file is no segmentation, or does not refer to the scan.
    """
    path = Path(path)
    try:
        segmentation = dcmread(path)
        pixels = np.moveaxis(segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns), 0, -1)
        references = [_reference(item) for item in segmentation.PerFrameFunctionalGroupsSequence]
    except (InvalidDicomError, OSError, AttributeError, ValueError, RuntimeError, IndexError) as error:
        raise InputError(f"{path}: cannot be read as DICOM SEG; give a segmentation object") from error
    pixels = (pixels > 0).astype(np.uint8)
    if source is None:
        distinct = dict.fromkeys(references)
        merged = [pixels[..., [each == one for each in references]].max(axis=-1) for one in distinct]
        return np.stack(merged, axis=-1)
    frames = _frames(source)
    if not any(_key(frame) in references for frame in frames):
        raise InputError(f"{path}: does not refer to this scan; give the segmentation of the same study")
    views = []
    for frame in frames:
        chosen = [pixels[..., index] for index, reference in enumerate(references) if reference == _key(frame)]
        views.append(frame.layout.show(np.maximum.reduce(chosen) if chosen else np.zeros(pixels.shape[:2], np.uint8)))
    return np.stack(views, axis=-1)


def _segments(bones: Mapping[str | None, np.ndarray]) -> dict[str | None, np.ndarray]:
    """Merge regions of one bone: "right rib 5-8" and "right rib 9-12" become "right rib"; findings in doubt, None."""
    merged: dict[str | None, np.ndarray] = {}
    for name, mask in bones.items():
        bone = bone_named(name) if name else None
        label = bone.label if bone else None
        merged[label] = merged.get(label, False) | (mask > 0)
    return merged


def _segment_description(number: int, label: str | None, algorithm: Algorithm, kind: str) -> SegmentDescription:
    import highdicom as hd

    found = bone_codes(label)
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"Bone metastasis, {label}" if label else "Bone metastasis",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.BonyMetastasis,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues(kind),
        algorithm_identification=algorithm.in_segmentation(),
        anatomic_regions=[found[0]] if found else None,
    )
    if found and found[1]:
        modifier = hd.sr.CodedConcept.from_code(found[1])
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [modifier]
    return description


def _segmentation(
    source: PlanarScan | Dataset,
    shape: tuple[int, ...],
    segments: Mapping[str | None, np.ndarray],
    algorithm: Algorithm,
    kind: str,
) -> Dataset:
    import highdicom as hd

    frames = _frames(source)
    expected = _displayed_shape(frames[0])
    if shape != (*expected, len(frames)):
        raise ValueError(f"mask must be ({expected[0]}, {expected[1]}, {len(frames)}), got {shape}")
    stored = [
        np.stack([frame.layout.store(mask[..., index]) > 0 for mask in segments.values()], axis=-1)
        for index, frame in enumerate(frames)
    ]
    views = source.views if isinstance(source, PlanarScan) else select_frames(source)[1]
    descriptions = [
        _segment_description(number, label, algorithm, kind) for number, label in enumerate(segments, start=1)
    ]
    with warnings.catch_warnings():
        # highdicom warns of names without a "^".
        warnings.simplefilter("ignore")
        segmentation = hd.seg.Segmentation(
            source_images=[_with_functional_groups(frames, views)],
            pixel_array=np.stack(stored).astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=descriptions,
            series_instance_uid=generate_uid(None),
            series_number=1,
            sop_instance_uid=generate_uid(None),
            instance_number=1,
            manufacturer="bonemets",
            manufacturer_model_name=algorithm.name,
            software_versions=algorithm.version,
            device_serial_number="0",
            content_label="BONE_METASTASES",
            omit_empty_frames=False,
        )
    _refer_to(segmentation, frames, views)
    return segmentation


def _frames(source: PlanarScan | Dataset) -> list[SourceFrame]:
    frames = list(source.frames) if isinstance(source, PlanarScan) else select_frames(source)[0]
    if not frames:
        raise ValueError("source must be a scan that was read from DICOM")
    return frames


def _with_functional_groups(frames: Sequence[SourceFrame], views: Sequence[str]) -> Dataset:
    """A header with the source's patient and study, and with the functional groups of an enhanced object."""
    original = frames[0].dataset
    for frame in frames[1:]:
        for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"):
            checked_uid(frame.dataset, keyword)
    header = source_header(original)
    header.Rows, header.Columns = original.Rows, original.Columns
    header.NumberOfFrames = len(frames)
    if not header.get("FrameOfReferenceUID"):
        header.FrameOfReferenceUID = make_uid("frame of reference", original.StudyInstanceUID)
    # With any other class highdicom looks for slice positions instead of functional groups.
    header.SOPClassUID = NuclearMedicineImageStorage
    measures = Dataset()
    measures.PixelSpacing = [decimal(value) for value in pixel_spacing(original) or (1.0, 1.0)]
    measures.SliceThickness = str(VIEW_DISTANCE)
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [_orientation(views[0], frames[0])]
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = []
    for index in range(len(frames)):
        item = Dataset()
        item.PlanePositionSequence = [Dataset()]
        # highdicom sorts by position from back to front: these keep the order, `_refer_to` writes the true ones.
        item.PlanePositionSequence[0].ImagePositionPatient = ["0", str(-index), "0"]
        header.PerFrameFunctionalGroupsSequence.append(item)
    return header


def _displayed_shape(frame: SourceFrame) -> tuple[int, int]:
    rows, columns = int(frame.dataset.Rows), int(frame.dataset.Columns)
    return (columns, rows) if frame.layout.transpose else (rows, columns)


def _orientation(view: str, frame: SourceFrame) -> Dataset:
    """Row and column direction of a frame as it is stored."""
    across = [-1 if view == "posterior" else 1, 0, 0]
    across[0] *= -1 if frame.layout.flip_columns else 1
    down = [0, 0, 1 if frame.layout.flip_rows else -1]
    item = Dataset()
    item.ImageOrientationPatient = [*down, *across] if frame.layout.transpose else [*across, *down]
    return item


def _position(view: str, frame: SourceFrame, spacing: Sequence[float]) -> Dataset:
    """Where the first pixel of a frame lies as it is stored; `spacing` of its own rows and columns."""
    layout, (rows, columns) = frame.layout, _displayed_shape(frame)
    down, across = spacing[::-1] if layout.transpose else spacing
    first = [rows - 1 if layout.flip_rows else 0, columns - 1 if layout.flip_columns else 0, 0, 1]
    # RAS to LPS.
    right, _, up, _ = planar_affine((rows, columns), (down, across), view) @ first
    item = Dataset()
    item.ImagePositionPatient = [f"{-right:.4f}", str(VIEW_DISTANCE if view == "posterior" else 0.0), f"{up:.4f}"]
    return item


def _refer_to(segmentation: Dataset, frames: Sequence[SourceFrame], views: Sequence[str]) -> None:
    """Point every reference at the real frames, and say of each frame where its own view lies."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    spacing = [float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing]
    if len(frames) > 1:
        del shared.PlaneOrientationSequence
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        # The segments' frames of one view may share the reference, which must be changed once for each.
        item.DerivationImageSequence = deepcopy(item.DerivationImageSequence)
    for item in segmentation.PerFrameFunctionalGroupsSequence:
        image = item.DerivationImageSequence[0].SourceImageSequence[0]
        index = int(image.ReferencedFrameNumber) - 1
        view, frame = views[index], frames[index]
        image.ReferencedSOPClassUID = frame.dataset.SOPClassUID
        image.ReferencedSOPInstanceUID = frame.dataset.SOPInstanceUID
        number = reference_number(frame.dataset, frame.number)
        if number is None:
            del image.ReferencedFrameNumber
        else:
            image.ReferencedFrameNumber = number
        item.PlanePositionSequence = [_position(view, frame, spacing)]
        if len(frames) > 1:
            item.PlaneOrientationSequence = [_orientation(view, frame)]
    instances = {frame.dataset.SOPInstanceUID: frame.dataset for frame in frames}
    segmentation.SourceImageSequence = [_instance(dataset) for dataset in instances.values()]
    segmentation.ReferencedSeriesSequence = []
    for series_uid in dict.fromkeys(dataset.SeriesInstanceUID for dataset in instances.values()):
        series = Dataset()
        series.SeriesInstanceUID = series_uid
        series.ReferencedInstanceSequence = [
            _instance(dataset) for dataset in instances.values() if dataset.SeriesInstanceUID == series_uid
        ]
        segmentation.ReferencedSeriesSequence.append(series)


def _instance(dataset: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = dataset.SOPClassUID
    item.ReferencedSOPInstanceUID = dataset.SOPInstanceUID
    return item


def _key(frame: SourceFrame) -> tuple[str, int]:
    return str(frame.dataset.SOPInstanceUID), frame.number


def _reference(item: Dataset) -> tuple[str, int]:
    image = item.DerivationImageSequence[0].SourceImageSequence[0]
    return str(image.ReferencedSOPInstanceUID), int(image.get("ReferencedFrameNumber") or 1)
