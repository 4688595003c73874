"""Bone scans, CT and color pictures in one work list: what is what, and on which grid labels lie. No server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from label_server import body_ct, make_study, phantom, skin_picture
from PIL import Image
from pydicom import dcmread

from bonemets.data import load_datalist, read_planar, write_nifti
from bonemets.data.adapters import ADAPTERS, build_datalist
from bonemets.data.ct.scan import read_ct
from bonemets.data.modalities import CT, NM, PICTURE
from bonemets.data.pictures import read_picture
from bonemets.dicom.ct import CTHeader, ct_bytes
from bonemets.errors import InputError
from bonemets.labeling.intake.studies import import_studies
from bonemets.labeling.server.launch import describe
from bonemets.labeling.store.masks import label_bytes, mask_bytes, read_mask
from bonemets.labeling.store.workspace import Workspace

# A volume as scanners' software exports it: (column, row, slice), columns to the left, rows to the back, 2 mm.
LPS = np.array([[-2.0, 0, 0, 90], [0, -2, 0, 60], [0, 0, 3, -30], [0, 0, 0, 1]])
# The same volume with its axes turned: (slice, column, row), slices to the feet.
TURNED = np.array([[0, -2.0, 0, 90], [0, 0, -2, 60], [-3, 0, 0, -24], [0, 0, 0, 1]])


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    project = Workspace(tmp_path / "work")
    project.make()
    return project


def write_series(folder: Path, hu: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for index in range(hu.shape[2]):
        origin = (-79.0, -63.0, 40.0 + 3 * index)
        header = CTHeader("patient_0001", thickness=3)
        content = ct_bytes(hu[..., index], origin, 2.0, index + 1, header, study="s")
        (folder / f"{index + 1}.dcm").write_bytes(content)


def write_volume(path: Path, hu: np.ndarray) -> None:
    """(H, W, K) as displayed, as a file in LPS order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, hu.swapaxes(0, 1), LPS)


