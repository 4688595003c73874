import itk
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from bonemets.data import planar_affine, read_planar, write_mask_like, write_nifti
from bonemets.data.planar.geometry import view_from_name, without_view


@pytest.fixture
def image(counts) -> np.ndarray:
    return counts[..., 0].astype(np.float32)


@pytest.mark.parametrize("view", ["anterior", "posterior"])
def test_our_own_nifti_comes_back_with_its_view(tmp_path, image, view):
    write_nifti(tmp_path / "scan.nii.gz", image, planar_affine(image.shape, (2.26, 2.0), view))
    scan = read_planar(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(scan.pixels[..., 0], image)
    assert scan.views == (view,)
    np.testing.assert_allclose(scan.spacing, (2.26, 2.0), rtol=1e-6)
    np.testing.assert_allclose(scan.affine, planar_affine(image.shape, (2.26, 2.0), view), atol=1e-4)
    assert nib.load(tmp_path / "scan.nii.gz").shape == (*image.shape, 1)


@pytest.mark.parametrize("view", ["anterior", "posterior"])
def test_itk_reads_our_nifti_upright(tmp_path, image, view):
    """ITK refuses files with two axes whose row axis is vertical; ours have a third."""
    write_nifti(tmp_path / "scan.nii.gz", image, planar_affine(image.shape, (2, 2), view))
    scan = itk.imread(str(tmp_path / "scan.nii.gz"))
    np.testing.assert_array_equal(itk.array_from_image(scan)[0].T, image)
    side = 1 if view == "anterior" else -1
    # LPS: the first axis (rows) points down, the second (columns) to the patient's left for the anterior view.
    expected = [[0, side, 0], [0, 0, -side], [-1, 0, 0]]
    np.testing.assert_allclose(itk.array_from_matrix(scan.GetDirection()), expected, atol=1e-6)


def test_affine_tells_the_truth():
    """Down is to the feet; the first column of the anterior view is the patient's right, of the posterior the left."""
    for view, side in (("anterior", 1), ("posterior", -1)):
        affine = planar_affine((11, 5), (2, 3), view)
        np.testing.assert_allclose(affine @ [10, 0, 0, 1], [side * 6, 0, -20, 1])
        np.testing.assert_allclose(affine @ [0, 4, 0, 1], [-side * 6, 0, 0, 1])
        assert np.linalg.det(affine[:3, :3]) > 0
        # The third axis points from the body to the camera.
        assert np.sign(affine[1, 2]) == side
        assert nib.aff2axcodes(affine) == (("I", "L", "A") if view == "anterior" else ("I", "R", "P"))


def test_two_views_in_one_nifti(tmp_path, counts):
    write_nifti(tmp_path / "scan.nii.gz", counts, planar_affine(counts.shape, (2, 2)))
    scan = read_planar(tmp_path / "scan.nii.gz")
    assert scan.views == ("anterior", "posterior")
    np.testing.assert_array_equal(scan.pixels, counts)


# Every way to store the displayed anterior image with a truthful affine: (file axes, flips of the displayed axes).
LAYOUTS = [(transpose, up, mirror) for transpose in (False, True) for up in (False, True) for mirror in (False, True)]


@pytest.mark.parametrize(("transpose", "up", "mirror"), LAYOUTS)
@pytest.mark.parametrize("depth", [None, 1])
def test_orientation_follows_the_affine(tmp_path, image, transpose, up, mirror, depth):
    affine = planar_affine(image.shape, (2, 3), "anterior")
    stored = image
    for axis, flip in enumerate((up, mirror)):
        if flip:
            affine[:, 3] += affine[:, axis] * (image.shape[axis] - 1)
            affine[:, axis] *= -1
            stored = np.flip(stored, axis)
    if transpose:
        affine = affine[:, [1, 0, 2, 3]]
        stored = stored.T
    if depth:
        stored = stored[..., None]
    path = tmp_path / "anterior.nii.gz"
    nib.save(nib.Nifti1Image(stored, affine), path)
    scan = read_planar(path)
    np.testing.assert_array_equal(scan.pixels[..., 0], image)
    assert scan.views == ("anterior",)
    np.testing.assert_allclose(scan.affine, planar_affine(image.shape, (2, 3), "anterior"), atol=1e-5)

    mask = (scan.pixels > 20).astype(np.uint8)
    write_mask_like(tmp_path / "mask.nii.gz", mask, scan)
    written, source = nib.load(tmp_path / "mask.nii.gz"), nib.load(path)
    assert written.shape == source.shape
    np.testing.assert_allclose(written.affine, source.affine)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(source.dataobj) > 20)


def test_without_a_name_mirrored_columns_mean_posterior(tmp_path, image):
    nib.save(nib.Nifti1Image(image, planar_affine(image.shape, (2, 2), "posterior")), tmp_path / "scan.nii")
    scan = read_planar(tmp_path / "scan.nii")
    assert scan.views == ("posterior",)
    np.testing.assert_array_equal(scan.pixels[..., 0], image)


