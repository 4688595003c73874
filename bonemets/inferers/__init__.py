"""Inferers that MONAI lacks."""

from bonemets.inferers.resized import ResizedInferer

__all__ = ["ResizedInferer"]
