"""Writing planar scans as standard DICOM Nuclear Medicine Image Storage (PS3.3 A.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.sr.codedict import codes
from pydicom.uid import NuclearMedicineImageStorage

from bonemets.data.files import write_bytes
from bonemets.data.planar.geometry import VIEWS
from bonemets.dicom.identifiers import make_uid
from bonemets.dicom.simulated import (
    PatientHeader,
    add_file_meta,
    describe_equipment,
    describe_patient,
    describe_series,
    describe_study,
)

TRACERS = {"MDP": codes.SCT.TechnetiumTc99mMedronate, "HDP": codes.SCT.TechnetiumTc99mOxidronate}
# CID 26, and the direction of the image's rows and columns in LPS as each camera displays the patient.
_VIEW_CODES = {"anterior": codes.SCT.AnteriorProjection, "posterior": codes.SCT.PosteriorProjection}
_ORIENTATIONS = {"anterior": [1, 0, 0, 0, 0, -1], "posterior": [-1, 0, 0, 0, 0, -1]}


@dataclass(frozen=True)
class NMHeader(PatientHeader):
    """What the header of a planar bone scan says about patient and acquisition; nothing that identifies anyone.

    Args:
        patient: pseudonym, used as patient ID and name.
        series_description: shown by viewers.
        tracer: ``"MDP"`` (medronate) or ``"HDP"`` (oxidronate), labelled with 99mTc.
        dose_mbq: injected activity in MBq.
        uptake_minutes: time from injection to scan.
        scan_seconds: duration of the scan.
        scan_length_mm: way of the camera; by default the length of the image.
        model: its name.
        others: see `PatientHeader`.
    """

    patient: str
    series_description: str = "Whole body bone scan"
    tracer: str = "MDP"
    dose_mbq: float = 700
    uptake_minutes: float = 180
    scan_seconds: float = 1200
    scan_length_mm: float | None = None
    model: str = "Simulated dual-head gamma camera"


def write_nm(
    path: Path | str,
    counts: np.ndarray,
    header: NMHeader,
    *,
    views: Sequence[str] = VIEWS,
    spacing: tuple[float, float] = (2.26, 2.26),
    study: str | None = None,
) -> None:
    """Write a whole-body planar scan, one frame per view, the same bytes for the same input.

    Args:
        path: the file to write, whole or not at all.
        counts: (H, W, V) uint16, as displayed.
        header: patient and acquisition.
        views: a view per frame.
        spacing: row and column spacing in mm.
        study: what the identifiers follow from, together with the patient; by default the patient alone.

    Raises:
        ValueError: if `counts` does not fit `views` or is not uint16, or the tracer is unknown.
        InputError: if the file cannot be written.
    """
    write_bytes(path, nm_bytes(counts, header, views=views, spacing=spacing, study=study))


def nm_bytes(
    counts: np.ndarray,
    header: NMHeader,
    *,
    views: Sequence[str] = VIEWS,
    spacing: tuple[float, float] = (2.26, 2.26),
    study: str | None = None,
) -> bytes:
    """The file that `write_nm` writes; same arguments."""
    buffer = BytesIO()
    dcmwrite(buffer, nm_dataset(counts, header, views=views, spacing=spacing, study=study), enforce_file_format=True)
    return buffer.getvalue()


def nm_dataset(
    counts: np.ndarray,
    header: NMHeader,
    *,
    views: Sequence[str] = VIEWS,
    spacing: tuple[float, float] = (2.26, 2.26),
    study: str | None = None,
) -> Dataset:
    """The data set that `write_nm` writes; same arguments."""
    if counts.dtype != np.uint16 or counts.ndim != 3 or counts.shape[2] != len(views):
        raise ValueError(f"counts must be (H, W, {len(views)}) uint16, got {counts.shape} {counts.dtype}")
    if header.tracer not in TRACERS:
        raise ValueError(f"tracer must be one of {', '.join(TRACERS)}, got {header.tracer!r}")
    unknown = [view for view in views if view not in VIEWS]
    if unknown:
        raise ValueError(f"views must be anterior or posterior, got {unknown[0]!r}")
    name = (header.patient, study or "")
    dataset = Dataset()
    describe_patient(dataset, header.patient, header)
    describe_study(dataset, make_uid("study", *name), "1", "Bone scan")
    describe_series(dataset, "NM", make_uid("series", *name), header.series_description, name)
    describe_equipment(dataset, header.manufacturer, header.model)
    dataset.SOPClassUID = NuclearMedicineImageStorage
    dataset.SOPInstanceUID = make_uid("instance", *name)
    dataset.InstanceNumber = 1
    _position(dataset)
    _image(dataset, counts, spacing)
    _nuclear_medicine(dataset, counts, header, views, spacing)
    add_file_meta(dataset)
    return dataset


def _position(dataset: Dataset) -> None:
    dataset.PatientOrientationCodeSequence = [_code(codes.SCT.Recumbent)]
    dataset.PatientOrientationCodeSequence[0].PatientOrientationModifierCodeSequence = [_code(codes.SCT.Supine)]
    dataset.PatientGantryRelationshipCodeSequence = [_code(codes.SCT.Headfirst)]


def _image(dataset: Dataset, counts: np.ndarray, spacing: tuple[float, float]) -> None:
    frames = np.ascontiguousarray(np.moveaxis(counts, 2, 0))
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    dataset.ImageComments = "Simulated; research use only"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.NumberOfFrames = len(frames)
    dataset.FrameIncrementPointer = [0x00540010, 0x00540020]
    dataset.Rows, dataset.Columns = frames.shape[1:]
    dataset.PixelSpacing = [f"{spacing[0]:g}", f"{spacing[1]:g}"]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.SmallestImagePixelValue = int(frames.min())
    dataset.LargestImagePixelValue = int(frames.max())
    # Window up to the count that 99.5 % of the counted pixels do not exceed, else the bladder pales the skeleton.
    histogram = np.bincount(frames.ravel())
    histogram[0] = 0
    top = max(int(np.argmax(np.cumsum(histogram) >= 0.995 * histogram.sum())), 2)
    dataset.WindowCenter = f"{top / 2:.1f}"
    dataset.WindowWidth = str(top)
    dataset.LossyImageCompression = "00"
    dataset.PixelData = frames.astype("<u2").tobytes()


def _nuclear_medicine(
    dataset: Dataset, counts: np.ndarray, header: NMHeader, views: Sequence[str], spacing: tuple[float, float]
) -> None:
    rows, columns, _ = counts.shape
    duration = header.scan_seconds * 1000
    dataset.CountsAccumulated = int(counts.sum(dtype=np.int64))
    dataset.ActualFrameDuration = round(duration)
    dataset.AcquisitionTerminationCondition = "TIME"
    dataset.WholeBodyTechnique = "1PS"
    length = header.scan_length_mm or rows * spacing[0]
    dataset.ScanLength = round(length)
    dataset.ScanVelocity = f"{length / max(header.scan_seconds, 1.0):.3f}"
    dataset.CorrectedImage = ["NRGY", "LIN", "UNIF"]

    window_range = Dataset()
    window_range.EnergyWindowLowerLimit = "126.45"
    window_range.EnergyWindowUpperLimit = "154.55"
    window = Dataset()
    window.EnergyWindowName = "Tc99m"
    window.EnergyWindowRangeSequence = [window_range]
    dataset.EnergyWindowVector = [1] * len(views)
    dataset.NumberOfEnergyWindows = 1
    dataset.EnergyWindowInformationSequence = [window]

    tracer = Dataset()
    tracer.RadionuclideCodeSequence = [_code(codes.SCT._99mTechnetium)]
    tracer.RadiopharmaceuticalCodeSequence = [_code(TRACERS[header.tracer])]
    tracer.Radiopharmaceutical = TRACERS[header.tracer].meaning
    tracer.RadiopharmaceuticalRoute = "Intravenous route"
    tracer.AdministrationRouteCodeSequence = [_code(codes.SCT.IntravenousRoute)]
    tracer.RadiopharmaceuticalStartTime = _clock(12 * 60 - header.uptake_minutes)
    tracer.RadionuclideTotalDose = f"{header.dose_mbq:.1f}"
    dataset.RadiopharmaceuticalInformationSequence = [tracer]

    dataset.DetectorVector = list(range(1, len(views) + 1))
    dataset.NumberOfDetectors = len(views)
    dataset.DetectorInformationSequence = [_detector(view, (rows, columns), spacing) for view in views]
    dataset.AcquisitionContextSequence = []


def _detector(view: str, shape: tuple[int, int], spacing: tuple[float, float]) -> Dataset:
    detector = Dataset()
    detector.CollimatorGridName = "LEHR"
    detector.CollimatorType = "PARA"
    detector.FieldOfViewShape = "RECTANGLE"
    detector.FieldOfViewDimensions = [round(shape[1] * spacing[1]), round(shape[0] * spacing[0])]
    detector.FocalDistance = 0
    detector.XFocusCenter = detector.YFocusCenter = "0"
    detector.ZoomCenter = ["0", "0"]
    detector.ZoomFactor = ["1", "1"]
    detector.CenterOfRotationOffset = "0"
    detector.GantryDetectorTilt = "0"
    detector.StartAngle = "0" if view == "anterior" else "180"
    detector.RadialPosition = "0"
    # The middle column is x = 0 and the first row z = 0; LPS, so the anterior view starts at the patient's right.
    left_edge = -spacing[1] * (shape[1] - 1) / 2
    detector.ImageOrientationPatient = _ORIENTATIONS[view]
    detector.ImagePositionPatient = [f"{left_edge if view == 'anterior' else -left_edge:.2f}", "0", "0"]
    detector.ViewCodeSequence = [_code(_VIEW_CODES[view])]
    return detector


def _clock(minutes: float) -> str:
    hours, rest = divmod(round(minutes) % (24 * 60), 60)
    return f"{hours:02d}{rest:02d}00"


def _code(concept: object) -> Dataset:
    item = Dataset()
    item.CodeValue = concept.value  # type: ignore[attr-defined]
    item.CodingSchemeDesignator = concept.scheme_designator  # type: ignore[attr-defined]
    item.CodeMeaning = concept.meaning  # type: ignore[attr-defined]
    return item
