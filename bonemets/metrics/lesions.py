"""Lesion-level agreement: which true lesions were found, and which findings are false.

A lesion is a connected component of the mask in its own view (2-D, 8-connected). Counts add up over images, so that
a cohort's sensitivity and false positives per image are those of the summed counts, not a mean of ratios.

**Ignore rule** (label 2: lesions that nobody could see, or equivocal ones): a finding that lies mostly on ignored
pixels is neither right nor wrong, and ignored pixels do not enter any overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)
LESION, IGNORE = 1, 2


def lesion_components(mask: NDArray) -> tuple[NDArray[np.int32], int]:
    """Label the 8-connected components of a 2-D mask.

    Args:
        mask: (H, W), any type; what is not zero belongs to a lesion.

    Returns:
        The labels 1..n in an (H, W) array (0 is background), and n.
    """
    if np.ndim(mask) != 2:
        raise ValueError(f"mask must be one view of shape (H, W), got shape {np.shape(mask)}")
    labels, count = ndimage.label(np.asarray(mask) != 0, structure=EIGHT_CONNECTED)
    return labels.astype(np.int32, copy=False), int(count)


@dataclass(frozen=True)
class LesionCounts:
    """What was found in one image, or in many once added up.

    Args:
        images: number of images (views).
        lesions: true lesions.
        detected: true lesions that a finding matches.
        findings: predicted components, without the ignored ones.
        false_positives: findings that match no true lesion.
        ignored: predicted components that lie mostly on ignored pixels.
    """

    images: int = 0
    lesions: int = 0
    detected: int = 0
    findings: int = 0
    false_positives: int = 0
    ignored: int = 0

    def __add__(self, other: LesionCounts) -> LesionCounts:
        return LesionCounts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def sensitivity(self) -> float:
        """Detected lesions over true lesions; NaN where there are no lesions."""
        return self.detected / self.lesions if self.lesions else float("nan")

    @property
    def precision(self) -> float:
        """Findings that match a lesion over all findings; NaN where there are no findings."""
        return (self.findings - self.false_positives) / self.findings if self.findings else float("nan")

    @property
    def false_positives_per_image(self) -> float:
        """False findings over images; NaN where there are no images."""
        return self.false_positives / self.images if self.images else float("nan")

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision: 0 when nothing matches, NaN when there is nothing to match."""
        if not self.lesions and not self.findings:
            return float("nan")
        if not self.detected:
            return 0.0
        return 2 * self.sensitivity * self.precision / (self.sensitivity + self.precision)


