"""Inferers that MONAI lacks."""

from bonemets.inferers.autocast import AutocastInferer
from bonemets.inferers.resized import ResizedInferer

__all__ = ["AutocastInferer", "ResizedInferer"]
