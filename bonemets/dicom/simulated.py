"""What every DICOM object of a simulated patient says: a pseudonym, fixed dates, and identifiers made from names."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

import bonemets
from bonemets.dicom.identifiers import make_uid

# Fixed, since a simulated scan has no date and equal input must give equal bytes.
SCAN_DATE = "20200101"
SCAN_TIME = "120000"


@dataclass(frozen=True, kw_only=True)
class PatientHeader:
    """What the headers of all modalities say about the patient; nothing that identifies anyone.

    Args:
        sex: ``"M"``, ``"F"`` or ``"O"``.
        age_years: age; above 89 is written as 89, as de-identification asks.
        height_m: body height in m.
        weight_kg: body weight in kg.
        manufacturer: maker of the scanner.
    """

    sex: str = "O"
    age_years: float = 60
    height_m: float = 1.70
    weight_kg: float = 75
    manufacturer: str = "bonemets"


def describe_patient(dataset: Dataset, patient: str, header: PatientHeader) -> None:
    """Fill the patient module with a pseudonym, and say that there is no person."""
    dataset.PatientName = f"Anonymous^{patient}"
    dataset.PatientID = patient
    dataset.PatientBirthDate = ""
    dataset.PatientSex = header.sex
    dataset.PatientAge = f"{round(min(header.age_years, 89)):03d}Y"
    dataset.PatientSize = f"{header.height_m:.2f}"
    dataset.PatientWeight = f"{header.weight_kg:.1f}"
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "Simulated: no person"


def describe_study(dataset: Dataset, uid: str, number: str, description: str) -> None:
    """Fill the study module, with the fixed date for all that has one."""
    dataset.StudyInstanceUID = uid
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = SCAN_DATE
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = SCAN_TIME
    dataset.StudyID = number
    dataset.StudyDescription = description
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""


def describe_series(dataset: Dataset, modality: str, uid: str, description: str, name: tuple[str, str]) -> None:
    """Fill the series and the frame of reference, which all objects of one `name` (patient, study) share."""
    dataset.Modality = modality
    dataset.SeriesInstanceUID = uid
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = description
    dataset.BodyPartExamined = "WHOLEBODY"
    dataset.FrameOfReferenceUID = make_uid("frame of reference", *name)
    dataset.PositionReferenceIndicator = ""


def describe_equipment(dataset: Dataset, manufacturer: str, model: str) -> None:
    """Fill the equipment module."""
    dataset.Manufacturer = manufacturer
    dataset.ManufacturerModelName = model
    dataset.DeviceSerialNumber = "0"
    dataset.SoftwareVersions = bonemets.__version__


def add_file_meta(dataset: Dataset) -> None:
    """Add the file's meta information: explicit VR, little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