def test_itk_layout_where_no_axis_is_vertical(tmp_path, image):
    """What ITK writes for a picture: x first, no anatomy."""
    itk.imwrite(itk.image_from_array(image), str(tmp_path / "flat.nii.gz"))
    scan = read_planar(tmp_path / "flat.nii.gz")
    np.testing.assert_array_equal(scan.pixels[..., 0], image)
    assert scan.views == ("unknown",)


@pytest.mark.parametrize("name", ["flat.nii.gz", "flat.nrrd"])
def test_itk_accepts_the_mask_over_its_source(tmp_path, image, name):
    source = itk.image_from_array(image)
    source.SetSpacing([3.0, 2.0])
    source.SetOrigin([5.0, -7.0])
    itk.imwrite(source, str(tmp_path / name))
    scan = read_planar(tmp_path / name)
    np.testing.assert_array_equal(scan.pixels[..., 0], image)
    np.testing.assert_allclose(scan.spacing, (2.0, 3.0))
    write_mask_like(tmp_path / "mask.nii.gz", scan.pixels > 20, scan)
    first, second = (itk.imread(str(tmp_path / file), itk.F) for file in (name, "mask.nii.gz"))
    np.testing.assert_array_equal(itk.array_from_image(second) > 0, itk.array_from_image(first) > 20)
    np.testing.assert_allclose(list(second.GetSpacing()), list(first.GetSpacing()), rtol=1e-6)


def test_nrrd_of_two_views(tmp_path, counts):
    volume = itk.image_from_array(np.ascontiguousarray(np.moveaxis(counts, 2, 0)))
    itk.imwrite(volume, str(tmp_path / "two.nrrd"))
    scan = read_planar(tmp_path / "two.nrrd")
    assert (scan.format, scan.views) == ("nrrd", ("anterior", "posterior"))
    np.testing.assert_array_equal(scan.pixels, counts)


def test_nrrd_with_anatomical_axes(tmp_path, image):
    """Columns to the left (+x in LPS), rows to the feet (-z): an anterior view as displayed."""
    volume = itk.image_from_array(np.ascontiguousarray(image[None]))
    volume.SetDirection(itk.matrix_from_array(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])))
    itk.imwrite(volume, str(tmp_path / "scan.nrrd"))
    scan = read_planar(tmp_path / "scan.nrrd")
    assert scan.views == ("anterior",)
    np.testing.assert_array_equal(scan.pixels[..., 0], image)
    volume.SetDirection(itk.matrix_from_array(np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]])))
    itk.imwrite(volume, str(tmp_path / "up.nrrd"))
    np.testing.assert_array_equal(read_planar(tmp_path / "up.nrrd").pixels[..., 0], image[::-1])


def test_gray_png_keeps_its_values(tmp_path, counts):
    deep = counts[..., 0] * 500
    Image.fromarray(deep).save(tmp_path / "scan_post.png")
    scan = read_planar(tmp_path / "scan_post.png")
    np.testing.assert_array_equal(scan.pixels[..., 0], deep)
    assert (scan.views, scan.spacing, scan.format) == (("posterior",), (1.0, 1.0), "image")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "L", "1"])
def test_pictures_become_gray(tmp_path, mode):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (20, 12, 3), dtype=np.uint8)
    if mode in ("L", "LA", "1", "P"):
        rgb = np.repeat(rgb[..., :1], 3, axis=2) // 128 * 255
    picture = Image.fromarray(rgb).convert(mode)
    picture.save(tmp_path / "a.png")
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(read_planar(tmp_path / "a.png").pixels[..., 0], luma, atol=1.0)


def test_mask_of_a_picture_has_our_convention(tmp_path, counts):
    Image.fromarray(counts[..., 0].astype(np.uint8)).save(tmp_path / "a.png")
    scan = read_planar(tmp_path / "a.png")
    write_mask_like(tmp_path / "mask.nii.gz", scan.pixels > 20, scan)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert mask.shape == scan.shape
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(mask.dataobj), scan.pixels > 20)


def test_mask_must_fit(tmp_path, counts):
    Image.fromarray(counts[..., 0].astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="mask must have the scan's shape"):
        write_mask_like(tmp_path / "mask.nii.gz", np.zeros((3, 3, 1)), read_planar(tmp_path / "a.png"))


def test_nifti_bytes_are_the_same_every_time(tmp_path, counts):
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(tmp_path / name, counts, np.eye(4))
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("anterior.nii.gz", "anterior"), ("p1_POST.png", "posterior"), ("ant-post.png", None), ("posture.png", None),
        ("patient.png", None), ("Posterior view", "posterior"), ("pos_1.png", None), ("wb ANT", "anterior"),
        ("WB post void", None), ("ANT post-injection", "anterior"), ("post", "posterior"),
    ],
)  # fmt: skip
def test_view_words(name, view):
    assert view_from_name(name) == view


def test_names_of_one_scan_agree_without_their_view():
    assert without_view("p1_ANT.png") == without_view("P1_post.png") != without_view("p2_ant.png")
