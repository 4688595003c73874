"""Axial CT: DICOM series, NIfTI and pictures, in Hounsfield units."""

from __future__ import annotations

from bonemets.moved import passed_on

__getattr__ = passed_on(__name__)
