"""Planar scans: Nuclear Medicine DICOM, NIfTI, NRRD and pictures, as displayed."""

from __future__ import annotations

from bonemets.moved import passed_on

__getattr__ = passed_on(__name__)
