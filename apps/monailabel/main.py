"""The MONAI Label app for bone scans, CT and color pictures: ``bonemets label`` serves it.

MONAI Label looks in this file for a subclass of its ``MONAILabelApp``. What it does is in the package: models and the
choice of the next item in `bonemets.labeling.tasks`, labels and their versions in `bonemets.labeling.store`.
"""

from __future__ import annotations

from bonemets.labeling.server.app import BonemetsApp

__all__ = ["BonemetsApp"]