class TestStudies:
    def test_mixed_folder(self, work: Workspace, tmp_path: Path) -> None:
        studies = tmp_path / "in"
        make_study(studies / "a" / "nm", 1)
        write_series(studies / "a" / "ct", body_ct(1)[0])
        Image.fromarray(np.full((9, 9, 3), (200, 90, 90), np.uint8)).save(studies / "a" / "nm" / "preview.png")
        colors, label = skin_picture(1)
        (studies / "skin" / "masks").mkdir(parents=True)
        Image.fromarray(colors).save(studies / "skin" / "mole.jpg", quality=95)
        Image.fromarray(label * 255).save(studies / "skin" / "mole_segmentation.png")
        Image.fromarray(label * 255).save(studies / "skin" / "masks" / "mole.png")
        gray = phantom(3)[0].clip(0, 255).astype(np.uint8)
        Image.fromarray(np.stack([gray] * 3, -1)).save(studies / "screenshot.jpg")
        before = sorted(path.stat().st_mtime_ns for path in studies.rglob("*"))

        found = import_studies(studies, work)
        links = work.links()
        # A picture beside DICOM belongs to it; a gray one is a scan, and there are scans in DICOM.
        assert {item: link.modality for item, link in links.items()} == {
            "a_nm_scan": NM, "a_ct": CT, "skin_mole": PICTURE,
        }  # fmt: skip
        assert (found.masks, found.problems) == (2, [])
        assert links["a_ct"].source == "a/ct"
        assert len(links["a_ct"].series) == 1
        # One person in both modalities, who is not named.
        assert links["a_ct"].patient == links["a_nm_scan"].patient
        assert "patient_0001" not in work.links_path.read_text()
        assert links["skin_mole"].views == ()
        np.testing.assert_array_equal(read_ct(work.image("a_ct")).pixels, body_ct(1)[0])
        np.testing.assert_array_equal(
            read_picture(work.image("skin_mole")), read_picture(studies / "skin" / "mole.jpg")
        )
        assert "skin_mole.png" in work.patients_path.read_text()
        assert sorted(path.stat().st_mtime_ns for path in studies.rglob("*")) == before
        again = import_studies(studies, work)
        assert (again.added, again.known) == ([], 3)

    def test_hounsfield_units_tell_ct(self, work: Workspace, tmp_path: Path) -> None:
        hu, label = body_ct(2, slices=3)
        write_volume(tmp_path / "in" / "volume.nii.gz", hu)
        write_volume(tmp_path / "in" / "volume_label.nii.gz", label)
        for number in (1, 2):
            write_volume(tmp_path / "in" / "p1" / f"slice_{number:02d}.nii.gz", body_ct(10 + number, slices=1)[0])
        # A bone scan in the axes of a file without anatomy, and a volume that is neither.
        write_nifti(tmp_path / "in" / "scan.nii.gz", phantom(4)[0].T, np.eye(4))
        write_nifti(tmp_path / "in" / "spect.nii.gz", np.ones((8, 8, 8), np.uint16), LPS)
        found = import_studies(tmp_path / "in", work)
        modalities = {item: link.modality for item, link in work.links().items()}
        assert modalities == {"volume": CT, "p1_slice_01": CT, "p1_slice_02": CT, "scan": NM}
        assert len(found.problems) == 1
        assert "spect.nii.gz" in found.problems[0]
        # The file's own grid, and slices of one patient kept together.
        image = nib.load(work.image("volume"))
        assert (image.shape, image.get_data_dtype()) == ((80, 64, 3), np.int16)
        np.testing.assert_allclose(image.affine, LPS)
        links = work.links()
        assert links["p1_slice_01"].patient == links["p1_slice_02"].patient == "p1"
        # A CT that has not changed is not read again; one that has is another item.
        assert import_studies(tmp_path / "in", work).added == []
        write_volume(tmp_path / "in" / "volume.nii.gz", body_ct(5, slices=3)[0])
        assert import_studies(tmp_path / "in", work).added == ["volume-2"]

    def test_the_user_can_say_what_files_are(self, work: Workspace, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        windowed = body_ct(6, slices=1)[0][..., 0].clip(0, 255).astype(np.uint8)
        Image.fromarray(windowed).save(tmp_path / "in" / "p7_012.png")
        import_studies(tmp_path / "in", work, CT)
        assert [(link.modality, link.patient) for link in work.links().values()] == [(CT, "p7")]
        scan = read_ct(work.image("p7_012"))
        assert scan.format == "image"
        np.testing.assert_array_equal(scan.pixels[..., 0], windowed)

    def test_older_projects_have_bone_scans(self, work: Workspace, tmp_path: Path) -> None:
        make_study(tmp_path / "in" / "p1", 1)
        import_studies(tmp_path / "in", work)
        rows = json.loads(work.links_path.read_text())
        work.links_path.write_text(json.dumps([{k: v for k, v in row.items() if k != "modality"} for row in rows]))
        assert work.modality("p1_scan") == NM
        (line,) = describe(work, [])
        assert line.startswith("1 bone scan; models: none has weights yet")


class TestMasks:
    @pytest.fixture
    def volume(self, tmp_path: Path) -> tuple[Path, np.ndarray]:
        hu, label = body_ct(7, slices=3)
        write_volume(tmp_path / "volume.nii.gz", hu)
        label[0, 5, 2] = 2
        return tmp_path / "volume.nii.gz", label

    @pytest.mark.parametrize("how", ["as the file", "without affine", "in other axes"])
    def test_label_of_a_ct_lies_on_it(self, volume: tuple[Path, np.ndarray], tmp_path: Path, how: str) -> None:
        image, label = volume
        array, affine = {
            "as the file": (label.swapaxes(0, 1), LPS),
            # As MONAI Label's own writer leaves it: (1, …), no affine.
            "without affine": (label.swapaxes(0, 1)[None].astype(np.float32), np.eye(4)),
            "in other axes": (label[:, :, ::-1].transpose(2, 1, 0), TURNED),
        }[how]
        nib.save(nib.Nifti1Image(array, affine), tmp_path / "label.nii.gz")
        content, lesion_pixels = label_bytes(image, tmp_path / "label.nii.gz", CT)
        (tmp_path / "stored.nii.gz").write_bytes(content)
        stored = nib.load(tmp_path / "stored.nii.gz")
        assert (stored.shape, stored.get_data_dtype()) == ((80, 64, 3), np.uint8)
        np.testing.assert_allclose(stored.affine, LPS)
        np.testing.assert_array_equal(np.asarray(stored.dataobj), label.swapaxes(0, 1))
        np.testing.assert_array_equal(read_mask(tmp_path / "stored.nii.gz", CT), label)
        assert lesion_pixels == (label == 1).sum()

    def test_labels_that_do_not_fit_a_ct(self, volume: tuple[Path, np.ndarray], tmp_path: Path) -> None:
        image, label = volume
        shifted = LPS + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 9], [0, 0, 0, 0]])
        wrong = {
            "elsewhere": (label.swapaxes(0, 1), shifted, "lies 9.0 mm from the image"),
            "size": (label.swapaxes(0, 1)[:-1], LPS, "is 79 x 64 x 3 pixels, the image 80 x 64 x 3"),
            "values": (label.swapaxes(0, 1) * 7, LPS, "holds 0, 7, 14"),
        }
        for name, (array, affine, message) in wrong.items():
            nib.save(nib.Nifti1Image(array, affine), tmp_path / f"{name}.nii.gz")
            with pytest.raises(InputError, match=message):
                label_bytes(image, tmp_path / f"{name}.nii.gz", CT)
        (tmp_path / "label.nrrd").write_bytes(b"NRRD0004")
        with pytest.raises(InputError, match=r"save the label of a CT as \.nii\.gz"):
            label_bytes(image, tmp_path / "label.nrrd", CT)

    @pytest.mark.parametrize("kind", ["png", "nifti"])
    def test_label_of_a_picture_lies_on_it(self, tmp_path: Path, kind: str) -> None:
        colors, label = skin_picture(8)
        Image.fromarray(colors).save(tmp_path / "mole.png")
        if kind == "png":
            Image.fromarray(label * 255).save(tmp_path / "label.png")
        else:
            # As ITK-SNAP and 3D Slicer write the mask of a picture: columns first.
            nib.save(nib.Nifti1Image(label.T[..., None], np.diag([-1.0, -1, 1, 1])), tmp_path / "label.nii.gz")
        (path,) = tmp_path.glob("label.*")
        content, lesion_pixels = label_bytes(tmp_path / "mole.png", path, PICTURE)
        (tmp_path / "stored.nii.gz").write_bytes(content)
        stored = nib.load(tmp_path / "stored.nii.gz")
        assert (stored.shape, stored.get_data_dtype()) == ((64, 48, 1), np.uint8)
        np.testing.assert_array_equal(read_planar(tmp_path / "stored.nii.gz").pixels[..., 0], label)
        assert lesion_pixels == label.sum()


