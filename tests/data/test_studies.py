"""What a source holds: one answer for `bonemets segment` and for the label server, and nothing read twice."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from bonemets.data.modalities import CT, NM, PICTURE, modality_of, read_file
from bonemets.data.planar.nuclear import UnsuitableError
from bonemets.data.studies import read_images
from bonemets.dicom import NMHeader, write_nm
from bonemets.dicom.ct import CTHeader, ct_bytes
from bonemets.errors import InputError
from bonemets.labeling.intake.sources import Skipped, find_images

ROWS, COLUMNS = 64, 48


def gray() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, (ROWS, COLUMNS), dtype=np.uint8)


def in_color(share: float) -> np.ndarray:
    """A gray picture, a share of whose pixels is red."""
    pixels = np.repeat(gray()[..., None], 3, axis=2)
    pixels[: round(share * ROWS)] = (180, 60, 40)
    return pixels


def hounsfield(slices: int) -> np.ndarray:
    hu = np.full((COLUMNS, ROWS, slices), -1000, np.int16)
    hu[10:30, 10:50] = 60
    return hu


def write(path: Path, content: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".nii.gz"):
        nib.save(nib.Nifti1Image(content, np.diag([-2.0, -2.0, 3.0, 1.0])), path)
    else:
        Image.fromarray(content).save(path)
    return path


# Each file: what it holds, and what it is.
FILES = {
    "gray.png": (gray(), NM),
    "gray_in_color.png": (in_color(0.0), NM),
    "caption_in_color.png": (in_color(0.07), NM),
    "mole.png": (in_color(0.5), PICTURE),
    "mole.jpg": (in_color(1.0), PICTURE),
    "deep.png": (gray().astype(np.uint16) * 200, NM),
    "scan.nii.gz": (gray()[..., None].astype(np.int16), NM),
    "slice.nii.gz": (hounsfield(1), CT),
    "volume.nii.gz": (hounsfield(4), CT),
}


@pytest.mark.parametrize("name", FILES)
def test_segment_and_the_label_server_say_the_same(name: str, tmp_path: Path) -> None:
    content, expected = FILES[name]
    path = write(tmp_path / "in" / name, content)
    ((of_segment, scan),) = read_images(path)
    ((of_folder, _),) = read_images(tmp_path / "in")
    (of_server,) = find_images(tmp_path / "in", Skipped())
    assert (of_segment, of_folder, of_server.modality, read_file(path)[0]) == (expected,) * 4
    np.testing.assert_array_equal(scan.pixels, of_server.image.pixels)


def test_a_color_picture_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "mole.png", in_color(0.5))
    opened: Counter[str] = Counter()
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda file, *rest: (opened.update([str(file)]), real(file, *rest))[1])
    ((kind, scan),) = read_images(path)
    assert kind == PICTURE == modality_of(scan)
    np.testing.assert_array_equal(scan.colors, in_color(0.5))
    assert opened == {str(path): 1}


def series(folder: Path, slices: int = 3) -> Path:
    folder.mkdir(parents=True)
    header = CTHeader(patient="P1")
    for index in range(slices):
        content = ct_bytes(hounsfield(1)[..., 0].T, (0.0, 0.0, 3.0 * index), 2.0, index + 1, header)
        (folder / f"{index}.dcm").write_bytes(content)
    return folder


@pytest.mark.parametrize("zipped", [False, True])
def test_a_ct_folder_is_searched_once(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = series(tmp_path / "ct")
    if zipped:
        with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
            for path in source.iterdir():
                archive.write(path, path.name)
        source = tmp_path / "ct.zip"
    searched = []
    real = os.walk
    monkeypatch.setattr(os, "walk", lambda top, *args, **kwargs: (searched.append(top), real(top, *args, **kwargs))[1])
    ((kind, scan),) = read_images(source)
    assert (kind, scan.pixels.shape[2], scan.path) == (CT, 3, source)
    assert len(searched) == 1


def test_bone_scans_come_before_what_lies_beside_them(tmp_path: Path) -> None:
    write_nm(tmp_path / "in" / "scan.dcm", np.ones((64, 32, 2), np.uint16), NMHeader(patient="A"))
    series(tmp_path / "in" / "ct")
    write(tmp_path / "in" / "mole.png", in_color(0.5))
    told: list[InputError] = []
    assert [kind for kind, _ in read_images(tmp_path / "in", report=told.append)] == [NM]
    assert all(isinstance(error, UnsuitableError) for error in told)
    assert ["1 CT series" in str(told[0]), "1 files" in str(told[1])] == [True, True]
    assert [kind for kind, _ in read_images(tmp_path / "in")] == [NM]
    assert [kind for kind, _ in read_images(tmp_path / "in", CT)] == [CT]


def test_each_picture_of_a_folder_is_what_it_shows(tmp_path: Path) -> None:
    for name, (content, _) in FILES.items():
        write(tmp_path / name, content)
    found = Counter(kind for kind, _ in read_images(tmp_path))
    assert found == Counter(kind for _, kind in FILES.values())


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("nothing")
    with pytest.raises(InputError, match="holds no DICOM"):
        list(read_images(tmp_path / "in"))
    write_nm(tmp_path / "in" / "odd.dcm", np.ones((64, 32, 2), np.uint16), NMHeader(patient="A"))
    dataset = pydicom.dcmread(tmp_path / "in" / "odd.dcm")
    dataset.Modality, dataset.SOPClassUID = "SR", "1.2.840.10008.5.1.4.1.1.88.33"
    dataset.save_as(tmp_path / "in" / "odd.dcm")
    with pytest.raises(UnsuitableError, match="modality SR"):
        list(read_images(tmp_path / "in"))
    told: list[InputError] = []
    assert list(read_images(tmp_path / "in", report=told.append)) == []
    assert sorted(str(error).rpartition("/")[2].partition(":")[0] for error in told) == ["notes.txt", "odd.dcm"]
