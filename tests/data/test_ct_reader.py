from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from monai.transforms import EnsureChannelFirstd, LoadImaged
from PIL import Image

from bonemets.data import CTReader, read_ct, write_ct_mask
from bonemets.data.ct.dicom import files_by_series
from bonemets.dicom.ct import CTHeader, ct_bytes
from bonemets.errors import InputError


def body(slices: int = 5) -> np.ndarray:
    """(H, W, K) HU as displayed: no two axes alike, spine at the back, a spot on the patient's left, head last."""
    volume = np.full((40, 30, slices), -1000, np.int16)
    volume[8:32, 4:26] = 40
    volume[26:30, 14:17] = 700
    volume[12:15, 20:23] = 300
    volume[10:12, 10:12] = np.arange(slices) * 100
    return volume


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """A DICOM series whose file names are in no order, with a report beside it."""
    folder = tmp_path / "ct"
    folder.mkdir()
    volume = body()
    for index in range(5):
        content = ct_bytes(volume[..., index], (-50.0, -60.0, 10.0 + 4 * index), 1.5, index + 1, CTHeader("p"))
        (folder / f"{(index * 3) % 5}.dcm").write_bytes(content)
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_series_as_displayed(series: Path) -> None:
    scan = read_ct(series)
    assert np.array_equal(scan.pixels, body())
    assert scan.format == "dicom"
    assert scan.source_shape == (30, 40, 5)
    # First pixel: 50 mm to the right and 60 mm to the front; rows to the back, columns to the left, slices to the head.
    assert np.allclose(scan.affine @ (0, 0, 0, 1), (50, 60, 10, 1))
    assert np.allclose(scan.affine[:3, :3], [[0, -1.5, 0], [-1.5, 0, 0], [0, 0, 4]])
    assert scan.spacing == (1.5, 1.5)
    assert [dataset.InstanceNumber for dataset in scan.datasets] == [1, 2, 3, 4, 5]


def test_single_slice(series: Path) -> None:
    scan = read_ct(series / "3.dcm")
    assert np.array_equal(scan.pixels, body()[..., 1:2])
    assert np.allclose(scan.affine @ (0, 0, 0, 1), (50, 60, 14, 1))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PLS", "SPR", "IRA"])
def test_nifti_in_any_orientation(codes: str, tmp_path: Path) -> None:
    from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

    affine = np.array([[0, -1.5, 0, 50], [-1.5, 0, 0, 60], [0, 0, 4, 10], [0, 0, 0, 1]], float)
    turn = ornt_transform(axcodes2ornt("PLS"), axcodes2ornt(codes))
    array, turned = apply_orientation(body(), turn), affine @ inv_ornt_aff(turn, body().shape)
    nib.save(nib.Nifti1Image(array, turned), tmp_path / "ct.nii.gz")
    scan = read_ct(tmp_path / "ct.nii.gz")
    assert np.array_equal(scan.pixels, body())
    assert np.allclose(scan.affine, affine)
    # A mask goes back to the file's own axes.
    write_ct_mask(tmp_path / "mask.nii.gz", scan.pixels == 700, scan.source_affine, scan.source_shape)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(mask.dataobj, array == 700)
    assert np.allclose(mask.affine, turned)
    assert mask.get_data_dtype() == "uint8"


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 1), (40, 30, 1, 1)])
def test_slice_keeps_its_axes(shape: tuple[int, ...], tmp_path: Path) -> None:
    affine = np.array([[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(body()[..., 0].reshape(shape), affine), tmp_path / "slice.nii.gz")
    scan = read_ct(tmp_path / "slice.nii.gz")
    assert np.array_equal(scan.pixels, body()[..., :1])
    write_ct_mask(tmp_path / "mask.nii", scan.pixels > 500, scan.source_affine, scan.source_shape)
    assert nib.load(tmp_path / "mask.nii").shape == nib.load(tmp_path / "slice.nii.gz").shape


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pictures(mode: str, tmp_path: Path) -> None:
    gray = np.clip(body()[..., 0] / 4 + 50, 0, 255).astype(np.uint8)
    Image.fromarray(gray).convert(mode).save(tmp_path / "slice.png")
    scan = read_ct(tmp_path / "slice.png")
    assert np.array_equal(scan.pixels[..., 0], gray)
    assert scan.format == "image"
    assert np.allclose(scan.affine[:3, :3], [[0, -1, 0], [-1, 0, 0], [0, 0, 1]])


def test_through_monai(series: Path, tmp_path: Path) -> None:
    load = LoadImaged("image", reader=CTReader())
    data = EnsureChannelFirstd("image", channel_dim="no_channel")(load({"image": str(series)}))
    assert data["image"].shape == (1, 40, 30, 5)
    assert data["image"].meta["format"] == "dicom"
    assert np.allclose(data["image"].affine, read_ct(series).affine)
    single = LoadImaged("image", reader=CTReader(single_slice=True))
    assert single({"image": str(series / "0.dcm")})["image"].shape == (40, 30)
    with pytest.raises(InputError, match="volume of 5 slices"):
        single({"image": str(series)})
    # MONAI's own readers must not take over what was refused.
    change(series, "0.dcm", SeriesInstanceUID="1.2.3")
    with pytest.raises(InputError, match="several series"):
        load({"image": str(series)})


def change(folder: Path, name: str, **values: object) -> None:
    dataset = pydicom.dcmread(folder / name)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.save_as(folder / name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"SeriesInstanceUID": "1.2.3"}, "several series"),
        ({"PixelSpacing": ["1", "1"]}, "differ in size"),
        ({"ImagePositionPatient": ["-50", "-60", "14"]}, "same place"),
        ({"ImagePositionPatient": None}, "no ImagePositionPatient"),
    ],
)
def test_slices_that_do_not_fit(values: dict, message: str, series: Path) -> None:
    change(series, "0.dcm", **values)
    with pytest.raises(InputError, match=message):
        read_ct(series)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "modality MR"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "multi-frame"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer"),
        ({"ImageOrientationPatient": ["1", "0", "0", "0", "0", "-1"]}, "not axial"),
    ],
)
def test_what_is_no_slice_is_skipped(values: dict, message: str, series: Path) -> None:
    with_all = read_ct(series).pixels.shape[2]
    change(series, "2.dcm", **values)
    assert read_ct(series).pixels.shape[2] == with_all - 1
    with pytest.raises(InputError, match=message):
        read_ct(series / "2.dcm")


