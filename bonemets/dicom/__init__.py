"""DICOM in and out: Nuclear Medicine images, segmentations and structured reports."""

from __future__ import annotations

from bonemets.dicom.algorithm import Algorithm
from bonemets.dicom.identifiers import make_uid
from bonemets.dicom.nm import NMHeader, write_nm
from bonemets.dicom.seg import read_seg, write_seg
from bonemets.dicom.seg_ct import write_ct_seg
from bonemets.dicom.sr import write_sr
from bonemets.dicom.sr_ct import write_ct_sr

__all__ = [
    "Algorithm",
    "NMHeader",
    "make_uid",
    "read_seg",
    "write_ct_seg",
    "write_ct_sr",
    "write_nm",
    "write_seg",
    "write_sr",
]
