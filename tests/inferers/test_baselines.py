"""Simple image processing that a network must beat."""

from __future__ import annotations

import numpy as np
import pytest

from bonemets.inferers.baselines import BASELINES, global_threshold, mirrored_difference, white_top_hat


def body(spot: tuple[int, int] | None = None) -> np.ndarray:
    """A symmetric body of 10 with a broad spine of 40, and perhaps a spot of 120, 5×5 pixels."""
    counts = np.zeros((256, 128), np.float32)
    counts[20:240, 24:104] = 10
    counts[20:160, 52:76] = 40
    if spot is not None:
        counts[spot[0] - 2 : spot[0] + 3, spot[1] - 2 : spot[1] + 3] = 120
    return counts


@pytest.mark.parametrize("name", BASELINES)
def test_scores_are_probabilities_that_do_not_depend_on_the_count_level(name: str) -> None:
    view = body((100, 40))
    score = BASELINES[name](view)
    assert score.shape == view.shape
    assert score.dtype == np.float32
    assert 0 <= score.min() < score.max() < 1
    np.testing.assert_allclose(BASELINES[name](view * 7), score, atol=1e-4)
    assert not BASELINES[name](np.zeros_like(view)).any()


@pytest.mark.parametrize("name", BASELINES)
def test_a_hot_spot_scores_highest_where_it_is(name: str) -> None:
    score = BASELINES[name](body((100, 40)))
    row, column = np.unravel_index(score.argmax(), score.shape)
    assert abs(row - 100) <= 2
    assert abs(column - 40) <= 2


def test_the_top_hat_leaves_out_what_is_broad() -> None:
    top_hat, threshold = white_top_hat(body()), global_threshold(body())
    assert top_hat[90, 64] < 0.05  # the spine
    assert threshold[90, 64] > 0.3


def test_the_mirrored_difference_leaves_out_what_is_on_both_sides_also_off_the_middle() -> None:
    view = np.roll(body((100, 40)), 9, axis=1)
    view[98:103, 49 + 2 * 28 - 14 : 49 + 2 * 28 - 9] = 10
    both = body((100, 40))
    both[98:103, 85:90] = 120  # the same spot, mirrored
    assert mirrored_difference(both)[100, 40] < 0.02
    assert mirrored_difference(view)[100, 49] > 0.2
