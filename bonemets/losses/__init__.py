"""Losses that MONAI lacks."""

from bonemets.losses.edge import EdgeLoss, JointEdgeLoss
from bonemets.losses.ignore_label import IgnoreLabelLoss
from bonemets.losses.multiscale_l1 import MultiScaleL1Loss, clip_weights, critic_input

__all__ = ["EdgeLoss", "IgnoreLabelLoss", "JointEdgeLoss", "MultiScaleL1Loss", "clip_weights", "critic_input"]
