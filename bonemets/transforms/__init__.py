"""Transforms for planar bone scans, array and dictionary versions as in MONAI."""

from bonemets.transforms.body import body_mask, find_shoulders
from bonemets.transforms.crop import CropThorax, CropThoraxd
from bonemets.transforms.intensity import NormalizeCounts, NormalizeCountsd
from bonemets.transforms.label import IGNORE, LESION, IgnoreRegiond, LesionLabel, LesionLabeld
from bonemets.transforms.mask_writer import PlanarMaskWriter

__all__ = [
    "IGNORE",
    "LESION",
    "CropThorax",
    "CropThoraxd",
    "IgnoreRegiond",
    "LesionLabel",
    "LesionLabeld",
    "NormalizeCounts",
    "NormalizeCountsd",
    "PlanarMaskWriter",
    "body_mask",
    "find_shoulders",
]
