"""Which scan to label next, on points whose answer is known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from bonemets.labeling.tasks.choosing import farthest, highest, uncertain_and_far

LINE = {name: np.array([place, 0.0]) for name, place in zip("abcd", (0.0, 1.0, 2.0, 10.0), strict=True)}


def test_highest() -> None:
    assert highest({"b": 1.0, "a": 1.0, "c": 0.5}) == "a"
    assert highest({}) is None


def test_farthest_from_all_that_is_chosen() -> None:
    assert farthest(LINE, "bcd", "a") == "d"
    assert farthest(LINE, "bc", "ad") == "c"
    assert farthest(LINE, "b", "acd") == "b"
    assert farthest(LINE, "", "a") is None


def test_the_first_of_all_is_in_the_middle() -> None:
    # The mean is at 3.25.
    assert farthest(LINE, "abcd", "") == "c"


def test_ties_go_to_the_first_name() -> None:
    points = {"m": np.zeros(2), "z": np.array([1.0, 0]), "y": np.array([0, 1.0])}
    assert farthest(points, ["z", "y"], ["m"]) == "y"


@pytest.mark.parametrize("seed", range(5))
def test_greedy_radius_is_at_most_twice_the_best(seed: int) -> None:
    """Gonzalez 1985, against all choices of three centers among nine points."""
    points = np.random.default_rng(seed).standard_normal((9, 2))
    features = {str(index): point for index, point in enumerate(points)}
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    chosen: list[str] = []
    for _ in range(3):
        chosen.append(farthest(features, sorted(set(features) - set(chosen)), chosen) or "")
    greedy = distances[:, [int(name) for name in chosen]].min(axis=1).max()
    best = min(distances[:, list(centers)].min(axis=1).max() for centers in combinations(range(9), 3))
    assert best <= greedy <= 2 * best


def test_far_among_the_uncertain_only() -> None:
    scores = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.1}
    assert uncertain_and_far(scores, LINE | {"x": np.zeros(2)}, ["x"], share=0.5) == "b"
    assert uncertain_and_far(scores, LINE | {"x": np.zeros(2)}, ["x"], share=1.0) == "d"
    assert uncertain_and_far(scores, LINE | {"x": np.zeros(2)}, ["x"]) == "a"
    assert uncertain_and_far({}, {}, []) is None
