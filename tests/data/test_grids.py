"""Labels and predictions whose affines say truthfully how they lie, on images of every layout."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff
from PIL import Image

from bonemets.data.adapters.base import CaseError
from bonemets.data.adapters.monailabel import label_in_grid_of
from bonemets.data.files import write_nifti
from bonemets.data.grids import PICTURE_AFFINE, Grid, OtherGridError, on_grid
from bonemets.data.planar.geometry import planar_affine
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError
from bonemets.metrics.evaluation.predictions import Case, read_label, read_prediction

SIZE = (20, 14)
# Every way of permuting and reversing three axes.
ORIENTATIONS = [
    np.array(list(zip(order, signs, strict=True)), float)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]

# Columns and depth reversed: an anterior view's (row, column) file then looks like a posterior view's, and is refused.
OTHER_VIEW = np.array([[0, 1], [1, -1], [2, -1]], float)
SAME_VIEW = [how for how in ORIENTATIONS if not np.array_equal(how, OTHER_VIEW)]


def lesion() -> np.ndarray:
    return (np.random.default_rng(4).random(SIZE) > 0.8).astype(np.uint8)


def reoriented(array: np.ndarray, affine: np.ndarray, how: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same image with other axes, as SimpleITK's DICOMOrient and nibabel's as_reoriented make it."""
    return apply_orientation(array, how), affine @ inv_ornt_aff(how, array.shape)


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array), affine), path)
    return path


@settings(max_examples=60, deadline=None)
@given(
    how=st.sampled_from(SAME_VIEW), image_how=st.sampled_from(ORIENTATIONS),
    spacing=st.tuples(*[st.floats(0.5, 9)] * 3), origin=st.tuples(*[st.floats(-500, 500)] * 3),
)  # fmt: skip
def test_any_permutation_goes_back(how, image_how, spacing, origin):
    volume = np.arange(5 * 4 * 3).reshape(5, 4, 3)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    target, target_affine = reoriented(volume, affine, image_how)
    array, own = reoriented(target, target_affine, how)
    back = on_grid(array, Grid(array.shape, own), Grid(target.shape, target_affine))
    np.testing.assert_array_equal(back, target)


@pytest.fixture(params=["rows first", "columns first", "feet first", "two axes"])
def image(request, tmp_path: Path) -> Path:
    """A view in one of the layouts that files have; as displayed it is always the same."""
    counts = np.random.default_rng(5).poisson(9, SIZE).astype(np.uint16)
    affine, array = planar_affine(SIZE, (2.0, 3.0)), counts[..., None]
    how = {"columns first": [[1, 1], [0, 1], [2, 1]], "feet first": [[0, -1], [1, 1], [2, 1]]}.get(request.param)
    if how:
        array, affine = reoriented(array, affine, np.array(how, float))
    return save(tmp_path / "image.nii.gz", array[..., 0] if request.param == "two axes" else array, affine)


def label_on(image: Path) -> tuple[np.ndarray, np.ndarray]:
    """A label in the axes of the image's file, and the file's affine."""
    scan = read_planar(image)
    return scan.grid.from_display(lesion()[..., None]).reshape((*scan.grid.shape, 1)[:3]), scan.grid.affine


@pytest.mark.parametrize("how", SAME_VIEW[::3])
def test_labels_in_other_axes_land_on_their_pixels(how, image, tmp_path):
    label, affine = label_on(image)
    path = save(tmp_path / "label.nii.gz", *reoriented(label, affine, how))
    np.testing.assert_array_equal(label_in_grid_of(read_planar(image), path)[..., 0], lesion())


@pytest.mark.parametrize("shape", [(1, *SIZE), (SIZE[0], 1, SIZE[1]), (*SIZE, 1), SIZE, (1, *SIZE, 1), (*SIZE, 1, 1)])
@pytest.mark.parametrize("affine", [np.eye(4), PICTURE_AFFINE, None], ids=["identity", "itk", "none"])
def test_labels_without_a_place_have_the_images_axes(shape, affine, tmp_path):
    image = save(tmp_path / "image.nii.gz", np.ones(SIZE, np.uint8), planar_affine(SIZE, (2, 2)))
    path = save(tmp_path / "label.nii.gz", lesion().reshape(shape), affine)
    np.testing.assert_array_equal(label_in_grid_of(read_planar(image), path)[..., 0], lesion())


def misplaced(affine: np.ndarray) -> dict[str, np.ndarray]:
    """Affines that are wrong for an image of the given one."""
    shifted, scaled, turned = (np.array(affine) for _ in range(3))
    shifted[0, 3] += 7
    scaled[:3, :3] *= 1.2
    turned[:3, :3] = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]]) @ turned[:3, :3]
    return {"shifted": shifted, "scaled": scaled, "turned": turned}


