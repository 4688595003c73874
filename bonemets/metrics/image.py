"""Everything that is measured on one image; what is measured on a cohort is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics.calibration import SUSPICION, CalibrationCounts, calibration_counts
from bonemets.metrics.evaluation.simulated import LesionFacts, SimulatedView
from bonemets.metrics.froc import FrocCounts, froc_counts
from bonemets.metrics.lesions import IGNORE, LesionMatch, LesionOverlap, overlap_lesions
from bonemets.metrics.pixel import PixelCounts, count_pixels
from bonemets.metrics.surface import surface_distances

# When a finding counts as a lesion found: any shared pixel, or an intersection over union. A human outline reaches
# 0.5 on most lesions; 0.1 asks for the right place alone, which is what matters on lesions of a few pixels.
CRITERIA = {"any": 0.0, "iou10": 0.1, "iou50": 0.5}


@dataclass(frozen=True)
class ImageResult:
    """What was measured on one image.

    Args:
        name: the item's image, as the data list names it.
        patient: the patient.
        view: the view; may be empty.
        spacing: row and column spacing in mm.
        pixels: its confusion matrix.
        hausdorff_95: 95th percentile of the Hausdorff distance, mm; NaN unless both masks have an outline.
        surface_dice: surface Dice; NaN where neither mask has an outline.
        matches: criterion → how its lesions (connected components) and findings match.
        lesion_areas: area of each lesion, mm².
        instances: criterion → how its numbered lesions and findings match; empty where none are numbered.
        instance_facts: what is known about each numbered lesion.
        false_regions: region of the skeleton of each false finding at any overlap; empty where there is no bone map.
        area_true: area of the true lesions, mm².
        area_predicted: area marked outside of ignored pixels, mm².
        ignored_pixels: pixels with label 2.
        score: highest probability outside of ignored pixels.
        froc: lesions and false findings over all thresholds; None for masks.
        calibration: of all pixels; None for masks.
        calibration_suspicious: of the pixels with a probability of at least `SUSPICION`; None for masks.
        rows: one dict per lesion, numbered lesion and finding, for the table of lesions.
    """

    name: str
    patient: str
    view: str
    spacing: tuple[float, float]
    pixels: PixelCounts
    hausdorff_95: float
    surface_dice: float
    matches: dict[str, LesionMatch]
    lesion_areas: NDArray[np.float64]
    instances: dict[str, LesionMatch]
    instance_facts: list[LesionFacts]
    false_regions: list[str]
    area_true: float
    area_predicted: float
    ignored_pixels: int
    score: float
    froc: FrocCounts | None = None
    calibration: CalibrationCounts | None = None
    calibration_suspicious: CalibrationCounts | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)


def measure_image(
    probability: NDArray,
    truth: NDArray,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    threshold: float = 0.5,
    tolerance: float = 5.0,
    is_probability: bool = True,
    simulated: SimulatedView | None = None,
    name: str = "",
    patient: str = "",
    view: str = "",
) -> ImageResult:
    """Measure one prediction.

    Args:
        probability: (H, W), 0 to 1; a mask is a probability of 0 and 1.
        truth: (H, W) label: 0 background, 1 lesion, 2 ignore.
        spacing: row and column spacing, mm.
        threshold: a pixel is marked where the probability reaches it.
        tolerance: of the surface Dice, mm.
        is_probability: whether to measure what needs more than a mask: FROC and calibration.
        simulated: what the simulator left beside the label.
        name: the item's image.
        patient: the patient.
        view: the view.
    """
    mask = probability >= threshold
    pixel_area = spacing[0] * spacing[1]
    pixels = count_pixels(mask, truth)
    outlines = surface_distances(mask, truth, spacing)
    overlap = overlap_lesions(mask, truth)
    matches = {criterion: overlap.match(iou) for criterion, iou in CRITERIA.items()}
    instances: dict[str, LesionMatch] = {}
    facts: list[LesionFacts] = []
    rows = _lesion_rows(overlap, matches, "lesion", pixel_area)
    if simulated is not None:
        numbered = overlap_lesions(mask, truth, instances=simulated.instances)
        instances = {criterion: numbered.match(iou) for criterion, iou in CRITERIA.items()}
        facts = [_facts(simulated, numbered, index) for index in range(len(numbered.numbers))]
        rows += _lesion_rows(numbered, instances, "numbered lesion", pixel_area, facts)
    findings = _finding_rows(overlap, matches, probability, pixel_area, simulated)
    counted = np.where(truth == IGNORE, 0, probability)
    areas = np.bincount(overlap.lesions.ravel(), minlength=len(overlap.numbers) + 1)[1:]
    return ImageResult(
        name=name,
        patient=patient,
        view=view,
        spacing=spacing,
        pixels=pixels,
        hausdorff_95=outlines.hausdorff(95),
        surface_dice=outlines.surface_dice(tolerance),
        matches=matches,
        lesion_areas=np.asarray(areas * pixel_area, dtype=np.float64),
        instances=instances,
        instance_facts=facts,
        false_regions=[row["region"] for row in findings if row["counted"] and not row["matched_any"]],
        area_true=(pixels.tp + pixels.fn) * pixel_area,
        area_predicted=(pixels.tp + pixels.fp) * pixel_area,
        ignored_pixels=int(np.count_nonzero(truth == IGNORE)),
        score=float(counted.max()),
        froc=froc_counts(probability, truth, marking=threshold) if is_probability else None,
        calibration=calibration_counts(probability, truth) if is_probability else None,
        calibration_suspicious=calibration_counts(probability, truth, above=SUSPICION) if is_probability else None,
        rows=[{"image": name, "patient": patient, "view": view, **row} for row in rows + findings],
    )


def _facts(simulated: SimulatedView, overlap: LesionOverlap, index: int) -> LesionFacts:
    """What is known about a numbered lesion; where its region is not recorded, the bone map tells."""
    known = simulated.facts.get(int(overlap.numbers[index]), LesionFacts())
    if known.region:
        return known
    return LesionFacts(known.bone, simulated.region_at(overlap.lesions == index + 1), known.clustered)


def _lesion_rows(
    overlap: LesionOverlap,
    matches: dict[str, LesionMatch],
    kind: str,
    pixel_area: float,
    facts: list[LesionFacts] | None = None,
) -> list[dict[str, Any]]:
    number = len(overlap.numbers)
    areas, centers, _ = _describe(overlap.lesions, number)
    best = overlap.iou.max(axis=1) if overlap.iou.size else np.zeros(number)
    rows = []
    for index, (number, area, center, iou) in enumerate(zip(overlap.numbers, areas, centers, best, strict=True)):
        known = facts[index] if facts else LesionFacts()
        rows.append(
            {
                "kind": kind,
                "number": int(number),
                "row": center[0],
                "column": center[1],
                "area_px": int(area),
                "area_mm2": area * pixel_area,
                "bone": known.bone,
                "region": known.region,
                "clustered": "" if known.clustered is None else int(known.clustered),
                "best_iou": iou,
                **{f"matched_{criterion}": int(match.detected[index]) for criterion, match in matches.items()},
            }
        )
    return rows


def _finding_rows(
    overlap: LesionOverlap,
    matches: dict[str, LesionMatch],
    probability: NDArray,
    pixel_area: float,
    simulated: SimulatedView | None,
) -> list[dict[str, Any]]:
    number = len(overlap.areas)
    areas, centers, peaks = _describe(overlap.findings, number, probability)
    best = overlap.iou.max(axis=0) if overlap.iou.size else np.zeros(number)
    return [
        {
            "kind": "finding",
            "number": number,
            "row": center[0],
            "column": center[1],
            "area_px": int(area),
            "area_mm2": area * pixel_area,
            "region": "" if simulated is None else simulated.region_at(overlap.findings == number),
            "best_iou": iou,
            "max_probability": float(peak),
            "counted": int(not matches["any"].ignored[number - 1]),
            **{f"matched_{criterion}": int(match.matched[number - 1]) for criterion, match in matches.items()},
        }
        for number, (area, center, peak, iou) in enumerate(zip(areas, centers, peaks, best, strict=True), start=1)
    ]


def _describe(
    labels: NDArray[np.int32], number: int, values: NDArray | None = None
) -> tuple[NDArray, NDArray, NDArray]:
    """Pixels, center (row, column) and highest value of each component 1..number, from its pixels alone."""
    places = np.flatnonzero(labels)
    component = labels.ravel()[places] - 1
    areas = np.bincount(component, minlength=number)
    sums = [np.bincount(component, weights=axis, minlength=number) for axis in np.unravel_index(places, labels.shape)]
    peaks = np.zeros(number)
    if values is not None:
        np.maximum.at(peaks, component, values.ravel()[places])
    return areas, np.stack(sums, axis=1) / np.maximum(areas, 1)[:, None], peaks


def bears_lesion(result: ImageResult) -> bool:
    """Whether the label has a lesion that counts."""
    return result.pixels.tp + result.pixels.fn > 0
