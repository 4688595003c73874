"""What reports of scans and of CT share: Comprehensive SR by template TID 1500, Measurement Report (PS3.16)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from contourpy import LineType, contour_generator
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.sr.codedict import Code, codes
from pydicom.uid import generate_uid

from bonemets.data.files import write_bytes
from bonemets.data.findings import CTFinding, Finding
from bonemets.dicom.algorithm import Algorithm
from bonemets.dicom.identifiers import make_uid
from bonemets.dicom.source_header import source_header

if TYPE_CHECKING:
    from highdicom.sr import ImageRegion, Measurement

    MeasurementGroup = Any

# Below one half, pixels that touch at a corner alone are in one outline, as they are in one finding.
OUTLINE_LEVEL = 0.49
# Of the codes that no standard has.
SCHEME = "99BONEMETS"


@dataclass(frozen=True)
class Quantity:
    """How one number of a finding is coded.

    Args:
        key: the number's name in ``result.json``.
        name: the concept.
        unit: its UCUM unit.
        derivation: how it follows from the pixels, as maximum or mean.
        factor: from the number to the unit.
    """

    key: str
    name: Code
    unit: Code
    derivation: Code | None = None
    factor: float = 1.0


CERTAINTY = Quantity("probability_max", codes.DCM.CertaintyOfFinding, codes.UCUM.Percent, codes.SCT.Maximum, 100.0)
# OHIF 3.10 stops at a number in a group without outlines that has no modifier, here the derivation.
NUMBER = Quantity("number", Code("246206008", "SCT", "Number of lesions"), codes.UCUM.NoUnits, codes.SCT.Total)


def write_report(
    path: Path | str,
    evidence: Sequence[Dataset],
    groups: Sequence[MeasurementGroup],
    procedure: Code,
    algorithm: Algorithm,
    *,
    series_number: int,
) -> None:
    """Write measurement groups as one report of the images' study.

    Args:
        path: the file to write, whole or not at all.
        evidence: the images that were looked at; the first one's patient and study are the report's.
        groups: measurement groups of highdicom.
        procedure: what kind of examination it was (PS3.16 CID 100).
        algorithm: what made the measurements; it is the observer.
        series_number: number of the new series in the study.
    """
    import highdicom as hd

    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=make_uid("device", algorithm.name, algorithm.version),
        name=algorithm.name,
        manufacturer_name="bonemets",
        model_name=algorithm.name,
        serial_number="0",
    )
    observer = hd.sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=procedure,
        imaging_measurements=groups,
    )
    # The template is extensible (PS3.16): readers that show any text show this.
    contains = hd.sr.RelationshipTypeValues.CONTAINS
    content[0].ContentSequence.append(hd.sr.TextContentItem(codes.DCM.Comment, algorithm.remark, contains))
    with warnings.catch_warnings():
        # highdicom warns of names without a "^".
        warnings.simplefilter("ignore")
        report = hd.sr.ComprehensiveSR(
            evidence=[source_header(dataset) for dataset in evidence],
            content=content[0],
            series_instance_uid=generate_uid(None),
            series_number=series_number,
            sop_instance_uid=generate_uid(None),
            instance_number=1,
            manufacturer="bonemets",
            is_complete=True,
            series_description="Bone metastases, automatic; research use only",
        )
    report.CompletionFlagDescription = algorithm.remark
    report.ManufacturerModelName = algorithm.name
    report.SoftwareVersions = algorithm.version
    report.DeviceSerialNumber = "0"
    if any(item.keyword == "CodingSchemeDesignator" and item.value == SCHEME for item in report.iterall()):
        scheme = Dataset()
        scheme.CodingSchemeDesignator, scheme.CodingSchemeName = SCHEME, "bonemets"
        report.CodingSchemeIdentificationSequence = [scheme]
    buffer = BytesIO()
    dcmwrite(buffer, report, enforce_file_format=True)
    write_bytes(path, buffer.getvalue())


def measurements(finding: Finding | CTFinding, quantities: Iterable[Quantity]) -> list[Measurement]:
    """The numbers that a finding has, rounded as in ``result.json``; those that are None are left out."""
    values = finding.as_dict()
    return [measurement(quantity, values[quantity.key]) for quantity in quantities if values[quantity.key] is not None]


def measurement(quantity: Quantity, value: float) -> Measurement:
    """One number as a measurement (TID 300)."""
    import highdicom as hd

    return hd.sr.Measurement(
        name=quantity.name,
        value=value if isinstance(value, int) else round(value * quantity.factor, 4),
        unit=quantity.unit,
        derivation=quantity.derivation,
    )


def total(
    name: str,
    findings: Sequence[Finding] | Sequence[CTFinding],
    key: str,
    quantity: Quantity,
    images: Sequence[Any],
    algorithm: Algorithm,
) -> MeasurementGroup:
    """A group for all findings of some images: how many, and the sum of one number where every finding has it."""
    import highdicom as hd

    numbers = [measurement(NUMBER, len(findings))]
    values = [finding.as_dict()[key] for finding in findings]
    if None not in values:
        numbers.append(measurement(quantity, sum(values)))
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=generate_uid(None), identifier=name),
        measurements=numbers,
        source_images=images,
        algorithm_id=algorithm.in_report(),
    )


def regions(inside: NDArray[np.bool_], dataset: Dataset, frame: int | None) -> list[ImageRegion]:
    """Closed outer outlines of an area of one image, the longest first.

    Args:
        inside: (rows, columns) as stored.
        dataset: the image.
        frame: number of the frame, from 1; None for an image of a single-frame class.

    Returns:
        Regions whose points are columns and rows from the upper left corner of the image, so that the middle of the
        first pixel is (0.5, 0.5). Exactly the area's pixels, and those of its holes, have their middles inside.
    """
    import highdicom as hd
    from scipy import ndimage

    filled = np.pad(ndimage.binary_fill_holes(inside), 1).astype(np.float64)
    lines = contour_generator(z=filled, line_type=LineType.Separate).lines(OUTLINE_LEVEL)
    points = sorted((np.asarray(line, np.float64) - 0.5 for line in lines), key=len, reverse=True)
    image = hd.sr.SourceImageForRegion(dataset.SOPClassUID, dataset.SOPInstanceUID, None if frame is None else [frame])
    return [hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, line, image) for line in points]
