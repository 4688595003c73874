"""DICOM in and out: Nuclear Medicine images and segmentations."""

from __future__ import annotations

from bonemets.dicom.identifiers import make_uid
from bonemets.dicom.nm import NMHeader, write_nm
from bonemets.dicom.seg import read_seg, write_seg

__all__ = ["NMHeader", "make_uid", "read_seg", "write_nm", "write_seg"]
