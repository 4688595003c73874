"""Pictures in color: as displayed, three channels, and a clear word where that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.transforms import Compose, EnsureChannelFirst, LoadImage, LoadImaged
from PIL import Image

from bonemets.data import PictureReader
from bonemets.data.pictures import read_picture
from bonemets.errors import InputError


def colors(rows: int = 6, columns: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3), dtype=np.uint8)


def test_rows_first_and_colors_in_order(tmp_path: Path) -> None:
    Image.fromarray(colors()).save(tmp_path / "a.png")
    image = Compose([LoadImage(reader=PictureReader()), EnsureChannelFirst(channel_dim=-1)])(tmp_path / "a.png")
    assert image.shape == (3, 6, 9)
    assert np.array_equal(np.moveaxis(image.numpy(), 0, -1), colors())
    assert list(image.meta["spatial_shape"]) == [6, 9]


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.stack([np.add.outer(np.arange(64), np.arange(48))] * 3, axis=-1).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.JPG", quality=95)
    assert np.abs(read_picture(tmp_path / "a.JPG").astype(int) - smooth).max() < 6


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_other_modes_become_three_channels(tmp_path: Path, mode: str) -> None:
    gray = colors()[..., 0]
    Image.fromarray(np.stack([gray] * 3, axis=-1)).convert("L").convert(mode).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert picture.shape == (6, 9, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture[..., 0], picture[..., 2])
    if mode != "1":
        assert np.array_equal(picture[..., 1], gray)


def test_sixteen_bits_are_refused_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.arange(0, 60000, 1000, dtype=np.uint16).reshape(6, 10)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: has more than 8 bits"):
        read_picture(tmp_path / "a.png")
    # Nor does MONAI fall back to a reader of its own.
    with pytest.raises(InputError, match=r"a\.png: has more than 8 bits"):
        LoadImaged("image", reader=PictureReader())({"image": str(tmp_path / "a.png")})


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(colors()), Image.fromarray(colors())]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="has 2 pages"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: cannot be read as a picture"):
        read_picture(tmp_path / "a.png")


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png"):
        read_picture(tmp_path / "a.png")


def test_suffixes() -> None:
    reader = PictureReader()
    assert reader.verify_suffix("a/b.JPEG")
    assert not reader.verify_suffix("a/b.nii.gz")
