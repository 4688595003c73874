"""Lesion-bearing items are repeated as often as a share asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonemets.data import CTReader, write_nifti
from bonemets.engines.sampling import balance_lesions
from bonemets.errors import InputError


@pytest.fixture
def items(tmp_path: Path) -> list[dict[str, str]]:
    """Seven slices: two with a lesion, one with pixels to ignore only."""
    found = []
    for number in range(7):
        label = np.zeros((8, 6, 1), dtype=np.uint8)
        label[2, 3] = {1: 1, 4: 1, 5: 2}.get(number, 0)
        path = tmp_path / f"{number}.nii.gz"
        write_nifti(path, label, np.diag([-1.0, -1.0, 1.0, 1.0]))
        found.append({"label": str(path), "patient": str(number)})
    return found


@pytest.mark.parametrize(("share", "times"), [(0.1, 1), (0.5, 2), (0.6, 3), (0.75, 7)])
def test_lesion_bearing_items_are_repeated_and_none_is_left_out(items, share, times):
    balanced = balance_lesions(items, CTReader(single_slice=True), share)
    counts = [sum(item["patient"] == str(number) for item in balanced) for number in range(7)]
    assert counts == [1, times, 1, 1, times, 1, 1]
    assert [item["patient"] for item in balanced] == sorted(item["patient"] for item in balanced)


def test_without_lesions_or_without_others_nothing_changes(items):
    reader = CTReader(single_slice=True)
    for part in ([items[0], items[5]], [items[1], items[4]]):
        assert balance_lesions(part, reader) == part


def test_mistakes(items, tmp_path):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        balance_lesions(items, CTReader(), 1.0)
    write_nifti(tmp_path / "0.nii.gz", np.full((8, 6, 1), 7, dtype=np.uint8), np.eye(4))
    with pytest.raises(InputError, match="0.nii.gz holds 7"):
        balance_lesions(items, CTReader(single_slice=True))
