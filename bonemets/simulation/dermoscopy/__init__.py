"""Dermoscopic images: skin, lesion, artifacts and the cohort of them."""

from __future__ import annotations

from bonemets.moved import passed_on

__getattr__ = passed_on(__name__)
