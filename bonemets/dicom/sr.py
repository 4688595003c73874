"""Writing a planar scan's findings as a DICOM structured report: Comprehensive SR by template TID 1500 (PS3.16)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from pydicom.sr.codedict import Code, codes
from pydicom.uid import generate_uid

from bonemets.data.findings import Finding
from bonemets.data.planar.scan import PlanarScan
from bonemets.dicom.algorithm import Algorithm
from bonemets.dicom.bone_codes import bone_codes
from bonemets.dicom.source_header import reference_number
from bonemets.dicom.sr_content import (
    CERTAINTY,
    SCHEME,
    Quantity,
    measurements,
    regions,
    total,
    write_report,
)

if TYPE_CHECKING:
    from highdicom.sr import FindingSite

# Viewers show a number's name and unit, but not how it was derived (OHIF 3.10): the names say it.
COUNTS_MAX = Code("counts-max", SCHEME, "Maximum counts of a pixel")
COUNTS_MEAN = Code("counts-mean", SCHEME, "Mean counts of a pixel")
UPTAKE_RATIO = Code("uptake-ratio", SCHEME, "Mean counts over those of the rest of the body")

AREA = Quantity("area_cm2", codes.SCT.Area, codes.UCUM.SquareCentimeter)
TOTAL_AREA = Quantity("area_cm2", codes.SCT.Area, codes.UCUM.SquareCentimeter, codes.SCT.Total)
PLANAR = (
    AREA,
    Quantity("uptake_ratio", UPTAKE_RATIO, codes.UCUM.Ratio),
    Quantity("counts_max", COUNTS_MAX, codes.UCUM.Counts),
    Quantity("counts_mean", COUNTS_MEAN, codes.UCUM.Counts),
    CERTAINTY,
)


def write_sr(
    path: Path | str,
    source: PlanarScan,
    numbered: NDArray,
    findings: Sequence[Finding],
    algorithm: Algorithm,
    *,
    series_number: int = 101,
) -> None:
    """Write the findings of a planar bone scan: outline, bone and numbers of each, and number and area in each view.

    A finding is a planar region of interest (TID 1410) on its frame of the scan, with the bone as finding site. Its
    outline is the outer one: a hole is left out of the area, but not drawn. Each view has a group of its own (TID
    1501), so that a scan without findings has a report that says zero. Nobody has verified it: the report is
    unverified and preliminary.

    Args:
        path: the file to write, whole or not at all.
        source: the scan, read from DICOM.
        numbered: (H, W, V), each finding's number where it is, as displayed, views in the scan's order.
        findings: one per lesion component.
        algorithm: what made them.
        series_number: number of the new series in the study.

    Raises:
        ValueError: if the scan is not from DICOM, or the numbers' shape is not the scan's.
        InputError: if the file cannot be written.
    """
    if not source.frames:
        raise ValueError("source must be a scan that was read from DICOM")
    if numbered.shape != source.pixels.shape:
        raise ValueError(f"numbered must have the scan's shape {source.pixels.shape}, got {numbered.shape}")
    import highdicom as hd

    groups: list[Any] = []
    totals: list[Any] = []
    for index, (view, frame) in enumerate(zip(source.views, source.frames, strict=True)):
        found = [finding for finding in findings if finding.view == view]
        stored = frame.layout.store(numbered[..., index])
        number = reference_number(frame.dataset, frame.number)
        groups += [
            hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.sr.TrackingIdentifier(
                    uid=generate_uid(None), identifier=f"finding {finding.number}"
                ),
                referenced_region=regions(stored == finding.number, frame.dataset, number)[0],
                finding_type=codes.SCT.BonyMetastasis,
                finding_category=codes.SCT.MorphologicallyAbnormalStructure,
                finding_sites=_sites(finding.bone),
                measurements=measurements(finding, PLANAR),
                algorithm_id=algorithm.in_report(),
            )
            for finding in found
        ]
        image = hd.sr.SourceImageForMeasurementGroup(
            frame.dataset.SOPClassUID, frame.dataset.SOPInstanceUID, None if number is None else [number]
        )
        totals.append(total(f"{view} view", found, "area_cm2", TOTAL_AREA, [image], algorithm))
    evidence = {frame.dataset.SOPInstanceUID: frame.dataset for frame in source.frames}
    write_report(
        path,
        list(evidence.values()),
        groups + totals,
        codes.LN.NMUnspecifiedBodyRegion,
        algorithm,
        series_number=series_number,
    )


def _sites(name: str | None) -> list[FindingSite] | None:
    import highdicom as hd

    found = bone_codes(name)
    return [hd.sr.FindingSite(found[0], laterality=found[1])] if found else None
