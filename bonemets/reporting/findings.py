"""What a mask says in numbers: one finding per lesion component and view.

Uptake is told relative to the rest of the body in the same view, since counts depend on dose, time and camera.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray
from scipy import ndimage

from bonemets.metrics.lesions import lesion_components
from bonemets.transforms.body import body_mask


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

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain JSON values, rounded to what they are worth."""
        digits = {"probability_max": 4, "probability_mean": 4, "area_cm2": 3, "uptake_ratio": 3}
        return {
            key: round(value, digits.get(key, 2)) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }


def measure_findings(
    pixels: NDArray,
    probability: NDArray,
    mask: NDArray,
    views: tuple[str, ...],
    spacing: tuple[float, float] | None,
) -> list[Finding]:
    """Measure every lesion component of a study.

    Args:
        pixels: counts, (H, W, V).
        probability: lesion probability, (H, W, V), 0 to 1.
        mask: lesion mask, (H, W, V).
        views: name of each of the V views.
        spacing: row and column pixel spacing in mm; None where unknown.

    Returns:
        The findings in reading order: view by view, head to feet.
    """
    findings: list[Finding] = []
    for index, view in enumerate(views):
        counts, chance = pixels[..., index], probability[..., index]
        labels, count = lesion_components(mask[..., index])
        rest = counts[body_mask(counts) & (labels == 0)]
        background = float(rest.mean()) if rest.size else 0.0
        places = ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))
        for label, (row, column) in sorted(enumerate(places, start=1), key=lambda item: item[1]):
            inside = labels == label
            mean = float(counts[inside].mean())
            findings.append(
                Finding(
                    number=len(findings) + 1,
                    view=view,
                    row=float(row),
                    column=float(column),
                    area_px=int(inside.sum()),
                    area_cm2=None if spacing is None else float(inside.sum() * spacing[0] * spacing[1] / 100),
                    probability_max=float(chance[inside].max()),
                    probability_mean=float(chance[inside].mean()),
                    counts_max=float(counts[inside].max()),
                    counts_mean=mean,
                    uptake_ratio=mean / background if background > 0 else None,
                )
            )
    return findings
