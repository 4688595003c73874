"""Scores of uncertainty against hand-computed values and independent formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from bonemets.metrics.uncertainty import mean_entropy, mean_variance, mutual_information, unmatched_findings


def bits(chance: float) -> float:
    return float(entropy([chance, 1 - chance], base=2))


def test_entropy_of_known_chances() -> None:
    assert mean_entropy(np.array([0.5, 0.25, 0.0, 1.0], np.float32)) == pytest.approx((1 + bits(0.25)) / 4, abs=1e-5)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [([0.0, 1.0], 1.0), ([0.5, 0.5], 0.0), ([0.2, 0.6], bits(0.4) - (bits(0.2) + bits(0.6)) / 2), ([0.3], 0.0)],
)
def test_mutual_information_of_known_chances(samples: list[float], expected: float) -> None:
    assert mutual_information(np.array(samples)[:, None]) == pytest.approx(expected, abs=1e-5)


def test_mutual_information_is_the_mean_divergence_from_the_mean() -> None:
    samples = np.random.default_rng(0).uniform(0.01, 0.99, (5, 3, 4))
    pairs = np.stack([samples, 1 - samples])
    divergence = entropy(pairs, np.broadcast_to(pairs.mean(axis=1, keepdims=True), pairs.shape), base=2)
    assert mutual_information(samples) == pytest.approx(divergence.mean())


def test_variance() -> None:
    samples = np.random.default_rng(1).random((4, 5, 2)).astype(np.float32)
    assert mean_variance(iter(samples)) == pytest.approx(samples.astype(float).var(axis=0).mean())
    assert mean_variance([np.zeros(3), np.ones(3)]) == 0.25


def mask(*centers: tuple[int, int]) -> np.ndarray:
    """3 × 3 findings around these pixels of a 60 × 40 view."""
    view = np.zeros((60, 40), np.uint8)
    for row, column in centers:
        view[row - 1 : row + 2, column - 1 : column + 2] = 1
    return view


SQUARE = (2.0, 2.0)


class TestViews:
    def test_the_mirrored_place_matches(self) -> None:
        assert unmatched_findings(mask((20, 10)), mask((20, 29)), SQUARE) == (0, 0)
        # The same column of both pictures is the other side of the body, 19 columns away.
        assert unmatched_findings(mask((20, 10)), mask((20, 10)), SQUARE) == (1, 1)
        assert unmatched_findings(mask((20, 10)), mask((20, 10)), (1.0, 1.0)) == (0, 0)

    def test_distances_are_in_mm(self) -> None:
        assert unmatched_findings(mask((20, 10)), mask((35, 29)), SQUARE) == (0, 0)
        assert unmatched_findings(mask((20, 10)), mask((36, 29)), SQUARE) == (1, 1)
        assert unmatched_findings(mask((20, 10)), mask((36, 29)), (1.5, 2.0)) == (0, 0)

    def test_one_finding_has_one_counterpart(self) -> None:
        assert unmatched_findings(mask((20, 10), (26, 10)), mask((20, 29)), SQUARE) == (1, 0)
        assert unmatched_findings(mask(), mask((20, 29), (40, 29)), SQUARE) == (0, 2)
        assert unmatched_findings(mask(), mask(), SQUARE) == (0, 0)

    def test_as_many_pairs_as_possible(self) -> None:
        # The nearest pair first (24 and 27) would leave 14 and 38 apart by 48 mm.
        assert unmatched_findings(mask((14, 10), (27, 10)), mask((24, 29), (38, 29)), SQUARE) == (0, 0)

    def test_views_of_different_sizes(self) -> None:
        with pytest.raises(ValueError, match="shape"):
            unmatched_findings(mask(), mask()[:-1], SQUARE)
