"""The adapters of bone scans: DICOM with ITK-SNAP labels, and MONAI Label's datastore."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
from adapter_samples import blob, texture
from pydicom import dcmwrite

from bonemets.data import load_datalist, planar_affine, read_planar, write_nifti
from bonemets.data.adapters import ADAPTERS, Options, ProblemsError, build_datalist
from bonemets.dicom.nm import NMHeader, nm_dataset

SHAPE = (96, 40)
# Above all else in a picture, and little enough that two scans with equal spots are no near-duplicates.
HOT = 300


def make_counts(seed: int, hot: bool = True) -> np.ndarray:
    """Two views (anterior, posterior) as displayed, with hot spots that no mirroring maps onto themselves."""
    counts = np.stack([texture(seed, SHAPE), texture(seed + 100, SHAPE)], axis=-1).astype(np.uint16) + 1
    if hot:
        counts[10:14, 5:8, 0] = counts[13, 5:12, 0] = HOT
        counts[60:70, 30:33, 1] = HOT
    return counts


def write_scan(path: Path, counts: np.ndarray, patient: str, *, posterior_first: bool = False, feet_first: bool = False,
               study: str = "1", views: tuple[str, ...] = ("anterior", "posterior")) -> None:  # fmt: skip
    """A DICOM object as a camera might store it."""
    if posterior_first:
        counts, views = counts[..., ::-1], views[::-1]
    if feet_first:
        counts = counts[::-1]
    dataset = nm_dataset(np.ascontiguousarray(counts), NMHeader(patient), views=views, study=study)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientID, dataset.PatientName = patient, f"{patient}^Name"
    dataset.StudyDate = f"2020010{study}"
    if feet_first:
        for detector in dataset.DetectorInformationSequence:
            detector.ImageOrientationPatient = [*detector.ImageOrientationPatient[:5], 1]
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, dataset, enforce_file_format=True)


def draw_in_itk(scan: Path, label: Path, value: int = 1) -> None:
    """Label the hot spots as ITK-SNAP does: it reads and writes through ITK, in the DICOM object's own grid."""
    image = itk.imread(str(scan), itk.SS)
    drawn = itk.image_from_array(np.uint8(value * (itk.array_from_image(image) >= HOT)))
    drawn.CopyInformation(image)
    label.parent.mkdir(parents=True, exist_ok=True)
    itk.imwrite(drawn, str(label))


def build(name: str, root: Path, **arguments):
    arguments = {"folds": 1, **arguments}
    return build_datalist(root, ADAPTERS[name], root.parent / "out" / "datalist.json", **arguments)


def problems(name: str, root: Path) -> dict[str, str]:
    with pytest.raises(ProblemsError) as caught:
        build(name, root)
    assert not (root.parent / "out").exists()
    return {problem.file: problem.kind for problem in caught.value.problems}


def assert_labels_lie_on_hot_spots(datalist: Path, expected: dict[str, np.ndarray]) -> None:
    items = load_datalist(datalist, None)
    assert {item["view"] for item in items} == set(expected)
    for item in items:
        image, label = read_planar(item["image"]), read_planar(item["label"])
        np.testing.assert_array_equal(image.pixels[..., 0], expected[item["view"]])
        np.testing.assert_array_equal(label.pixels[..., 0], expected[item["view"]] >= HOT)
        assert image.views == (item["view"],)
        np.testing.assert_allclose(nib.load(item["label"]).affine, planar_affine(SHAPE, (2.26, 2.26), item["view"]))


@pytest.mark.parametrize(("posterior_first", "feet_first"), list(itertools.product((False, True), repeat=2)))
def test_labels_from_itk_lie_on_their_views(tmp_path, posterior_first, feet_first):
    counts = make_counts(1)
    scan = tmp_path / "set" / "a" / "scan.dcm"
    write_scan(scan, counts, "p", posterior_first=posterior_first, feet_first=feet_first)
    draw_in_itk(scan, scan.with_name("scan.nii.gz"))
    built = build("nm-itksnap", tmp_path / "set")
    assert built.written == 4
    expected = {"anterior": counts[..., 0], "posterior": counts[..., 1]}
    assert_labels_lie_on_hot_spots(tmp_path / "out" / "datalist.json", expected)


