from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, SaveImaged

from bonemets.data import PlanarReader, planar_affine, write_nifti
from bonemets.transforms import PlanarMaskWriter


def save(path: Path, out: Path, squeeze: bool) -> nib.Nifti1Image:
    item = Compose(
        [
            LoadImaged(keys="image", reader=PlanarReader(squeeze=squeeze)),
            EnsureChannelFirstd(keys="image", channel_dim="no_channel"),
        ]
    )({"image": str(path)})
    item["pred"] = (item["image"] > 5).float()
    SaveImaged(
        keys="pred", output_dir=out, output_postfix="seg", output_ext=".nii.gz", separate_folder=False, resample=False,
        writer=PlanarMaskWriter, output_dtype=torch.uint8, print_log=False,
    )(item)  # fmt: skip
    return nib.load(next(out.glob("*_seg.nii.gz")))


def test_single_view(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint16).reshape(8, 6)
    affine = planar_affine((8, 6), (2.0, 3.0), "posterior")
    write_nifti(tmp_path / "posterior.nii.gz", pixels, affine)
    for squeeze in (True, False):
        mask = save(tmp_path / "posterior.nii.gz", tmp_path / str(squeeze), squeeze)
        assert mask.shape == nib.load(tmp_path / "posterior.nii.gz").shape
        assert np.array_equal(np.asarray(mask.dataobj).squeeze(), pixels > 5)
        assert np.array_equal(mask.affine, affine)


def test_the_sources_own_axes(tmp_path: Path) -> None:
    # As ITK writes a picture: first axis the column, no anatomical frame.
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "scan.nii.gz")
    mask = save(tmp_path / "scan.nii.gz", tmp_path / "out", squeeze=False)
    assert np.array_equal(np.asarray(mask.dataobj), pixels > 5)


def test_two_views(tmp_path: Path) -> None:
    pixels = np.arange(96, dtype=np.uint16).reshape(8, 6, 2)
    write_nifti(tmp_path / "scan.nii.gz", pixels, planar_affine((8, 6), (2.0, 2.0)))
    mask = save(tmp_path / "scan.nii.gz", tmp_path / "out", squeeze=False)
    assert np.array_equal(np.asarray(mask.dataobj), pixels > 5)
