"""The patient: body around the posed skeleton, organs, normal uptake, benign spots and metastases."""

from __future__ import annotations

from bonemets.moved import passed_on

__getattr__ = passed_on(__name__)
