"""Losses that MONAI lacks."""

from bonemets.losses.ignore_label import IgnoreLabelLoss

__all__ = ["IgnoreLabelLoss"]
