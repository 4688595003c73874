"""The MONAI Label app for bone scans, CT and color pictures: ``bonemets label`` serves it.

MONAI Label looks in this file for a subclass of its ``MONAILabelApp``. What it does is in the package: models in
`bonemets.labeling.bundle_infer` and `bonemets.labeling.bundle_train`, the next item in `bonemets.labeling.strategies`,
labels and their versions in `bonemets.labeling.datastore`.
"""

from __future__ import annotations

from bonemets.labeling.app import BonemetsApp

__all__ = ["BonemetsApp"]