def pairwise_overlap(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], truths: int, findings: int, valid: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Overlap of every true lesion with every finding.

    Args:
        truth: instance labels 1..truths, 0 elsewhere; any shape.
        predicted: instance labels 1..findings, 0 elsewhere; the same shape.
        truths: number of true lesions.
        findings: number of findings.
        valid: the same shape, False on the pixels that count neither for nor against.

    Returns:
        Shared pixels and intersection over union, both (truths, findings).
    """
    shape = (truths + 1, findings + 1)
    counted = valid & ((truth > 0) | (predicted > 0))
    pairs = np.ravel_multi_index((truth[counted], predicted[counted]), shape)
    table = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
    shared = table[1:, 1:]
    union = table.sum(axis=1)[1:, None] + table.sum(axis=0)[None, 1:] - shared
    return shared, shared / np.maximum(union, 1)


@dataclass(frozen=True)
class LesionMatch:
    """Which lesions and findings of one image match at one criterion.

    Args:
        detected: (lesions,), whether a finding matches the lesion.
        matched: (findings,), whether the finding matches a lesion.
        ignored: (findings,), whether the finding counts neither for nor against.
        iou_sum: summed intersection over union of the pairs; 0 at the any-overlap criterion, which forms no pairs.
    """

    detected: NDArray[np.bool_]
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    iou_sum: float

    @property
    def counts(self) -> LesionCounts:
        """The match of this one image in numbers."""
        return LesionCounts(
            images=1,
            lesions=len(self.detected),
            detected=int(self.detected.sum()),
            findings=int((~self.ignored).sum()),
            false_positives=int((~self.matched & ~self.ignored).sum()),
            ignored=int(self.ignored.sum()),
        )


@dataclass(frozen=True)
class LesionOverlap:
    """The lesions and the findings of one image and how they overlap, ready to be matched at any criterion.

    Args:
        lesions: (H, W) lesion labels 1..n.
        numbers: (n,) the numbers that the lesions had in the given instance map; 1..n for connected components.
        findings: (H, W) finding labels 1..m.
        shared: (n, m) shared pixels that count.
        iou: (n, m) intersection over union over the pixels that count.
        areas: (m,) pixels of each finding.
        areas_ignored: (m,) those of them with label 2.
    """

    lesions: NDArray[np.int32]
    numbers: NDArray[np.integer]
    findings: NDArray[np.int32]
    shared: NDArray[np.int64]
    iou: NDArray[np.float64]
    areas: NDArray[np.int64]
    areas_ignored: NDArray[np.int64]

    def match(self, iou_threshold: float = 0.0) -> LesionMatch:
        """Match lesions and findings; see `match_lesions` for the two kinds of criterion."""
        if not 0 <= iou_threshold <= 1:
            raise ValueError(f"iou_threshold={iou_threshold} is not in 0..1")
        if iou_threshold == 0:
            shared = self.shared > 0
            detected, matched = np.asarray(shared.any(axis=1)), np.asarray(shared.any(axis=0))
            iou_sum = 0.0
        else:
            detected, matched, iou_sum = _one_to_one(self.iou, iou_threshold)
        return LesionMatch(detected, matched, ~matched & (2 * self.areas_ignored > self.areas), iou_sum)


def overlap_lesions(
    prediction: NDArray, truth: NDArray, *, instances: NDArray[np.integer] | None = None
) -> LesionOverlap:
    """Label the lesions and findings of one view and measure their overlaps.

    Args:
        prediction: (H, W) mask, what is not zero is lesion.
        truth: (H, W) label: 0 background, 1 lesion, 2 ignore.
        instances: (H, W) number of the lesion at each pixel (0 none), where touching lesions are told apart. Default:
            the connected components of ``truth == 1``.

    Raises:
        ValueError: the shapes differ.
    """
    if np.shape(prediction) != np.shape(truth):
        raise ValueError(f"prediction has shape {np.shape(prediction)} and truth {np.shape(truth)}; they must agree")
    findings, count = lesion_components(prediction)
    valid = np.asarray(truth) != IGNORE
    if instances is None:
        lesions, true_count = lesion_components(np.asarray(truth) == LESION)
        numbers = np.arange(1, true_count + 1)
    else:
        # Numbers may have gaps (a lesion hidden in this view); only those with a pixel that counts are there.
        numbered = (np.asarray(truth) == LESION) & (np.asarray(instances) != 0)
        numbers, inverse = np.unique(np.asarray(instances)[numbered], return_inverse=True)
        lesions = np.zeros(np.shape(truth), dtype=np.int32)
        lesions[numbered] = inverse + 1
    return overlap_labels(lesions, numbers, findings, count, valid)


def overlap_labels(
    lesions: NDArray[np.int32],
    numbers: NDArray[np.integer],
    findings: NDArray[np.int32],
    count: int,
    valid: NDArray[np.bool_],
) -> LesionOverlap:
    """The overlaps of lesions and findings that are labeled already; arguments as in `LesionOverlap`."""
    # Nearly all of a scan is background on both sides; what follows uses the rest only.
    places = np.flatnonzero(lesions | findings)
    lesion, finding, counts = lesions.ravel()[places], findings.ravel()[places], valid.ravel()[places]
    shared, iou = pairwise_overlap(lesion, finding, len(numbers), count, counts)
    areas = np.bincount(finding, minlength=count + 1)[1:]
    counted = np.bincount(finding[counts], minlength=count + 1)[1:]
    return LesionOverlap(lesions, numbers, findings, shared, iou, areas, areas - counted)


def match_lesions(
    prediction: NDArray,
    truth: NDArray,
    *,
    instances: NDArray[np.integer] | None = None,
    iou_threshold: float = 0.0,
) -> LesionCounts:
    """Match the predicted components of one view to its true lesions.

    With ``iou_threshold=0`` any shared pixel is a match: one finding may cover several lesions of a cluster, and
    several findings may lie on one lesion. Above 0, lesions and findings are paired one to one such that as many
    pairs as possible reach the threshold (and their summed overlap is largest).

    Args:
        prediction: (H, W) mask, what is not zero is lesion.
        truth: (H, W) label: 0 background, 1 lesion, 2 ignore.
        instances: (H, W) number of the lesion at each pixel (0 none), where touching lesions are told apart. Default:
            the connected components of ``truth == 1``.
        iou_threshold: intersection over union that a match must reach, 0 to 1; 0 means any overlap.

    Returns:
        The counts of this one image.

    Raises:
        ValueError: shapes differ, or the threshold is not in 0..1.
    """
    return overlap_lesions(prediction, truth, instances=instances).match(iou_threshold).counts


def _one_to_one(iou: NDArray[np.float64], threshold: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_], float]:
    """Which rows and columns are paired: most pairs at or above the threshold first, then the largest summed IoU."""
    allowed = iou >= threshold
    detected, matched = np.asarray(allowed.any(axis=1)), np.asarray(allowed.any(axis=0))
    if (allowed.sum(axis=1) <= 1).all() and (allowed.sum(axis=0) <= 1).all():
        return detected, matched, float(iou[allowed].sum())
    rows, columns = np.flatnonzero(detected), np.flatnonzero(matched)
    candidates = iou[np.ix_(rows, columns)]
    # An IoU sum is at most min(shape), so with this weight one more pair always beats any gain in overlap.
    gain = np.where(candidates >= threshold, candidates + min(candidates.shape) + 1, 0.0)
    row_pairs, column_pairs = linear_sum_assignment(gain, maximize=True)
    keep = candidates[row_pairs, column_pairs] >= threshold
    detected, matched = np.zeros(iou.shape[0], dtype=bool), np.zeros(iou.shape[1], dtype=bool)
    detected[rows[row_pairs[keep]]], matched[columns[column_pairs[keep]]] = True, True
    return detected, matched, float(candidates[row_pairs[keep], column_pairs[keep]].sum())
