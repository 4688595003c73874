"""DICOM in and out: Nuclear Medicine images and segmentations."""

from __future__ import annotations

from bonemets.dicom.identifiers import make_uid
from bonemets.dicom.nm import NMHeader, write_nm
from bonemets.dicom.seg import read_seg, write_seg
from bonemets.dicom.seg_ct import write_ct_seg

__all__ = ["NMHeader", "make_uid", "read_seg", "write_ct_seg", "write_nm", "write_seg"]
