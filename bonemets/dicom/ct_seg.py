"""Writing a mask of a CT series as DICOM Segmentation (PS3.3 A.51) on the slices that it was read from."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom import dcmwrite
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from bonemets.data.ct.scan import CTScan, from_display
from bonemets.data.files import write_bytes
from bonemets.dicom.algorithm import Algorithm
from bonemets.dicom.source_header import slice_header


def write_ct_seg(
    path: Path | str,
    source: CTScan,
    mask: np.ndarray,
    *,
    algorithm: Algorithm | None = None,
    algorithm_type: Literal["AUTOMATIC", "SEMIAUTOMATIC"] = "AUTOMATIC",
    series_description: str = "Bone metastases, automatic; research use only",
    series_number: int = 100,
) -> None:
    """Write one binary segmentation with a frame for each slice that has a lesion, as PACS expect it of a volume.

    Args:
        path: the file to write, whole or not at all.
        source: the CT, read from DICOM.
        mask: (H, W, K), nonzero = lesion, as displayed, slices in the CT's order.
        algorithm: what made the mask; None names the project alone.
        algorithm_type: ``"SEMIAUTOMATIC"`` for a mask that a person has reviewed.
        series_description: shown by viewers.
        series_number: number of the new series in the study.

    Raises:
        ValueError: if the CT is not from DICOM, or the mask's shape is not the CT's.
        InputError: if the file cannot be written.
    """
    if not source.datasets:
        raise ValueError("source must be a CT that was read from DICOM")
    if mask.shape != source.pixels.shape:
        raise ValueError(f"mask must have the CT's shape {source.pixels.shape}, got {mask.shape}")
    import highdicom as hd

    algorithm = algorithm or Algorithm()
    # (column, row, slice) as stored, to one frame of rows and columns per slice.
    stored = from_display((mask != 0).astype(np.uint8), source.source_affine, source.source_shape)
    segment = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Bone metastasis",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.BonyMetastasis,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues(algorithm_type),
        algorithm_identification=algorithm.in_segmentation(),
    )
    with warnings.catch_warnings():
        # highdicom warns of names without a "^".
        warnings.simplefilter("ignore")
        segmentation = hd.seg.Segmentation(
            source_images=[slice_header(dataset) for dataset in source.datasets],
            pixel_array=stored.transpose(2, 1, 0),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[segment],
            series_instance_uid=generate_uid(None),
            series_number=series_number,
            sop_instance_uid=generate_uid(None),
            instance_number=1,
            manufacturer="bonemets",
            manufacturer_model_name=algorithm.name,
            software_versions=algorithm.version,
            device_serial_number="0",
            content_label="BONE_METASTASES",
            content_description=algorithm.remark,
            series_description=series_description[:64],
            # A volume without any lesion keeps its empty frames: a segmentation has at least one.
            omit_empty_frames=bool(stored.any()),
        )
    buffer = BytesIO()
    dcmwrite(buffer, segmentation, enforce_file_format=True)
    write_bytes(path, buffer.getvalue())
