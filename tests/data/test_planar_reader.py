import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, SaveImaged

from bonemets.data import PlanarReader, planar_affine, read_planar, write_nifti
from bonemets.errors import InputError


def test_load_imaged_gives_the_scan_as_displayed(save_nm, counts):
    path = save_nm("scan.dcm", counts)
    load = Compose(
        [
            LoadImaged("image", reader=PlanarReader()),
            EnsureChannelFirstd("image", channel_dim="no_channel"),
        ]
    )
    image = load({"image": str(path)})["image"]
    assert image.shape == (1, *counts.shape)
    np.testing.assert_array_equal(image[0].numpy(), counts)
    np.testing.assert_allclose(image.affine.numpy(), planar_affine(counts.shape, (2.26, 2.26)))
    assert image.meta["views"] == ("anterior", "posterior")
    assert image.meta["spacing"] == (2.26, 2.26)
    assert image.meta["filename_or_obj"] == str(path)


def test_single_views_are_squeezed_on_request(tmp_path, counts):
    write_nifti(tmp_path / "posterior.nii.gz", counts[..., 1], planar_affine(counts.shape, (2, 2), "posterior"))
    for squeeze, shape in ((True, counts.shape[:2]), (False, (*counts.shape[:2], 1))):
        data = LoadImaged("image", reader=PlanarReader(squeeze=squeeze))({"image": tmp_path / "posterior.nii.gz"})
        assert data["image"].shape == shape
        assert data["image"].meta["views"] == ("posterior",)


def test_several_files_are_stacked_as_views(tmp_path, counts):
    files = []
    for index, view in enumerate(("anterior", "posterior")):
        files.append(tmp_path / f"{view}.nii.gz")
        write_nifti(files[-1], counts[..., index], planar_affine(counts.shape, (2, 2), view))
    image = LoadImaged("image", reader=PlanarReader())({"image": files})["image"]
    np.testing.assert_array_equal(image.numpy(), counts)
    assert image.meta["views"] == ("anterior", "posterior")


def test_batches_collate(save_nm, counts):
    items = [{"image": str(save_nm(f"{name}.dcm", counts))} for name in "ab"]
    loader = DataLoader(Dataset(items, LoadImaged("image", reader=PlanarReader())), batch_size=2)
    batch = next(iter(loader))["image"]
    assert batch.shape == (2, *counts.shape)


def test_saved_predictions_lie_on_the_source(tmp_path, counts):
    """MONAI's own writer, fed with our metadata, gives a mask with the image's affine."""
    path = tmp_path / "anterior.nii.gz"
    write_nifti(path, counts, planar_affine(counts.shape, (2.26, 2.26)))
    data = Compose(
        [LoadImaged("image", reader=PlanarReader()), EnsureChannelFirstd("image", channel_dim="no_channel")]
    )({"image": str(path)})
    SaveImaged(
        "image", output_dir=tmp_path, separate_folder=False, output_postfix="seg", resample=False, print_log=False
    )(data)
    saved = nib.load(tmp_path / "anterior_seg.nii.gz")
    np.testing.assert_allclose(saved.affine, nib.load(path).affine, atol=1e-4)
    np.testing.assert_array_equal(read_planar(tmp_path / "anterior_seg.nii.gz").pixels, counts)


def test_reader_can_be_named_in_a_bundle():
    parser = ConfigParser({"reader": {"_target_": "bonemets.data.PlanarReader", "squeeze": True}})
    reader = parser.get_parsed_content("reader")
    assert isinstance(reader, PlanarReader)
    assert reader.squeeze


def test_refused_file_is_not_read_by_another_reader(tmp_path):
    """MONAI's own reader could read it, in other axes: the refusal must stand."""
    path = tmp_path / "volume.nii.gz"
    write_nifti(path, np.zeros((32, 24, 40), dtype=np.uint8), np.eye(4))
    with pytest.raises(InputError, match="volume.nii.gz"):
        LoadImaged("image", reader=PlanarReader())({"image": str(path)})