@pytest.mark.parametrize("wrong", ["shifted", "scaled", "turned", "size"])
def test_labels_elsewhere_are_refused(wrong, image, tmp_path):
    label, affine = label_on(image)
    affine = misplaced(affine).get(wrong, affine)
    path = save(tmp_path / "label.nii.gz", label[:-1] if wrong == "size" else label, affine)
    with pytest.raises(CaseError, match="label.nii.gz: (is 1|lies )") as error:
        label_in_grid_of(read_planar(image), path)
    assert "\n" not in str(error.value)


def evaluated(label: Path, prediction: Path) -> np.ndarray:
    return read_prediction(Case("a", "a", "", label, prediction), read_label(label)[2])


@pytest.mark.parametrize("how", SAME_VIEW[1::3])
def test_a_perfect_prediction_in_other_axes_is_perfect(how, image, tmp_path):
    label, affine = label_on(image)
    truth = save(tmp_path / "truth.nii.gz", label, affine)
    prediction = save(tmp_path / "prediction.nii.gz", *reoriented(label.astype(np.float32) * 0.9, affine, how))
    values = evaluated(truth, prediction)
    np.testing.assert_array_equal(values > 0.5, read_label(truth)[0] == 1)


@pytest.mark.parametrize("wrong", ["shifted", "scaled", "turned"])
def test_predictions_elsewhere_are_refused(wrong, image, tmp_path):
    label, affine = label_on(image)
    truth = save(tmp_path / "truth.nii.gz", label, affine)
    with pytest.raises(InputError, match="prediction.nii.gz lies .* write it on that grid"):
        evaluated(truth, save(tmp_path / "prediction.nii.gz", label, misplaced(affine)[wrong]))


@pytest.mark.parametrize("shape", [(1, *SIZE), (SIZE[0], 1, SIZE[1]), (*SIZE, 1), SIZE])
def test_spacing_of_a_label_belongs_to_its_rows_and_columns(shape, tmp_path):
    """Whatever axis of length 1 the file has: distances and areas are measured with these."""
    sizes = iter((2.0, 3.0))
    affine = np.diag([9.0 if length == 1 else next(sizes) for length in (*shape, 1)[:3]] + [1.0])
    array, spacing, _ = read_label(save(tmp_path / "label.nii.gz", lesion().reshape(shape), affine))
    np.testing.assert_array_equal(array, lesion())
    assert spacing == (2, 3)


@pytest.mark.parametrize("size", [(16, 16), SIZE])
def test_predictions_over_a_png_label(size, tmp_path):
    """ITK writes (column, row), arrays of Python are (row, column), results of this package have an affine."""
    import itk

    mask = (np.random.default_rng(6).random(size) > 0.7).astype(np.uint8)
    Image.fromarray(mask * 255).save(tmp_path / "label.png")
    itk.imwrite(itk.image_from_array(mask), str(tmp_path / "itk.nii.gz"))
    save(tmp_path / "itk3d.nii.gz", mask.T[..., None], PICTURE_AFFINE)
    save(tmp_path / "reversed.nii.gz", *reoriented(mask.T[..., None], PICTURE_AFFINE, ORIENTATIONS[2]))
    save(tmp_path / "rows.nii.gz", mask, np.eye(4))
    write_nifti(tmp_path / "ours.nii.gz", mask, planar_affine(size, (1, 1)))
    for name in ("itk", "itk3d", "reversed", "rows", "ours"):
        np.testing.assert_array_equal(evaluated(tmp_path / "label.png", tmp_path / f"{name}.nii.gz"), mask)
    save(tmp_path / "scaled.nii.gz", mask.T[..., None], np.diag([-2.0, -2.0, 1.0, 1.0]))
    with pytest.raises(InputError, match="scaled.nii.gz"):
        evaluated(tmp_path / "label.png", tmp_path / "scaled.nii.gz")


def test_the_other_views_label_is_refused():
    target = Grid((*SIZE, 1), planar_affine(SIZE, (2, 2), "anterior"))
    own = Grid((*SIZE, 1), planar_affine(SIZE, (2, 2), "posterior"))
    with pytest.raises(OtherGridError, match="lies another way"):
        on_grid(lesion()[..., None], own, target)


def test_reversed_views_come_back_in_their_order(tmp_path):
    """Two views on the third axis, reversed by a program that says so."""
    image = save(tmp_path / "image.nii.gz", np.ones((*SIZE, 2), np.uint8), planar_affine(SIZE, (2, 2)))
    mask = np.stack([lesion(), 1 - lesion()], axis=-1)
    how = np.array([[0, 1], [1, 1], [2, -1]], float)
    path = save(tmp_path / "label.nii.gz", *reoriented(mask, planar_affine(SIZE, (2, 2)), how))
    np.testing.assert_array_equal(label_in_grid_of(read_planar(image), path), mask)