def test_files_that_are_no_ct(tmp_path: Path) -> None:
    for name, array in (("sagittal", np.zeros((1, 40, 30))), ("series", np.zeros((4, 4, 4, 3)))):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    Image.fromarray(np.full((8, 8), 900, np.uint16)).save(tmp_path / "deep.png")
    (tmp_path / "broken.nii.gz").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    for name, message in {
        "sagittal.nii.gz": "not axial",
        "series.nii.gz": "several values",
        "deep.png": "8 bits",
        "broken.nii.gz": "cannot be read",
        "empty": "holds no DICOM",
        "missing": "no such file",
    }.items():
        with pytest.raises(InputError, match=message):
            read_ct(tmp_path / name)


@pytest.mark.parametrize("degrees", [0, 20, 30])
def test_volume_under_a_tilted_gantry(degrees: int, series: Path) -> None:
    """A box of voxels has its own volume however the slices lean: area times their distance along the normal."""
    from bonemets.reporting.study.ct_findings import measure_ct_findings

    tilt = np.radians(degrees)
    for file in series.glob("*.dcm"):
        change(
            series, file.name,
            ImageOrientationPatient=["1", "0", "0", "0", f"{np.cos(tilt):.6f}", f"{np.sin(tilt):.6f}"],
        )  # fmt: skip
    scan = read_ct(series)
    mask = np.zeros(scan.pixels.shape, bool)
    mask[10:14, 10:13, 1:4] = True
    (finding,), _ = measure_ct_findings(scan, mask.astype(np.float32), mask)
    # Slices are 4 mm apart along the table.
    assert finding.volume_ml == pytest.approx(36 * 1.5 * 1.5 * 4 * np.cos(tilt) / 1000, rel=1e-4)
    assert abs(np.linalg.det(scan.affine[:3, :3])) * 36 / 1000 == pytest.approx(finding.volume_ml, rel=1e-4)


@pytest.mark.parametrize("uid", ["1.2.3", ""], ids=["equal", "empty"])
def test_slices_with_one_identifier_are_no_copies(series: Path, uid: str) -> None:
    """Taken for copies, four of five slices would be missing without a word."""
    for file in series.glob("*.dcm"):
        change(series, file.name, SOPInstanceUID=uid)
    assert [len(files) for files in files_by_series(sorted(series.glob("*.dcm")))] == [5]
    with pytest.raises(InputError, match="one SOPInstanceUID, or none.*convert it to NIfTI"):
        read_ct(series)


def test_a_copy_counts_once(series: Path) -> None:
    (series / "copy.dcm").write_bytes((series / "3.dcm").read_bytes())
    assert [len(files) for files in files_by_series(sorted(series.glob("*.dcm")))] == [5]


def test_two_patients_in_one_series_are_two_scans(series: Path, tmp_path: Path) -> None:
    for file in list(series.glob("*.dcm")):
        other = series / f"other_{file.name}"
        other.write_bytes(file.read_bytes())
        change(series, other.name, PatientID="q", SOPInstanceUID=f"1.2.3.{file.stem}")
    assert [len(files) for files in files_by_series(sorted(series.glob("*.dcm")))] == [5, 5]
