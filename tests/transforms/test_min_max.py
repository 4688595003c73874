from __future__ import annotations

import numpy as np
import pytest
import torch

from bonemets.transforms import NormalizeMinMax, NormalizeMinMaxd


def body(hot: float = 60.0, seed: int = 0) -> np.ndarray:
    counts = np.full((1, 200, 120), 0.2)
    counts[0, 20:180, 30:90] = 10
    counts[0, 20:180, 55:65] = 25
    counts = np.random.default_rng(seed).poisson(counts).astype(np.float32)
    counts[0, 100:104, 70:74] = hot
    return counts


def test_linear_from_the_smallest_to_the_largest_count() -> None:
    counts = body() + 3
    result = NormalizeMinMax()(counts)
    np.testing.assert_allclose(result, (counts - counts.min()) / (counts.max() - counts.min()), rtol=1e-5)
    assert (result.min(), result.max()) == (0, 1)
    assert result.dtype == np.float32


def test_one_hot_spot_does_not_set_the_scale() -> None:
    warm, hot = NormalizeMinMax()(body(1000)), NormalizeMinMax()(body(100_000))
    np.testing.assert_allclose(warm, hot, rtol=1e-5)
    assert (hot[0, 100:104, 70:74] == 1).all()
    assert 0.1 < np.median(hot[0, 20:180, 55:65]) < 0.2
    literal = NormalizeMinMax(limit=None)(body(100_000))
    assert literal.max() == 1
    assert np.median(literal[0, 20:180, 55:65]) < 0.001


def test_dose_and_the_other_view_change_nothing() -> None:
    counts = body()
    np.testing.assert_allclose(NormalizeMinMax()(7 * counts), NormalizeMinMax()(counts), rtol=1e-5)
    study = np.stack([counts, 5 * body(900, seed=1)], axis=-1)
    np.testing.assert_array_equal(NormalizeMinMax()(study)[..., 0], NormalizeMinMax()(counts))


def test_without_counts() -> None:
    assert not NormalizeMinMax()(np.zeros((1, 50, 50))).any()
    assert not NormalizeMinMax()(np.full((1, 50, 50), 4.0)).any()


def test_dictionary_and_tensors() -> None:
    item = {"image": torch.from_numpy(body()), "label": torch.ones(2)}
    result = NormalizeMinMaxd(keys="image")(item)
    np.testing.assert_array_equal(result["image"].numpy(), NormalizeMinMax()(body()))
    assert torch.equal(result["label"], item["label"])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="limit must be positive or None, got 0"):
        NormalizeMinMax(limit=0)
    with pytest.raises(ValueError, match=r"img must be \(1, H, W\)"):
        NormalizeMinMax()(np.zeros((2, 50, 50)))
