"""A whole evaluation: predictions beside labels, every measure per image, lesion, patient and cohort."""

from __future__ import annotations

from bonemets.moved import passed_on

__getattr__ = passed_on(__name__)
