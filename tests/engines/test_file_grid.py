"""What is read as displayed goes back into the order of its file, so that predictions lie on their labels."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bonemets.data import planar_affine, read_ct, read_planar, write_nifti
from bonemets.engines.predictor import on_file_grid

CT_ORDERS = [np.diag([-2.0, -1.5, 4.0, 1.0]), np.diag([2.0, 1.5, -4.0, 1.0])]
SWAPPED = np.zeros((4, 4))
SWAPPED[1, 0], SWAPPED[0, 1], SWAPPED[2, 2], SWAPPED[3, 3] = -1.5, -2.0, 4.0, 1.0


@pytest.mark.parametrize("affine", [*CT_ORDERS, SWAPPED])
def test_ct_slices_return_to_their_files_axes(tmp_path: Path, affine: np.ndarray) -> None:
    stored = np.random.default_rng(0).integers(0, 3, (20, 12, 1)).astype(np.uint8)
    nib.save(nib.Nifti1Image(stored, affine), tmp_path / "label.nii.gz")
    label = read_ct(tmp_path / "label.nii.gz")
    array, own = on_file_grid(label, label.pixels)
    np.testing.assert_array_equal(array, stored)
    np.testing.assert_allclose(own, affine)


def test_planar_scans_return_to_their_files_axes(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 3, (20, 12)).astype(np.uint8)
    write_nifti(tmp_path / "label.nii.gz", stored, planar_affine((20, 12), (2.0, 2.0), "posterior"))
    label = read_planar(tmp_path / "label.nii.gz")
    array, _ = on_file_grid(label, label.pixels)
    np.testing.assert_array_equal(np.squeeze(array), stored)
    with pytest.raises(ValueError, match="the scan's shape"):
        on_file_grid(label, label.pixels[:-1])
