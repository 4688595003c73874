"""Writing the findings of a CT as a DICOM structured report: Comprehensive SR by template TID 1500 (PS3.16)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from bonemets.data.ct.scan import CTScan, from_display
from bonemets.data.findings import CTFinding
from bonemets.dicom.algorithm import Algorithm
from bonemets.dicom.sr_content import (
    CERTAINTY,
    Quantity,
    measurements,
    regions,
    total,
    write_report,
)

# A milliliter is a cubic centimeter, which is the unit that DICOM has a code for.
VOLUME = Quantity("volume_ml", codes.SCT.Volume, codes.UCUM.CubicCentimeter)
TOTAL_VOLUME = Quantity("volume_ml", codes.SCT.Volume, codes.UCUM.CubicCentimeter, codes.SCT.Total)
QUANTITIES = (
    VOLUME,
    Quantity("area_cm2", codes.SCT.Area, codes.UCUM.SquareCentimeter, codes.SCT.Maximum),
    Quantity("value_max", codes.DCM.MaximumAttenuationCoefficient, codes.UCUM.HounsfieldUnit),
    Quantity("value_mean", codes.DCM.MeanAttenuationCoefficient, codes.UCUM.HounsfieldUnit),
    CERTAINTY,
)


def write_ct_sr(
    path: Path | str,
    source: CTScan,
    numbered: NDArray,
    findings: Sequence[CTFinding],
    algorithm: Algorithm,
    *,
    series_number: int = 101,
) -> None:
    """Write the findings of a CT: outlines on their slices and numbers of each, and number and volume of all.

    A finding is a volumetric region of interest (TID 1411): outer outlines on every slice that it reaches; holes are
    left out of the area and the volume, but not drawn. A last group (TID 1501) is for all findings, so that a CT
    without any has a report that says zero. Nobody has verified it: the report is unverified and preliminary.

    Args:
        path: the file to write, whole or not at all.
        source: the CT, read from DICOM.
        numbered: (H, W, K), each finding's number where it is, as displayed, slices in the CT's order.
        findings: one per lesion component.
        algorithm: what made them.
        series_number: number of the new series in the study.

    Raises:
        ValueError: if the CT is not from DICOM, or the numbers' shape is not the CT's.
        InputError: if the file cannot be written.
    """
    if not source.datasets:
        raise ValueError("source must be a CT that was read from DICOM")
    if numbered.shape != source.pixels.shape:
        raise ValueError(f"numbered must have the CT's shape {source.pixels.shape}, got {numbered.shape}")
    import highdicom as hd

    stored = from_display(numbered, source.source_affine, source.source_shape).transpose(2, 1, 0)
    groups = []
    for finding in findings:
        inside = stored == finding.number
        # From the largest: viewers open a report where its first outlines are.
        areas = inside.sum(axis=(1, 2))
        reached = np.argsort(-areas, kind="stable")[: np.count_nonzero(areas)]
        outlines = [part for index in reached for part in regions(inside[index], source.datasets[index], None)]
        groups.append(
            hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=hd.sr.TrackingIdentifier(
                    uid=generate_uid(None), identifier=f"finding {finding.number}"
                ),
                referenced_regions=outlines,
                finding_type=codes.SCT.BonyMetastasis,
                finding_category=codes.SCT.MorphologicallyAbnormalStructure,
                measurements=measurements(finding, QUANTITIES),
                algorithm_id=algorithm.in_report(),
            )
        )
    groups.append(total("all slices", findings, "volume_ml", TOTAL_VOLUME, [], algorithm))
    write_report(
        path,
        source.datasets,
        groups,
        codes.LN.CTUnspecifiedBodyRegion,
        algorithm,
        series_number=series_number,
    )
