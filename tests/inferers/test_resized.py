"""The network sees one size, the caller another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import Resize

from bonemets.inferers import ResizedInferer


def test_the_network_sees_what_training_showed_it() -> None:
    image = torch.rand(2, 3, 45, 70)
    seen = []

    def network(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x[:, :1]

    logits = ResizedInferer([16, 32])(image, network)
    assert logits.shape == (2, 1, 45, 70)
    for shown, given in zip(seen[0], image, strict=True):
        assert torch.equal(shown, torch.as_tensor(Resize((16, 32), mode="area")(given)))


def test_what_was_found_stays_where_it_is() -> None:
    image = torch.full((1, 1, 90, 150), -5.0)
    image[..., 30:60, 50:100] = 5
    mask = (ResizedInferer([32, 32])(image, lambda x: x) > 0)[0, 0].numpy()
    rows, columns = np.nonzero(mask)
    assert abs(rows.min() - 30) <= 2
    assert abs(rows.max() - 59) <= 2
    assert abs(columns.min() - 50) <= 3
    assert abs(columns.max() - 99) <= 3


def test_the_right_size_is_left_alone() -> None:
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(ResizedInferer([16, 16])(image, lambda x: x), image)


@pytest.mark.parametrize("size", [[16], [0, 16], [16, 16, 16]])
def test_wrong_size(size: list[int]) -> None:
    with pytest.raises(ValueError, match="size="):
        ResizedInferer(size)
