"""Statistics over patients and trainings: intervals, pooling, paired tests."""

from __future__ import annotations

from bonemets.moved import passed_on

__getattr__ = passed_on(__name__)
