"""Writing axial slices as standard DICOM CT Image Storage (PS3.3 A.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.uid import CTImageStorage

from bonemets.dicom.identifiers import make_uid
from bonemets.dicom.simulated import (
    PatientHeader,
    add_file_meta,
    describe_equipment,
    describe_patient,
    describe_series,
    describe_study,
)

RESCALE_INTERCEPT = -1024
"""Stored values are unsigned with this intercept and slope 1, as most scanners write them."""


@dataclass(frozen=True)
class CTHeader(PatientHeader):
    """What the headers of a CT series say about patient and acquisition; nothing that identifies anyone.

    Args:
        patient: pseudonym, used as patient ID and name.
        series_description: shown by viewers.
        thickness: slice thickness in mm.
        contrast: name of the contrast medium's phase, empty without contrast medium.
        kvp: tube voltage in kV.
        model: its name.
        others: see `PatientHeader`.
    """

    patient: str
    series_description: str = "Axial CT"
    thickness: float = 2.5
    contrast: str = ""
    kvp: float = 120
    model: str = "Simulated CT"


def ct_bytes(
    hu: np.ndarray, origin: Sequence[float], pixel: float, number: int, header: CTHeader, *, study: str | None = None
) -> bytes:
    """One slice as a DICOM file, the same bytes for the same input.

    Args:
        hu: (H, W) int16 Hounsfield units; rows from anterior to posterior, columns from the patient's right to left.
        origin: position in mm of the first pixel's center in DICOM's patient coordinates (to the left, to the back, to
            the head).
        pixel: pixel size in mm.
        number: number of the slice in the series, from 1.
        header: patient and acquisition.
        study: what the identifiers follow from, together with the patient; by default the patient alone. A planar scan
            written with the same patient and study shares the frame of reference.

    Returns:
        The file's content.

    Raises:
        ValueError: if `hu` is not (H, W) int16 of at least -1024 HU.
    """
    buffer = BytesIO()
    dcmwrite(buffer, ct_dataset(hu, origin, pixel, number, header, study=study), enforce_file_format=True)
    return buffer.getvalue()


def ct_dataset(
    hu: np.ndarray, origin: Sequence[float], pixel: float, number: int, header: CTHeader, *, study: str | None = None
) -> Dataset:
    """The data set of :func:`ct_bytes`; same arguments."""
    if hu.dtype != np.int16 or hu.ndim != 2:
        raise ValueError(f"hu must be (H, W) int16, got {hu.shape} {hu.dtype}")
    if hu.min() < RESCALE_INTERCEPT:
        raise ValueError(f"hu must be at least {RESCALE_INTERCEPT}, got {hu.min()}")
    name = (header.patient, study or "")
    dataset = Dataset()
    describe_patient(dataset, header.patient, header)
    describe_study(dataset, make_uid("ct study", *name), "2", "CT")
    describe_series(dataset, "CT", make_uid("ct series", *name), header.series_description, name)
    describe_equipment(dataset, header.manufacturer, header.model)
    dataset.PatientPosition = "HFS"
    _slice(dataset, hu, origin, pixel, number, header)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = make_uid("ct instance", *name, number)
    add_file_meta(dataset)
    return dataset


def _slice(
    dataset: Dataset, hu: np.ndarray, origin: Sequence[float], pixel: float, number: int, header: CTHeader
) -> None:
    stored = (hu.astype(np.int32) - RESCALE_INTERCEPT).astype("<u2")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImageComments = "Simulated; research use only"
    dataset.InstanceNumber = number
    dataset.AcquisitionNumber = 1
    dataset.ImagePositionPatient = [f"{value:.3f}" for value in origin]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.SliceLocation = f"{origin[2]:.3f}"
    dataset.SliceThickness = f"{header.thickness:g}"
    dataset.PixelSpacing = [f"{pixel:g}", f"{pixel:g}"]
    dataset.KVP = f"{header.kvp:g}"
    dataset.ReconstructionDiameter = f"{pixel * hu.shape[1]:.2f}"
    if header.contrast:
        dataset.ContrastBolusAgent = f"Simulated iodine, {header.contrast} phase"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept = str(RESCALE_INTERCEPT)
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "HU"
    dataset.WindowCenter = ["400", "40"]
    dataset.WindowWidth = ["1600", "400"]
    dataset.WindowCenterWidthExplanation = ["BONE", "SOFT TISSUE"]
    dataset.LossyImageCompression = "00"
    dataset.PixelData = stored.tobytes()