class TestDatastore:
    @pytest.fixture
    def store(self, work: Workspace, tmp_path: Path, label_packages: Path) -> Any:
        from bonemets.labeling.store.datastore import VersionedDatastore

        make_study(tmp_path / "in" / "nm", 1)
        write_volume(tmp_path / "in" / "ct" / "volume.nii.gz", body_ct(2, slices=3)[0])
        for number in (1, 2):
            (tmp_path / "in" / "skin").mkdir(exist_ok=True)
            Image.fromarray(skin_picture(number)[0]).save(tmp_path / "in" / "skin" / f"{number}.png")
        import_studies(tmp_path / "in", work)
        return VersionedDatastore(work)

    def test_one_modality_at_a_time(self, store: Any) -> None:
        assert store.progress() == {
            NM: {"total": 1, "labeled": 0}, CT: {"total": 1, "labeled": 0}, PICTURE: {"total": 2, "labeled": 0},
        }  # fmt: skip
        pictures = store.of_modality(PICTURE)
        assert pictures.get_unlabeled_images() == pictures.list_images() == ["skin_1", "skin_2"]
        pictures.update_image_info("skin_1", {"note": "seen", "modality": CT})
        assert store.get_image_info("skin_1")["note"] == "seen"
        assert store.modality_of("skin_1") == PICTURE
        assert len(store.list_images()) == 4

    def test_label_of_a_series_as_dicom_seg(self, work: Workspace, tmp_path: Path, label_packages: Path) -> None:
        from bonemets.labeling.exchange.segmentations import keep_segmentation
        from bonemets.labeling.store.datastore import VersionedDatastore

        hu, label = body_ct(3, slices=3)
        label[..., 1] = 0
        # The series lies right in the studies' folder.
        write_series(tmp_path / "ct1", hu)
        import_studies(tmp_path / "ct1", work)
        store = VersionedDatastore(work)
        (tmp_path / "label.nii.gz").write_bytes(mask_bytes(store.read("ct1"), label))
        store.save_label("ct1", str(tmp_path / "label.nii.gz"), "final", {})
        assert keep_segmentation("ct1", work, str(tmp_path / "ct1")) == "ct1.dcm"
        segmentation = dcmread(work.segmentations / "ct1.dcm")
        assert segmentation.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
        slices = {dcmread(path).SOPInstanceUID: int(path.stem) - 1 for path in (tmp_path / "ct1").iterdir()}
        found = np.zeros_like(label)
        for frame, item in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
            reference = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            found[..., slices[reference]] = frame
        np.testing.assert_array_equal(found, label)
        assert len(segmentation.PerFrameFunctionalGroupsSequence) == 2
        # Without the series the label is saved all the same, and the client is told.
        (tmp_path / "ct1").rename(tmp_path / "moved")
        assert keep_segmentation("ct1", work, str(tmp_path / "ct1")).startswith("not written: ")

    def test_data_lists_of_labels(self, store: Any, work: Workspace, tmp_path: Path) -> None:
        """What is saved becomes items as the bundles' train.yaml reads them: slices, and pictures."""
        volume, picture = body_ct(2, slices=3)[1], skin_picture(1)[1]
        write_nifti(tmp_path / "volume.nii.gz", volume.swapaxes(0, 1), LPS)
        store.save_label("ct_volume", str(tmp_path / "volume.nii.gz"), "final", {})
        Image.fromarray(picture).save(tmp_path / "picture.png")
        store.save_label("skin_1", str(tmp_path / "picture.png"), "final", {})
        assert store.of_modality(CT).get_labeled_images() == ["ct_volume"]
        np.testing.assert_array_equal(store.read_label("ct_volume", "final"), volume)

        for name, path in (("monailabel-ct", tmp_path / "ct.json"), ("monailabel-picture", tmp_path / "skin.json")):
            build_datalist(work.datastore, ADAPTERS[name], path, folds=1)
        slices = load_datalist(tmp_path / "ct.json", None)
        assert len(slices) == 3
        for index, item in enumerate(slices):
            image, label = read_ct(item["image"]), read_ct(item["label"])
            np.testing.assert_array_equal(image.pixels[..., 0], body_ct(2, slices=3)[0][..., index])
            np.testing.assert_array_equal(label.pixels[..., 0], volume[..., index])
            np.testing.assert_allclose(image.affine[:3, 3], (LPS @ [0, 0, index, 1])[:3])
        (item,) = load_datalist(tmp_path / "skin.json", None)
        np.testing.assert_array_equal(read_picture(Path(item["image"])), skin_picture(1)[0])
        np.testing.assert_array_equal(read_planar(item["label"]).pixels[..., 0], picture)
        assert json.loads((tmp_path / "skin.json").read_text())["modality"] == PICTURE
