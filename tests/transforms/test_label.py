from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bonemets.errors import InputError
from bonemets.transforms import IgnoreRegiond, LesionLabel, LesionLabeld


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 1, 2], [0, 1, 2]), ([0, 255], [0, 1]), ([255], [1]), ([0], [0]), ([1.0, 2.0], [1, 2])],
)
def test_values(values: list, expected: list) -> None:
    result = LesionLabel()(np.array([values]))
    assert result.dtype == np.uint8
    assert result.tolist() == [expected]


@pytest.mark.parametrize("values", [[0, 3], [0, 1, 255], [0, 0.5], [-1, 0], [0, 128]])
def test_other_values_are_refused_with_the_file_named(values: list) -> None:
    label = MetaTensor(torch.tensor([values]), meta={"filename_or_obj": "patient_0001/label.nii.gz"})
    with pytest.raises(InputError, match="label.nii.gz holds") as error:
        LesionLabeld(keys="label")({"label": label})
    assert "\n" not in str(error.value)


def test_ignored_pixels_agree_with_the_truth() -> None:
    label = torch.tensor([[[0, 1, 2, 2]]])
    pred = torch.tensor([[[1, 0, 1, 0]]])
    result = IgnoreRegiond(keys="pred")({"pred": pred, "label": label})
    assert result["pred"].tolist() == [[[1, 0, 0, 0]]]
    assert result["label"].tolist() == [[[0, 1, 0, 0]]]
    assert result["ignored"].tolist() == [[[False, False, True, True]]]
    # The tensors given are left as they were.
    assert pred.tolist() == [[[1, 0, 1, 0]]]
    assert label.tolist() == [[[0, 1, 2, 2]]]
