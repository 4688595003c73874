from __future__ import annotations

import numpy as np
import pytest
import torch

from bonemets.transforms import RandSaltAndPepper, RandSaltAndPepperd


def test_share_of_salt_and_of_pepper() -> None:
    image = torch.full((3, 200, 200), 0.5)
    noise = RandSaltAndPepper(prob=1.0, amount=0.1)
    noise.set_random_state(0)
    shares = []
    for _ in range(20):
        result = noise(image)
        salt, pepper = (result == 1).float().mean().item(), (result == 0).float().mean().item()
        assert salt + pepper == pytest.approx(noise.share, abs=0.01)
        assert salt == pytest.approx(pepper, abs=0.005)
        assert torch.equal(result[0], result[1])
        assert ((result == 0.5) | (result == 0) | (result == 1)).all()
        shares.append(salt + pepper)
    assert np.mean(shares) == pytest.approx(0.05, abs=0.02)
    assert (image == 0.5).all()


def test_probability() -> None:
    image = torch.full((1, 32, 32), 0.5)
    assert torch.equal(RandSaltAndPepper(prob=0.0, amount=1.0)(image), image)
    noise = RandSaltAndPepperd("image", prob=0.5, amount=1.0)
    noise.set_random_state(0)
    changed = [not torch.equal(noise({"image": image})["image"], image) for _ in range(60)]
    assert 15 < sum(changed) < 45


def test_same_seed_same_noise() -> None:
    data = {"image": torch.rand(1, 40, 40), "other": torch.rand(1, 40, 40), "label": torch.zeros(1, 40, 40)}
    first, second = (RandSaltAndPepperd(["image", "other"], prob=1.0, amount=0.5) for _ in range(2))
    first.set_random_state(5)
    second.set_random_state(5)
    one, two = first(data), second(data)
    assert torch.equal(one["image"], two["image"])
    assert torch.equal(one["image"] == 1, one["other"] == 1)
    assert torch.equal(one["label"], data["label"])
    assert not torch.equal(first(data)["image"], one["image"])


def test_amount() -> None:
    with pytest.raises(ValueError, match="amount"):
        RandSaltAndPepper(amount=1.5)
