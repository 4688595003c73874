"""What all adapters share: pairs, problems reported at once, duplicates, folds, pseudonyms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from adapter_samples import blob, make_pairs, save, texture

from bonemets.data import check_leakage, datalist_hash, load_datalist, read_planar, write_nifti
from bonemets.data.adapters import ADAPTERS, Options, ProblemsError, build_datalist, export_nnunet, get_adapter
from bonemets.data.lists.patients import pseudonym
from bonemets.errors import InputError

PAIRS = ADAPTERS["pairs"]


def problems_of(root: Path, output: Path, **arguments) -> list[tuple[str, str]]:
    with pytest.raises(ProblemsError) as caught:
        build_datalist(root, arguments.pop("adapter", PAIRS), output, **arguments)
    assert "\n" not in str(caught.value)
    assert str(len(caught.value.problems)) in str(caught.value)
    return sorted((problem.kind, problem.file) for problem in caught.value.problems)


def test_the_registry_names_every_format():
    wanted = {"bm-seg", "isic2018", "cxr-lung", "nm-itksnap", "labelme", "bs80k", "monailabel", "nnunet", "pairs"}
    assert set(ADAPTERS) == wanted | {"monailabel-ct", "monailabel-picture"}
    with pytest.raises(InputError, match="bm-seg"):
        get_adapter("bmseg")


def test_pairs_become_a_data_list_that_loads(tmp_path):
    root = make_pairs(tmp_path / "set", [f"p{patient}_{slice_}" for patient in range(6) for slice_ in range(3)])
    output = tmp_path / "out" / "datalist.json"
    options = Options(patient_pattern=r"(p\d+)_")
    built = build_datalist(root, PAIRS, output, folds=3, seed=1, test_share=0.34, options=options)
    assert built.written == 0
    assert not (output.parent / "datalist_files").exists()
    parts = [load_datalist(output, 0, part) for part in ("train", "validation", "test")]
    assert sorted(Path(item["image"]).name for part in parts for item in part) == sorted(
        path.name for path in (root / "images").iterdir()
    )
    patients = [{item["patient"] for item in part} for part in parts]
    assert patients[2] and not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])
    assert all(Path(item["image"]).name == Path(item["label"]).name for part in parts for item in part)
    assert check_leakage(output) == []
    assert json.loads(output.read_text())["training"][0]["image"].startswith("../set/images/")


def test_a_list_for_testing_only_has_no_folds(tmp_path):
    root = make_pairs(tmp_path / "set", ["a", "b", "c"])
    built = build_datalist(root, PAIRS, tmp_path / "d.json", test_share=1.0)
    assert built.document["numFolds"] == built.document["numTraining"] == 0
    assert len(load_datalist(tmp_path / "d.json", None, "test")) == 3
    with pytest.raises(InputError, match="no training"):
        export_nnunet(tmp_path / "d.json", tmp_path / "out", 1)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_folds(tmp_path):
    root = make_pairs(tmp_path / "set", [f"a{number}" for number in range(12)])
    hashes = {}
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        build_datalist(root, PAIRS, tmp_path / f"{name}.json", folds=3, seed=seed)
        hashes[name] = datalist_hash(tmp_path / f"{name}.json")
    document = json.loads((tmp_path / "one.json").read_text())
    other = json.loads((tmp_path / "three.json").read_text())
    assert hashes["one"] == hashes["two"]
    assert [i["fold"] for i in document["training"]] != [i["fold"] for i in other["training"]]


def test_folds_are_stratified_by_lesion(tmp_path):
    root = make_pairs(tmp_path / "set", [f"a{number}" for number in range(12)])
    for number in range(6):
        save(root / "masks" / f"a{number}.png", np.zeros((64, 48), np.uint8))
    document = build_datalist(root, PAIRS, tmp_path / "d.json", folds=3).document
    for fold in range(3):
        members = [item["patient"] for item in document["training"] if item["fold"] == fold]
        assert sum(int(name[1:]) < 6 for name in members) == 2


def test_everything_wrong_is_reported_at_once_and_nothing_is_written(tmp_path):
    root = make_pairs(tmp_path / "set", [f"a{number}" for number in range(8)])
    (root / "masks" / "a0.png").unlink()
    save(root / "masks" / "stray.png", blob())
    save(root / "masks" / "a1.png", blob((32, 48)))
    (root / "images" / "a2.png").write_bytes(b"\x89PNG broken")
    (root / "masks" / "a3.png").write_bytes((root / "masks" / "a3.png").read_bytes()[:40])
    save(root / "masks" / "a4.png", blob(value=128))
    save(root / "images" / "a5.png", texture(6))
    output = tmp_path / "out" / "d.json"
    assert problems_of(root, output, folds=2) == [
        ("duplicate", "images/a6.png"),
        ("pair", "images/a0.png"),
        ("pair", "masks/stray.png"),
        ("size", "masks/a1.png"),
        ("unreadable", "images/a2.png"),
        ("unreadable", "masks/a3.png"),
        ("values", "masks/a4.png"),
    ]
    assert not output.parent.exists()


def test_jpeg_masks_and_two_files_of_one_name_are_problems(tmp_path):
    root = make_pairs(tmp_path / "set", ["a", "b"])
    (root / "masks" / "a.png").unlink()
    save(root / "masks" / "a.jpg", blob())
    save(root / "images" / "b.bmp", texture(9))
    with pytest.raises(ProblemsError) as caught:
        build_datalist(root, PAIRS, tmp_path / "d.json")
    texts = {problem.file: problem.text for problem in caught.value.problems}
    assert "JPEG" in texts["masks/a.jpg"]
    assert "same name" in texts["images/b.png"]


def test_mask_endings_and_sub_folders_are_matched(tmp_path):
    for number, place in enumerate(("x/one", "y/one", "two")):
        save(tmp_path / "Images" / f"{place}.png", texture(number))
        save(tmp_path / "labels" / f"{place}{'_mask' if number else ''}.png", blob())
    options = Options(patient_pattern=r"Images/(.+)")
    document = build_datalist(tmp_path, PAIRS, tmp_path / "d.json", folds=1, options=options).document
    assert {item["patient"]: item["label"] for item in document["training"]} == {
        "x/one": "labels/x/one.png", "y/one": "labels/y/one_mask.png", "two": "labels/two_mask.png",
    }  # fmt: skip


def test_near_duplicates_across_patients_are_errors_groups_or_ignored(tmp_path):
    root = make_pairs(tmp_path / "set", [f"a{number}" for number in range(6)])
    noisy = texture(0).astype(int) + np.random.default_rng(1).integers(-3, 4, (64, 48))
    save(root / "images" / "a3.png", np.uint8(np.clip(noisy, 0, 255))[:, ::-1].copy())
    assert problems_of(root, tmp_path / "d.json", folds=2) == [("duplicate", "images/a3.png")]
    grouped = build_datalist(root, PAIRS, tmp_path / "d.json", folds=2, duplicates="group").document
    patient = {Path(item["image"]).stem: item["patient"] for item in grouped["training"]}
    assert patient["a3"] == patient["a0"] == "a0"
    assert len(set(patient.values())) == 5
    ignored = build_datalist(root, PAIRS, tmp_path / "d.json", folds=2, duplicates="ignore").document
    assert len({item["patient"] for item in ignored["training"]}) == 6


def test_near_duplicates_are_found_across_blocks_of_the_comparison(tmp_path, monkeypatch):
    root = make_pairs(tmp_path / "set", [f"a{number}" for number in range(7)])
    for copy, original in ((4, 0), (6, 5)):
        save(root / "images" / f"a{copy}.png", np.uint8(np.clip(texture(original).astype(int) + 1, 0, 255)))
    monkeypatch.setattr("bonemets.data.lists.check._BLOCK", 3)
    found = problems_of(root, tmp_path / "d.json", folds=2)
    assert found == [("duplicate", "images/a4.png"), ("duplicate", "images/a6.png")]


def test_similar_images_of_one_patient_are_fine(tmp_path):
    root = make_pairs(tmp_path / "set", ["p1_0", "p1_1", "p2_0"])
    save(root / "images" / "p1_1.png", np.uint8(np.clip(texture(0).astype(int) + 1, 0, 255)))
    options = Options(patient_pattern=r"(p\d)")
    assert build_datalist(root, PAIRS, tmp_path / "d.json", folds=2, options=options).document["numTraining"] == 3


def test_patients_come_from_a_table(tmp_path):
    root = make_pairs(tmp_path / "set", ["a", "b", "c"])
    (root / "index.csv").write_text("id,file,patientid\na,images/a.png,7\nb,images\\b.png,7\nc,c.png,8\n")
    document = build_datalist(root, PAIRS, tmp_path / "d.json", folds=2).document
    assert {Path(i["image"]).stem: i["patient"] for i in document["training"]} == {"a": "7", "b": "7", "c": "8"}
    table = tmp_path / "other.csv"
    table.write_text("image,subject\na.png,s1\nb.png,s2\nc.png,\n")
    assert problems_of(root, tmp_path / "e.json", options=Options(patient_table=table)) == [("patient", "images/c.png")]
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="header"):
        build_datalist(root, PAIRS, tmp_path / "e.json", options=Options(patient_table=table))


def test_a_pattern_that_does_not_match_is_a_problem(tmp_path):
    root = make_pairs(tmp_path / "set", ["p1_a", "other"])
    found = problems_of(root, tmp_path / "d.json", options=Options(patient_pattern=r"(p\d)"))
    assert found == [("patient", "images/other.png")]
    with pytest.raises(InputError, match="regular expression"):
        build_datalist(root, PAIRS, tmp_path / "d.json", options=Options(patient_pattern="(p"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"folds": 4}, "3 patients"),
        ({"test_share": 1.1}, "from 0 to 1"),
        ({"test_share": 1.0, "folds": 2}, "0 patients"),
        ({"folds": 3, "test_share": 0.4}, "2 patients"),
    ],
)
def test_folds_and_shares_that_do_not_suit_are_refused(tmp_path, arguments, message):
    root = make_pairs(tmp_path / "set", ["a", "b", "c"])
    with pytest.raises(InputError, match=message):
        build_datalist(root, PAIRS, tmp_path / "d.json", **arguments)
    assert not (tmp_path / "d.json").exists()


def test_folders_without_the_layout_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        build_datalist(tmp_path / "none", PAIRS, tmp_path / "d.json")
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match="masks"):
        build_datalist(tmp_path, PAIRS, tmp_path / "d.json")
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match="holds no"):
        build_datalist(tmp_path, PAIRS, tmp_path / "d.json")


def test_a_nifti_mask_that_lies_otherwise_than_its_image_is_a_problem(tmp_path):
    affine = np.array([[0, -2.0, 0, 0], [0, 0, 1, 0], [-2.0, 0, 0, 0], [0, 0, 0, 1]])
    for name, label_affine in (("good", affine), ("bad", np.eye(4))):
        (tmp_path / "images").mkdir(exist_ok=True)
        write_nifti(tmp_path / "images" / f"{name}.nii.gz", texture(len(name), (40, 40)), affine)
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_nifti(tmp_path / "masks" / f"{name}.nii.gz", blob((40, 40), value=1), label_affine)
    assert problems_of(tmp_path, tmp_path / "d.json") == [("size", "masks/bad.nii.gz")]


def test_an_image_file_of_two_views_becomes_two_items(tmp_path):
    affine = np.array([[0, -2.0, 0, 0], [0, 0, 1, 0], [-2.0, 0, 0, 0], [0, 0, 0, 1]])
    image = np.stack([texture(1), texture(2)], axis=-1)
    mask = np.stack([blob(value=1), blob(top=30, value=1)], axis=-1)
    for folder, array in (("images", image), ("masks", mask)):
        (tmp_path / folder).mkdir()
        write_nifti(tmp_path / folder / "scan.nii.gz", array, affine)
    document = build_datalist(tmp_path, PAIRS, tmp_path / "d.json", folds=1).document
    assert [item["view"] for item in document["training"]] == ["anterior", "posterior"]
    for index, item in enumerate(load_datalist(tmp_path / "d.json", None)):
        np.testing.assert_array_equal(read_planar(item["image"]).pixels[..., 0], image[..., index])
        np.testing.assert_array_equal(read_planar(item["label"]).pixels[..., 0], mask[..., index])
        assert read_planar(item["image"]).views == (item["view"],)


def test_pseudonyms_depend_on_identifier_and_salt_and_show_neither():
    assert pseudonym("12345", "") == pseudonym(" 12345 ", "")
    assert len({pseudonym("12345", ""), pseudonym("12346", ""), pseudonym("12345", "secret")}) == 3
    assert "12345" not in pseudonym("12345", "secret")
