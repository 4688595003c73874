"""Which of many scans to label next, from what is known of them.

The label server and the study of active learning choose by these functions; neither MONAI Label nor torch is needed.
Ties go to the first name, so that the same numbers give the same choice.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

Vectors = Mapping[str, NDArray]


def highest(scores: Mapping[str, float]) -> str | None:
    """The item with the highest score; None if there is none."""
    return min(scores, key=lambda item: (-scores[item], item), default=None)


def farthest(features: Vectors, candidates: Collection[str], chosen: Collection[str]) -> str | None:
    """The candidate that is least like anything chosen: the next center of greedy k-center.

    Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 38, 1985; for
    active learning Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR
    2018, algorithm 1. Distances are Euclidean.

    Deviations:
        - While nothing is chosen, the candidate nearest to the candidates' mean comes first; the paper begins with a
          random set.

    Args:
        features: item → vector, for the candidates and the chosen; all of one length.
        candidates: items to choose from.
        chosen: items that are labeled, or about to be.

    Returns:
        The item; None if there are no candidates.
    """
    if not candidates:
        return None
    names = sorted(candidates)
    points = np.array([features[name] for name in names], dtype=np.float64)
    if not chosen:
        return names[int(np.argmin(np.linalg.norm(points - points.mean(axis=0), axis=1)))]
    centers = np.array([features[name] for name in chosen], dtype=np.float64)
    distances = np.linalg.norm(points[:, None] - centers[None], axis=2).min(axis=1)
    return names[int(np.argmax(distances))]


def uncertain_and_far(
    scores: Mapping[str, float], features: Vectors, chosen: Collection[str], share: float = 0.25
) -> str | None:
    """Of the candidates with the highest scores, the one that is least like anything chosen.

    The order of Yang et al., "Suggestive annotation", MICCAI 2017, section 2.3: first the most uncertain, among those
    the most different from what is there.

    Deviations:
        - A share of the candidates, not 16; distances to what is labeled, not similarity to the whole pool.

    Args:
        scores: candidate → score.
        features: item → vector, for the candidates and the chosen.
        chosen: items that are labeled, or about to be.
        share: share of the candidates that counts as uncertain.

    Returns:
        The item; None if there are no candidates.
    """
    ranked = sorted(scores, key=lambda item: (-scores[item], item))
    return farthest(features, ranked[: math.ceil(share * len(ranked))], chosen)
