from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from bonemets.transforms import CTWindow, CTWindowd


def test_hounsfield_units() -> None:
    hu = np.array([[[-1024, -500, 400, 1300, 3000]]], np.int16)
    result = CTWindow((-500, 1300))(hu)
    assert result.dtype == np.float32
    assert np.allclose(result, [[[0, 0, 0.5, 1, 1]]])


def test_pictures_were_windowed_before() -> None:
    gray = MetaTensor(torch.tensor([[[0.0, 51.0, 255.0]]]), meta={"format": "image"})
    assert torch.allclose(CTWindowd("image", (-500, 1300))({"image": gray})["image"], torch.tensor([[[0, 0.2, 1.0]]]))
    # The same slice as HU and as the picture that the window makes of it.
    hu = MetaTensor(torch.linspace(-700, 1500, 100)[None, None], meta={"format": "dicom"})
    picture = MetaTensor(torch.clamp((hu + 500) / 1800, 0, 1).mul(255).round(), meta={"format": "image"})
    assert torch.allclose(CTWindow()(hu), CTWindow()(picture), atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("window", [(1, 1), (2, 1), (0,)])
def test_window(window: tuple) -> None:
    with pytest.raises(ValueError, match="window"):
        CTWindow(window)
