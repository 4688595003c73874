"""Transforms for planar bone scans, CT slices and pictures, array and dictionary versions as in MONAI."""

from bonemets.transforms.bladder import RemoveBladder, RemoveBladderd, find_bladder
from bonemets.transforms.body import body_mask, find_shoulders
from bonemets.transforms.clahe import Clahe, Clahed
from bonemets.transforms.crop import CropThorax, CropThoraxd
from bonemets.transforms.ct import CTMaskWriter, CTWindow, CTWindowd
from bonemets.transforms.intensity import NormalizeCounts, NormalizeCountsd
from bonemets.transforms.label import IGNORE, LESION, IgnoreRegiond, LesionLabel, LesionLabeld
from bonemets.transforms.mask_writer import PlanarMaskWriter
from bonemets.transforms.min_max import NormalizeMinMax, NormalizeMinMaxd
from bonemets.transforms.noise import RandSaltAndPepper, RandSaltAndPepperd
from bonemets.transforms.picture_writer import PictureMaskWriter
from bonemets.transforms.randomization import (
    RandBenignSpotsd,
    RandBladderd,
    RandBoneGaind,
    RandCountsd,
    RandDisplayd,
    RandFieldOfViewd,
    RandInjectiond,
    RandKidneysd,
    RandLesionsd,
    RandSoftTissued,
    RandUrined,
)
from bonemets.transforms.sliding_crops import SlidingCropsd, all_crops

__all__ = [
    "CTMaskWriter",
    "CTWindow",
    "CTWindowd",
    "Clahe",
    "Clahed",
    "CropThorax",
    "CropThoraxd",
    "IGNORE",
    "IgnoreRegiond",
    "LESION",
    "LesionLabel",
    "LesionLabeld",
    "NormalizeCounts",
    "NormalizeCountsd",
    "NormalizeMinMax",
    "NormalizeMinMaxd",
    "PictureMaskWriter",
    "PlanarMaskWriter",
    "RandBenignSpotsd",
    "RandBladderd",
    "RandBoneGaind",
    "RandCountsd",
    "RandDisplayd",
    "RandFieldOfViewd",
    "RandInjectiond",
    "RandKidneysd",
    "RandLesionsd",
    "RandSaltAndPepper",
    "RandSaltAndPepperd",
    "RandSoftTissued",
    "RandUrined",
    "RemoveBladder",
    "RemoveBladderd",
    "SlidingCropsd",
    "all_crops",
    "body_mask",
    "find_bladder",
    "find_shoulders",
]