def test_a_label_whose_rows_a_converter_turned_round_is_turned_back(tmp_path):
    counts = make_counts(1)
    scan = tmp_path / "set" / "scan.dcm"
    write_scan(scan, counts, "p")
    stored = np.uint8(counts >= HOT).transpose(1, 0, 2)
    for up in (
        np.diag([-2.26, 2.26, 1, 1]),
        np.array([[-2.26, 0, 0, 0], [0, 0, 1, 0], [0, 2.26, 0, 0], [0, 0, 0, 1.0]]),
    ):
        write_nifti(scan.with_name("scan.nii.gz"), np.ascontiguousarray(stored[:, ::-1]), up)
        build("nm-itksnap", tmp_path / "set")
        expected = {"anterior": counts[..., 0], "posterior": counts[..., 1]}
        assert_labels_lie_on_hot_spots(tmp_path / "out" / "datalist.json", expected)


def test_labels_of_single_views_in_rows_and_columns(tmp_path):
    counts = make_counts(1)
    write_scan(tmp_path / "set" / "x" / "IM0001.dcm", counts, "p", posterior_first=True)
    for index, view in enumerate(("anterior", "posterior")):
        mask = np.uint8(counts[..., index] >= HOT)
        write_nifti(tmp_path / "set" / "x" / f"{view}_label.nii.gz", mask, planar_affine(SHAPE, (2.26, 2.26), view))
    build("nm-itksnap", tmp_path / "set")
    expected = {"anterior": counts[..., 0], "posterior": counts[..., 1]}
    assert_labels_lie_on_hot_spots(tmp_path / "out" / "datalist.json", expected)


def test_one_object_per_view_and_several_studies_and_patients(tmp_path):
    root = tmp_path / "set"
    for patient, study in (("Doe1", "1"), ("Doe1", "2"), ("Doe2", "1")):
        counts = make_counts(int(patient[-1]) * 10 + int(study))
        for index, view in enumerate(("anterior", "posterior")):
            scan = root / f"{patient}_{study}_{view}.dcm"
            write_scan(scan, counts[..., index : index + 1], patient, study=study, views=(view,))
            draw_in_itk(scan, scan.with_name(f"{scan.stem}-label.nii.gz"))
    document = build("nm-itksnap", root, folds=2).document
    folders = {Path(item["image"]).parent.as_posix() for item in document["training"]}
    first, second = sorted({item["patient"] for item in document["training"]}, key=lambda name: -sum(
        item["patient"] == name for item in document["training"]))  # fmt: skip
    assert folders == {
        f"datalist_files/{first}/study_1", f"datalist_files/{first}/study_2", f"datalist_files/{second}",
    }  # fmt: skip
    assert len({item["fold"] for item in document["training"] if item["patient"] == first}) == 1
    for item in load_datalist(tmp_path / "out" / "datalist.json", None):
        hot = read_planar(item["image"]).pixels >= HOT
        np.testing.assert_array_equal(read_planar(item["label"]).pixels, hot)


def test_nothing_that_identifies_a_patient_is_written(tmp_path):
    scan = tmp_path / "set" / "Miller_4711" / "Miller.dcm"
    write_scan(scan, make_counts(1), "4711")
    draw_in_itk(scan, scan.with_name("Miller.nii.gz"))
    built = build("nm-itksnap", tmp_path / "set")
    assert any("--salt" in note for note in built.notes)
    salted = build("nm-itksnap", tmp_path / "set", options=Options(salt="secret"))
    assert salted.document["training"][0]["patient"] != built.document["training"][0]["patient"]
    assert not any("--salt" in note for note in salted.notes)
    for path in (tmp_path / "out").rglob("*"):
        content = b"" if path.is_dir() else path.read_bytes()
        if path.suffix == ".gz":
            content = nib.load(path).to_bytes()
        for secret in ("4711", "Miller"):
            assert secret not in path.relative_to(tmp_path).as_posix()
            assert secret.encode() not in content


