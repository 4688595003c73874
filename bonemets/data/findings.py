"""What is found in a study, as numbers: one finding per lesion component of a bone scan or a CT."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One lesion component in one view.

    Args:
        number: 1, 2, … over all views of the study, in reading order (view, then head to feet).
        view: "anterior", "posterior" or "unknown".
        row: centroid from the top, pixels.
        column: centroid from the left, pixels.
        area_px: area in pixels.
        area_cm2: area in cm²; None where the pixel spacing is unknown.
        probability_max: the network's highest probability in the component.
        probability_mean: its mean.
        counts_max: highest pixel value.
        counts_mean: mean pixel value.
        uptake_ratio: mean pixel value over that of the rest of the body (without all lesions) in the same view; None
            where the image shows no body.
        bone: region of the skeleton that it lies in, as "right rib 5-8"; None where that is not certain, and in what
            is no bone scan. See `bonemets.anatomy`.
        bone_probability: the chance that this name is right or, without a name, that of the likeliest bone; None where
            the skeleton was not found in the image.
    """

    number: int
    view: str
    row: float
    column: float
    area_px: int
    area_cm2: float | None
    probability_max: float
    probability_mean: float
    counts_max: float
    counts_mean: float
    uptake_ratio: float | None
    bone: str | None = None
    bone_probability: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values, rounded to what they are worth."""
        digits = {"probability_max": 4, "probability_mean": 4, "area_cm2": 3, "uptake_ratio": 3, "bone_probability": 3}
        return {
            key: round(value, digits.get(key, 2)) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


@dataclass(frozen=True)
class CTFinding:
    """One lesion component.

    Args:
        number: 1, 2, … from head to feet.
        slice: the slice where its area is largest, from 1 at the feet.
        first_slice: its lowest slice.
        last_slice: its highest slice.
        height_mm: height of `slice` in patient coordinates (z); None where the file has no coordinates.
        sop_instance_uid: the DICOM image of `slice`; None for other formats.
        row: centroid in `slice` from the top, pixels.
        column: centroid in `slice` from the left, pixels.
        area_px: area in `slice`, pixels.
        area_cm2: the same in cm²; None where the pixel spacing is unknown.
        volume_ml: volume in ml; None for a single slice, and where slices are not evenly spaced.
        value_max: highest value in the component: Hounsfield units, or gray values of a picture.
        value_mean: mean value.
        probability_max: the network's highest probability in the component.
        probability_mean: its mean.
    """

    number: int
    slice: int
    first_slice: int
    last_slice: int
    height_mm: float | None
    sop_instance_uid: str | None
    row: float
    column: float
    area_px: int
    area_cm2: float | None
    volume_ml: float | None
    value_max: float
    value_mean: float
    probability_max: float
    probability_mean: float

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values, rounded to what they are worth."""
        digits = {"probability_max": 4, "probability_mean": 4, "area_cm2": 3, "volume_ml": 3}
        return {
            key: round(value, digits.get(key, 2)) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }
