import os
import shutil
import warnings
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pydicom.data
import pytest
from PIL import Image

from bonemets.data import read_planar, read_study
from bonemets.errors import InputError


def refused(path, match: str) -> str:
    """The message: one line that names the file."""
    with pytest.raises(InputError, match=match) as error:
        read_study(path)
    message = str(error.value)
    assert "\n" not in message
    assert Path(path).name in message
    return message


def pydicom_test_file(name: str) -> Path:
    path = pydicom.data.get_testdata_file(name, download=False)
    if path is None:
        pytest.skip("pydicom-data is not installed")
    return Path(path)


def test_missing_file(tmp_path):
    refused(tmp_path / "nothing.dcm", "no such file")


def test_empty_folder(tmp_path):
    refused(tmp_path, "holds no DICOM")


def test_folder_of_text(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    refused(tmp_path, "holds no DICOM")


def test_empty_file(tmp_path):
    (tmp_path / "empty.dcm").touch()
    refused(tmp_path / "empty.dcm", "is empty")


@pytest.mark.parametrize("text", ["This is not an image.\n" * 100, "x", "\x02\x00\x00\x00UL\x04\x00" * 40])
def test_text_named_dcm(tmp_path, text):
    (tmp_path / "text.dcm").write_text(text)
    refused(tmp_path / "text.dcm", "not a DICOM file")


def test_ct():
    message = refused(pydicom_test_file("CT_small.dcm"), "modality CT; give a planar nuclear-medicine")
    # Nothing that identifies the patient.
    dataset = pydicom.dcmread(pydicom_test_file("CT_small.dcm"))
    assert str(dataset.PatientName) not in message
    assert str(dataset.PatientID) not in message


def test_folder_of_ct(tmp_path):
    shutil.copy(pydicom_test_file("CT_small.dcm"), tmp_path / "ct.dcm")
    with pytest.raises(InputError, match="modality CT"):
        read_study(tmp_path)


@pytest.mark.parametrize("share", [0.999, 0.9, 0.6, 0.3, 0.1, 0.02])
def test_truncated(save_nm, counts, share):
    path = save_nm("whole.dcm", counts)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path, "cut short|not a DICOM|no pixel data|no stated modality|malformed")


@pytest.mark.parametrize("share", [0.95, 0.7, 0.4, 0.1])
def test_truncated_compressed(nema_scan, tmp_path, share):
    content = nema_scan.read_bytes()
    (tmp_path / "cut.dcm").write_bytes(content[: int(len(content) * share)])
    refused(tmp_path / "cut.dcm", "cut short|no pixel data|malformed|decompressed")


def test_no_pixel_data(save_nm, counts):
    refused(save_nm("header.dcm", counts, lambda d: delattr(d, "PixelData")), "has no pixel data")


def test_unsupported_compression():
    refused(pydicom_test_file("JPEG-lossy.dcm"), "JPEG Extended .* cannot be decompressed")


def test_rows_that_lie(save_nm, counts):
    refused(save_nm("rows.dcm", counts, lambda d: setattr(d, "Rows", 5000)), "cut short or malformed")


def test_malformed_header(save_nm, counts):
    def change(dataset):
        for detector in dataset.DetectorInformationSequence:
            del detector.ViewCodeSequence
            detector.ImageOrientationPatient = []
        dataset.DetectorVector = []
        dataset["NumberOfFrames"] = pydicom.DataElement(0x00280008, "LO", "many")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = save_nm("odd.dcm", counts, change)
    refused(path, "malformed|not a DICOM")


def test_volume_nifti(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((8, 8, 8), np.float32), np.eye(4)), tmp_path / "volume.nii.gz")
    refused(tmp_path / "volume.nii.gz", "is 8 x 8 x 8, a volume")


def test_color_nifti(tmp_path):
    colors = np.zeros((8, 8), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colors, np.eye(4)), tmp_path / "rgb.nii")
    refused(tmp_path / "rgb.nii", "several values per pixel")


@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.png", "a.jpg", "a.tif", "a.zip", "a", "a.ima"]
)
@pytest.mark.parametrize("content", [b"no such format", os.urandom(4096)])
def test_garbage_under_every_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, "cannot be|not a DICOM")


def test_truncated_nifti(tmp_path, counts):
    nib.save(nib.Nifti1Image(counts.astype(np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "a.nii.gz", "cannot be read as NIfTI")


def test_truncated_png(tmp_path, counts):
    Image.fromarray(counts[..., 0].astype(np.uint8)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "a.png", "cannot be read as a picture")


def test_picture_of_several_pages(tmp_path, counts):
    pages = [Image.fromarray(counts[..., index].astype(np.uint8)) for index in (0, 1)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    refused(tmp_path / "a.tif", "has 2 pages")


def test_zip_without_scan(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    refused(tmp_path / "a.zip", "holds no DICOM")


def test_color_screenshot(save_nm, counts):
    def change(dataset):
        dataset.SamplesPerPixel = 3
        dataset.PhotometricInterpretation = "RGB"

    refused(save_nm("shot.dcm", counts, change), "color screenshot")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(save_nm, counts):
    path = save_nm("secret.dcm", counts)
    path.chmod(0)
    refused(path, "permissions")


def test_pydicoms_own_odd_files_are_read_or_refused():
    """Every file that pydicom tests itself with; one of them with a planar scan is the least to expect."""
    folders = {pydicom_test_file(name).parent for name in ("CT_small.dcm", "JPEG-LL.dcm")}
    files = sorted(file for folder in folders for file in folder.iterdir() if file.is_file())
    read = []
    for file in files:
        try:
            read.append((file.name, read_planar(file).shape))
        except InputError as error:
            assert "\n" not in str(error)
    assert len(files) > 100
    assert ("JPEG2000.dcm", (1024, 256, 1)) in read
    assert all(shape[:2] == (1024, 256) for _, shape in read)
