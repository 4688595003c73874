"""Metrics: from pixels to lesions to patients, with intervals; docs/reference/metrics.md defines every one.

Nothing here needs torch, so that an evaluation starts at once.
"""

from bonemets.metrics.comparison.comparison import PairedTest, compare_paired, compare_patients, holm
from bonemets.metrics.image import ImageResult, measure_image
from bonemets.metrics.lesions import (
    LesionCounts,
    LesionMatch,
    LesionOverlap,
    lesion_components,
    match_lesions,
    overlap_lesions,
)
from bonemets.metrics.pixel import PixelCounts, count_pixels
from bonemets.metrics.surface import SurfaceDistances, surface_distances

__all__ = [
    "ImageResult",
    "LesionCounts",
    "LesionMatch",
    "LesionOverlap",
    "PairedTest",
    "PixelCounts",
    "SurfaceDistances",
    "compare_paired",
    "compare_patients",
    "count_pixels",
    "holm",
    "lesion_components",
    "match_lesions",
    "measure_image",
    "overlap_lesions",
    "surface_distances",
]
