"""Masks as PNG, of the picture's size and orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, SaveImaged
from PIL import Image

from bonemets.data import PictureReader
from bonemets.transforms import PictureMaskWriter


def test_mask_lies_on_its_picture(tmp_path: Path) -> None:
    pixels = np.zeros((6, 10, 3), dtype=np.uint8)
    pixels[1:3, 4:9] = 200
    (tmp_path / "in" / "sub").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "in" / "sub" / "a.png")
    item = Compose(
        [LoadImaged(keys="image", reader=PictureReader()), EnsureChannelFirstd(keys="image", channel_dim=-1)]
    )({"image": str(tmp_path / "in" / "sub" / "a.png")})
    item["pred"] = (item["image"][:1] > 100).float()
    SaveImaged(
        keys="pred", output_dir=tmp_path / "out", data_root_dir=tmp_path / "in", output_postfix="seg",
        output_ext=".png", output_dtype=torch.uint8, writer=PictureMaskWriter, separate_folder=False, resample=False,
        print_log=False,
    )(item)  # fmt: skip
    with Image.open(tmp_path / "out" / "sub" / "a_seg.png") as mask:
        assert mask.mode == "L"
        assert np.array_equal(np.asarray(mask), np.where(pixels[..., 0] > 0, 255, 0))
    # Nothing of a half-written file is left.
    assert [path.name for path in (tmp_path / "out" / "sub").iterdir()] == ["a_seg.png"]