def test_label_2_means_ignore_and_an_empty_label_no_lesion(tmp_path):
    for name, value, hot in (("a", 2, True), ("b", 1, False)):
        scan = tmp_path / "set" / f"{name}.dcm"
        write_scan(scan, make_counts(ord(name), hot), name)
        draw_in_itk(scan, scan.with_suffix(".nii.gz"), value)
    build("nm-itksnap", tmp_path / "set")
    values = [
        set(np.unique(read_planar(i["label"]).pixels)) for i in load_datalist(tmp_path / "out" / "datalist.json", None)
    ]
    assert sorted(map(sorted, values)) == [[0], [0], [0, 2], [0, 2]]


def test_itksnap_problems_are_reported_together(tmp_path):
    root = tmp_path / "set"
    for name in "abcdefg":
        write_scan(root / f"{name}.dcm", make_counts(ord(name)), name)
        draw_in_itk(root / f"{name}.dcm", root / f"{name}.nii.gz")
    (root / "a.nii.gz").unlink()
    (root / "b.dcm").unlink()
    write_nifti(root / "c.nii.gz", np.ones((40, 95, 2), np.uint8), np.eye(4))
    draw_in_itk(root / "d.dcm", root / "d.nii.gz", value=3)
    (root / "e.dcm").write_bytes((root / "e.dcm").read_bytes()[:-500])
    empty = make_counts(5)
    empty[empty < HOT] = 0
    write_scan(root / "f.dcm", empty, "f")
    write_nifti(root / "f.nii.gz", np.uint8(empty[::-1] >= HOT).transpose(1, 0, 2), np.diag([-1.0, -1, 1, 1]))
    write_nifti(root / "g.nii.gz", np.zeros((40, 96, 3), np.uint8), np.eye(4))
    assert problems("nm-itksnap", root) == {
        "a.dcm": "pair", "b.nii.gz": "pair", "c.nii.gz": "size", "d.nii.gz": "values", "e.dcm": "unreadable",
        "f.nii.gz": "pair", "g.nii.gz": "size",
    }  # fmt: skip


def make_datastore(root: Path) -> Path:
    """Images of our own convention, in a folder that MONAI Label served; two of three are labeled."""
    for number, name in enumerate(("p1_anterior", "p1_posterior", "p2_anterior")):
        view = name.split("_")[1]
        affine = planar_affine((64, 48), (2.0, 2.0), view)
        root.mkdir(parents=True, exist_ok=True)
        write_nifti(root / f"{name}.nii.gz", texture(number), affine)
        for tag in ("final", "original"):
            (root / "labels" / tag).mkdir(parents=True, exist_ok=True)
        write_nifti(root / "labels" / "original" / f"{name}.nii.gz", blob(value=1), affine)
    write_nifti(root / "labels" / "final" / "p1_anterior.nii.gz", blob(value=1), planar_affine((64, 48), (2.0, 2.0)))
    # As MONAI Label's own writer leaves it: a leading axis, float, no affine.
    write_nifti(
        root / "labels" / "final" / "p1_posterior.nii.gz", blob(top=40, value=1).astype(np.float32)[None], np.eye(4)
    )
    (root / "datastore_v2.json").write_text(json.dumps({"name": "x", "images_dir": ".", "objects": {}}))
    return root


