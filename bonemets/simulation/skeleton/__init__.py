"""The skeleton: named bones as meshes, their joints and the pose of a patient."""

from __future__ import annotations

from bonemets.moved import passed_on

__getattr__ = passed_on(__name__)
