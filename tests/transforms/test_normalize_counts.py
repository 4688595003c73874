from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bonemets.transforms import NormalizeCounts, NormalizeCountsd


def body(seed: int = 0) -> np.ndarray:
    """A trunk of soft tissue (8 counts) with a spine (25 counts) in air (0.3 counts)."""
    counts = np.full((200, 120), 0.3)
    counts[20:180, 20:100] = 8
    counts[20:180, 54:66] = 25
    return np.random.default_rng(seed).poisson(counts).astype(np.float32)


def test_scaling_the_counts_changes_nothing() -> None:
    counts = body()
    normalize = NormalizeCounts()
    assert np.allclose(normalize(counts[None]), normalize(3.7 * counts[None]), atol=1e-5)


def test_bone_is_one_and_soft_tissue_half() -> None:
    result = NormalizeCounts()(body()[None])[0]
    assert result.dtype == np.float32
    assert result[40:160, 56:64].mean() == pytest.approx(1, abs=0.15)
    assert result[40:160, 25:50].mean() == pytest.approx(0.55, abs=0.1)


def test_a_hot_bladder_changes_little_however_hot() -> None:
    plain, hot, hotter = body(), body(), body()
    for counts, factor in ((hot, 10), (hotter, 1000)):
        counts[150:170, 50:70] = 25 * factor
    elsewhere = np.s_[0, :140]
    reference, first, second = (NormalizeCounts()(counts[None])[elsewhere] for counts in (plain, hot, hotter))
    bone = np.s_[40:140, 56:64]
    assert first[bone].mean() == pytest.approx(reference[bone].mean(), rel=0.1)
    assert np.allclose(first, second, rtol=0.02)


def test_equals_the_formula() -> None:
    counts = body()
    linear = NormalizeCounts(compress=None, clip=None)(counts[None])[0]
    reference = (counts[counts > 0] / linear[counts > 0]).mean()
    assert np.allclose(linear * reference, counts, rtol=1e-5)
    assert np.allclose(NormalizeCounts(clip=None)(counts[None])[0], np.sqrt(counts / reference), atol=1e-5)
    assert NormalizeCounts(clip=1.2)(counts[None]).max() == pytest.approx(1.2)


def test_views_are_normalized_one_by_one() -> None:
    anterior, posterior = body(1), 5 * body(2)
    study = NormalizeCounts()(np.stack([anterior, posterior], axis=-1)[None])
    assert study.shape == (1, 200, 120, 2)
    for index, view in enumerate((anterior, posterior)):
        assert np.array_equal(study[..., index], NormalizeCounts()(view[None]))


def test_no_counts_and_negative_counts() -> None:
    assert not NormalizeCounts()(np.zeros((1, 64, 64), np.float32)).any()
    signed = body()
    signed[0, 0] = -30
    assert NormalizeCounts()(signed[None])[0, 0, 0] == 0


def test_keeps_metadata() -> None:
    image = MetaTensor(torch.from_numpy(body())[None], meta={"filename_or_obj": "scan.dcm"})
    result = NormalizeCountsd(keys="image")({"image": image, "other": 1})
    assert isinstance(result["image"], MetaTensor)
    assert result["image"].meta["filename_or_obj"] == "scan.dcm"
    assert result["other"] == 1


@pytest.mark.parametrize("wrong", [{"percentile": 100}, {"compress": "log"}, {"clip": 0}])
def test_wrong_arguments(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NormalizeCounts(**wrong)
    with pytest.raises(ValueError, match="img must be"):
        NormalizeCounts()(np.zeros((2, 8, 8), np.float32))