def test_monailabel_takes_final_labels_in_the_image_grid(tmp_path):
    built = build("monailabel", make_datastore(tmp_path / "set"))
    items = {item["view"]: item for item in load_datalist(tmp_path / "out" / "datalist.json", None)}
    assert {item["patient"] for item in items.values()} == {"p1"}
    for view, top in (("anterior", 10), ("posterior", 40)):
        label = read_planar(items[view]["label"])
        np.testing.assert_array_equal(label.pixels[..., 0], blob(top=top, value=1))
        np.testing.assert_allclose(label.affine, read_planar(items[view]["image"]).affine)
    assert any("1 of 3" in note for note in built.notes)


def test_monailabel_splits_scans_of_two_views(tmp_path):
    root = tmp_path / "set"
    (root / "labels" / "final").mkdir(parents=True)
    image = np.stack([texture(1), texture(2)], -1)
    mask = np.stack([blob(value=1), blob(top=30, value=2)], -1)
    write_nifti(root / "scan.nii.gz", image, planar_affine((64, 48), (2.0, 2.0)))
    write_nifti(root / "labels" / "final" / "scan.nii.gz", mask, np.eye(4))
    build("monailabel", root)
    items = {item["view"]: item for item in load_datalist(tmp_path / "out" / "datalist.json", None)}
    for index, view in enumerate(("anterior", "posterior")):
        np.testing.assert_array_equal(read_planar(items[view]["image"]).pixels[..., 0], image[..., index])
        np.testing.assert_array_equal(read_planar(items[view]["label"]).pixels[..., 0], mask[..., index])


def test_monailabel_problems(tmp_path):
    root = make_datastore(tmp_path / "set")
    write_nifti(root / "labels" / "final" / "stray.nii.gz", blob(value=1), np.eye(4))
    write_nifti(root / "labels" / "final" / "p1_anterior.nii.gz", blob((60, 48), value=1), np.eye(4))
    (root / "labels" / "final" / "p2_anterior.nii.gz").write_bytes(b"no nifti")
    assert problems("monailabel", root) == {
        "labels/final/stray.nii.gz": "pair", "labels/final/p1_anterior.nii.gz": "size",
        "labels/final/p2_anterior.nii.gz": "unreadable",
    }  # fmt: skip
    (root / "datastore_v2.json").write_text("[")
    with pytest.raises(ValueError, match="datastore"):
        build("monailabel", root)


def test_a_scan_without_patient_id_needs_a_pattern_and_copies_get_names_of_their_own(tmp_path):
    root = tmp_path / "set"
    for name in ("x1_early", "x1_late"):
        write_scan(root / f"{name}.dcm", make_counts(ord(name[-1])), "")
        draw_in_itk(root / f"{name}.dcm", root / f"{name}.nii.gz")
    assert problems("nm-itksnap", root) == {"x1_early.dcm": "patient", "x1_late.dcm": "patient"}
    document = build("nm-itksnap", root, options=Options(patient_pattern=r"(x\d)_")).document
    (patient,) = {item["patient"] for item in document["training"]}
    assert "x1" not in patient
    assert len({item["image"] for item in document["training"]}) == 4


@pytest.mark.parametrize(
    ("one", "other"), [("0012", "12"), ("ab1", "AB1"), ("P 7", "P7"), ("M\u00fcller", "Mu\u0308ller")]
)
def test_patient_ids_that_differ_in_spelling_have_one_pseudonym(tmp_path, one, other):
    """Pseudonyms hide the likeness: it must be seen before they are made."""
    for number, patient in enumerate((one, other, "else")):
        scan = tmp_path / "set" / str(number) / "scan.dcm"
        write_scan(scan, make_counts(number), patient, study=str(number + 1))
        draw_in_itk(scan, scan.with_name("label.nii.gz"))
    built = build("nm-itksnap", tmp_path / "set", folds=2)
    folds = {(item["patient"], item["fold"]) for item in built.document["training"]}
    assert len(folds) == 2
    assert "2 patients, 6 images" in built.notes[0]
    assert not any(name in note for note in built.notes for name in (one, other))
