"""DICOM in and out: Nuclear Medicine images, segmentations and structured reports."""

from __future__ import annotations

from bonemets.dicom.algorithm import Algorithm
from bonemets.dicom.ct_seg import write_ct_seg
from bonemets.dicom.ct_sr import write_ct_sr
from bonemets.dicom.identifiers import make_uid
from bonemets.dicom.nm import NMHeader, write_nm
from bonemets.dicom.seg import read_seg, write_seg
from bonemets.dicom.sr import write_sr

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
