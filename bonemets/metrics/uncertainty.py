"""How unsure a network is of a scan, as numbers without a truth: what active learning asks by.

Probabilities are those of lesion against background, so a pixel is a Bernoulli variable. Samples are repeated
predictions of the same scan: with dropout, with other weights, or of varied images. Means are over all pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from bonemets.metrics.lesions import lesion_components


def binary_entropy(probability: NDArray) -> NDArray[np.float64]:
    """Entropy of Bernoulli variables, in bits: ``-p log2 p - (1 - p) log2(1 - p)``, 0 at 0 and 1."""
    chance = np.asarray(probability, dtype=np.float64).clip(1e-7, 1 - 1e-7)
    return -chance * np.log2(chance) - (1 - chance) * np.log2(1 - chance)


def mean_entropy(probability: NDArray) -> float:
    """Mean binary entropy, in bits a pixel.

    Uncertainty sampling: Lewis and Gale, "A sequential algorithm for training text classifiers", SIGIR 1994; entropy as
    in Settles, "Active learning literature survey", University of Wisconsin 2009, section 3.1.

    Args:
        probability: of lesion, any shape.
    """
    return float(binary_entropy(probability).mean())


def mutual_information(samples: Iterable[NDArray]) -> float:
    """Mean mutual information of a pixel's label and the weights, in bits a pixel.

    BALD: Houlsby et al., "Bayesian active learning for classification and preference learning", arXiv:1112.5745, 2011;
    with dropout Gal et al., "Deep Bayesian active learning with image data", ICML 2017. The entropy of the mean minus
    the mean of the entropies: high where samples are sure of different things, 0 where all say the same, however
    unsure they are.

    Args:
        samples: probabilities of lesion, all of one shape, one array for each draw of the weights.
    """
    total, expected, count = np.zeros(()), 0.0, 0
    for sample in samples:
        total, expected, count = total + np.asarray(sample, np.float64), expected + mean_entropy(sample), count + 1
    # Never negative, but for rounding: entropy is concave.
    return max(0.0, mean_entropy(total / count) - expected / count)


def mean_variance(samples: Iterable[NDArray]) -> float:
    """Mean variance of the probability across samples.

    As for augmented images in Wang et al., "Aleatoric uncertainty estimation with test-time augmentation for medical
    image segmentation with convolutional neural networks", Neurocomputing 2019, doi:10.1016/j.neucom.2019.01.103, and
    for committees of networks in Yang et al., "Suggestive annotation", MICCAI 2017.

    Args:
        samples: probabilities of lesion, all of one shape.
    """
    mean, deviation, count = np.zeros(()), np.zeros(()), 0
    # One sample at a time (Welford 1962): all slices of a CT, a dozen times, would fill the memory.
    for count, sample in enumerate(samples, start=1):  # noqa: B007
        change = np.asarray(sample, np.float64) - mean
        mean = mean + change / count
        deviation = deviation + change * (sample - mean)
    return float(np.mean(deviation) / count)


def unmatched_findings(
    anterior: NDArray, posterior: NDArray, spacing: tuple[float, float], limit: float = 30.0
) -> tuple[int, int]:
    """Findings of each view that have no counterpart in the other.

    Both cameras see the same body from opposite sides, so column c of one view is column W - 1 - c of the other.
    Findings (8-connected components) are paired one to one by their centers, as many as possible, the nearest first.

    Args:
        anterior: (H, W) mask, as displayed.
        posterior: (H, W) mask of the same shape, as displayed.
        spacing: rows and columns, mm.
        limit: largest distance of a pair's centers, mm. 30 mm is about a vertebra's height.

    Returns:
        Number of anterior and of posterior findings without a counterpart.

    Raises:
        ValueError: the shapes differ.
    """
    if np.shape(anterior) != np.shape(posterior):
        raise ValueError(f"anterior has shape {np.shape(anterior)} and posterior {np.shape(posterior)}")
    front, back = (_centers(mask) * spacing for mask in (anterior, np.asarray(posterior)[:, ::-1]))
    if not len(front) or not len(back):
        return len(front), len(back)
    distances = cdist(front, back)
    # A pair is worth more than all nearness together, so that as many as possible are made.
    gain = np.where(distances <= limit, 1 + (1 - distances / limit) / (1 + min(distances.shape)), 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    pairs = int((gain[rows, columns] > 0).sum())
    return len(front) - pairs, len(back) - pairs


def _centers(mask: NDArray) -> NDArray[np.float64]:
    """(n, 2) row and column of each component's center."""
    labels, count = lesion_components(mask)
    rows, columns = np.nonzero(labels)
    number = labels[rows, columns]
    sizes = np.bincount(number, minlength=count + 1)[1:]
    return np.stack([np.bincount(number, at, count + 1)[1:] / sizes for at in (rows, columns)], axis=1)
