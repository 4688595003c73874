"""Domain randomization: what each transform changes, what it leaves, and that seeds decide it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bonemets import transforms as t
from bonemets.transforms.randomization.base import body_frame

HEIGHT, WIDTH = 128, 64
ALL: list[Callable[[], Any]] = [
    t.RandSoftTissued,
    t.RandBoneGaind,
    t.RandBenignSpotsd,
    lambda: t.RandLesionsd(number=4.0, prob=1.0),
    t.RandBladderd,
    lambda: t.RandUrined(prob=1.0),
    t.RandKidneysd,
    t.RandInjectiond,
    lambda: t.RandFieldOfViewd(prob=1.0),
    t.RandCountsd,
    lambda: t.RandDisplayd(smooth=(0.5, 0.9)),
]


def view() -> dict[str, Any]:
    """Soft tissue of 10, three bones of 40 (one along the midline), a lesion of 100 in the second bone."""
    counts = np.zeros((1, HEIGHT, WIDTH), np.float32)
    bones, label = np.zeros(counts.shape, np.uint8), np.zeros(counts.shape, np.uint8)
    counts[:, 8:120, 12:52] = 10
    for number, (rows, columns) in enumerate(
        ((slice(10, 60), slice(30, 34)), (slice(30, 34), slice(14, 50)), (slice(60, 118), slice(20, 24))), 1
    ):
        bones[0, rows, columns] = number
    counts[bones > 0] = 40
    counts[0, 30:34, 40:44], label[0, 30:34, 40:44] = 100, 1
    tensors = {"image": torch.from_numpy(counts), "label": torch.from_numpy(label), "bones": torch.from_numpy(bones)}
    return {**tensors, "view": "anterior"}


@pytest.mark.parametrize("make", ALL)
def test_the_same_seed_changes_a_view_alike_and_another_seed_otherwise(make: Callable[[], Any]) -> None:
    def changed(seed: int) -> dict[str, Any]:
        return make().set_random_state(seed)(view())

    first, again, other = changed(1), changed(1), changed(2)
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["label"], again["label"])
    assert not torch.equal(first["image"], other["image"])
    assert not torch.equal(first["image"], view()["image"])


@pytest.mark.parametrize("make", ALL)
def test_counts_stay_counts_and_labels_stay_labels(make: Callable[[], Any]) -> None:
    given = view()
    before = {key: given[key].clone() for key in ("image", "label", "bones")}
    for seed in range(8):
        result = make().set_random_state(seed)(given)
        assert result["image"].shape == (1, HEIGHT, WIDTH)
        assert result["image"].dtype == torch.float32
        assert bool(torch.isfinite(result["image"]).all())
        assert float(result["image"].min()) >= 0
        assert result["label"].dtype == torch.uint8
        assert set(np.unique(result["label"])) <= {0, 1, 2}
    for key, value in before.items():
        assert torch.equal(given[key], value)  # what was given is not changed


@pytest.mark.parametrize("make", ALL)
def test_probability_0_changes_nothing(make: Callable[[], Any]) -> None:
    transform = make()
    transform.prob = 0.0
    assert torch.equal(transform.set_random_state(0)(view())["image"], view()["image"])


def test_all_soft_tissue_taken_away_leaves_the_bones() -> None:
    given = view()
    result = t.RandSoftTissued(share=(1.0, 1.0)).set_random_state(0)(given)["image"][0]
    assert float(result[90, 44]) < 2.0  # soft tissue far from every bone
    assert float(result[45, 31]) == pytest.approx(30.0, abs=1.5)  # bone: 40 less the 10 that lie under it


def test_a_lesion_keeps_its_counts_when_its_bone_gets_a_factor() -> None:
    strong = t.RandBoneGaind(bone_sigma=(1.0, 1.0), field_sigma=(0.0, 0.0)).set_random_state(3)(view())["image"][0]
    plain = view()["image"][0]
    assert abs(float(strong[45, 31] / plain[45, 31]) - 1) > 0.2
    assert float(strong[31:33, 41:43].mean()) == pytest.approx(100, rel=0.4)


def test_a_new_lesion_is_labelled_where_it_reaches_42_percent_of_its_height() -> None:
    given = view()
    given["label"][:] = 0
    seen = 0
    for seed in range(6):
        transform = t.RandLesionsd(number=1.0, contrast=(2.0, 2.0), chain=0, prob=1.0).set_random_state(seed)
        result = transform(given)
        excess = (result["image"] - given["image"])[0].numpy()
        marked = result["label"][0].numpy() == 1
        if excess.max() <= 0:
            assert not marked.any()
            continue
        seen += 1
        assert bool(marked[np.unravel_index(excess.argmax(), excess.shape)])
        assert given["bones"][0].numpy()[np.unravel_index(excess.argmax(), excess.shape)] > 0
    assert seen >= 2


def test_a_faint_new_lesion_is_ignored() -> None:
    given = view()
    given["label"][:] = 0
    result = t.RandLesionsd(number=6.0, contrast=(0.3, 0.3), prob=1.0).set_random_state(0)(given)["label"]
    assert set(np.unique(result)) == {0, 2}


def test_a_lesion_that_urine_drowns_is_not_asked_for() -> None:
    given = view()
    given["label"][0, 50:70, 26:40] = 1  # all over where urine and bladder come to lie
    label = t.RandBladderd(level=(50.0, 50.0)).set_random_state(0)(given)["label"]
    assert bool((label == 2).any())
    assert not bool((label[given["label"] == 0] != 0).any())


def test_the_bladder_lies_on_the_midline_below_the_middle_and_is_fainter_from_behind() -> None:
    def added(seed: int, name: str) -> np.ndarray:
        given = {**view(), "view": name}
        return (t.RandBladderd(level=(5.0, 5.0)).set_random_state(seed)(given)["image"] - given["image"])[0].numpy()

    frame = body_frame(view()["image"][0].numpy(), view()["bones"][0].numpy())
    assert frame is not None
    for seed in range(5):
        front = added(seed, "anterior")
        rows, columns = np.nonzero(front > front.max() / 2)
        assert 0.42 < (rows.mean() - frame.top) / frame.height < 0.56
        assert abs(columns.mean() - frame.middle) < 0.04 * frame.height
        np.testing.assert_allclose(added(seed, "posterior"), front / 2, atol=1e-3)


def test_a_view_without_bones_gets_no_organ() -> None:
    given = view()
    given["bones"][:] = 0
    assert torch.equal(t.RandKidneysd().set_random_state(0)(given)["image"], given["image"])


def test_counts_are_scaled_to_what_was_asked_and_noisy_as_poisson() -> None:
    given = view()
    given["image"][:] = 1.0
    result = t.RandCountsd(counts=(8e4, 8e4), blur=(0.0, 0.0), background=(0.0, 0.0)).set_random_state(0)(given)
    image = result["image"].numpy()
    assert image.sum() == pytest.approx(8e4, rel=0.02)
    assert image.var() / image.mean() == pytest.approx(1.0, abs=0.06)


def test_the_field_of_view_cuts_image_and_label_alike() -> None:
    given = view()
    given["image"][:], given["label"][:] = 1.0, 1
    result = t.RandFieldOfViewd(rows=(0.5, 0.5), columns=(0.75, 0.75), prob=1.0).set_random_state(0)(given)
    assert float(result["image"].sum()) == HEIGHT * 0.5 * WIDTH * 0.75
    assert torch.equal(result["image"] > 0, result["label"] > 0)


def test_a_picture_has_no_more_gray_levels_than_asked() -> None:
    given = view()
    ramp = torch.linspace(0, 1000, HEIGHT * WIDTH).reshape(1, HEIGHT, WIDTH)
    few = 0
    for seed in range(12):
        transform = t.RandDisplayd(pixels=(1.0, 1.0), percentile=(100, 100), levels=(20, 20), gamma=(1, 1))
        values = transform.set_random_state(seed)({**given, "image": ramp.clone()})["image"].unique()
        few += len(values) <= 25
    assert 1 <= few < 12  # each step is drawn by itself: smoothing and plain counts come too
