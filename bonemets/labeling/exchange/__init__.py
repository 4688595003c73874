"""Labels to and from other tools: ITK-SNAP, LabelMe and DICOM SEG."""

from __future__ import annotations

from bonemets.moved import passed_on

__getattr__ = passed_on(__name__)
