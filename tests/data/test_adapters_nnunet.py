"""nnU-Net's raw format, in both directions."""

from __future__ import annotations

import json
from pathlib import Path

import itk
import numpy as np
import pytest
from adapter_samples import blob, make_pairs, save, texture

from bonemets.data import load_datalist, planar_affine, read_planar, write_datalist, write_nifti
from bonemets.data.adapters import ADAPTERS, Options, ProblemsError, build_datalist, export_nnunet
from bonemets.data.adapters.nnunet_export import case_names
from bonemets.errors import InputError


def import_nnunet(root: Path, output: Path, **arguments) -> dict:
    return build_datalist(root, ADAPTERS["nnunet"], output, **arguments).document


def make_scan_datalist(folder: Path) -> Path:
    """Bone-scan views as NIfTI, as a simulated cohort has them; one label map has pixels to ignore."""
    document: dict = {"name": "Bone scans!", "modality": "NM", "numFolds": 3, "labels": {"1": "lesion"},
                      "training": [], "testing": []}  # fmt: skip
    for number in range(7):
        for view in ("anterior", "posterior"):
            seed = 10 * number + (view == "posterior")
            mask = blob(top=seed % 50, value=1)
            if number == 2:
                mask[-3:] = 2
            place = f"patient_{number:04}/{view}"
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            affine = planar_affine((64, 48), (2.26, 2.0), view)
            write_nifti(folder / f"{place}.nii.gz", texture(seed).astype(np.uint16) * 3, affine)
            write_nifti(folder / f"{place}_label.nii.gz", mask, affine)
            item = {"image": f"{place}.nii.gz", "label": f"{place}_label.nii.gz", "patient": f"patient_{number:04}",
                    "view": view}  # fmt: skip
            if number == 6:
                document["testing"].append(item)
            else:
                document["training"].append({**item, "fold": number % 3})
    write_datalist(folder / "datalist.json", document)
    return folder / "datalist.json"


def test_export_is_what_nnunet_reads(tmp_path):
    datalist = make_scan_datalist(tmp_path / "cohort")
    target = export_nnunet(datalist, tmp_path / "nnUNet_raw", 7)
    assert target.name == "Dataset007_Bonescans"
    document = json.loads((target / "dataset.json").read_text())
    assert document["channel_names"] == {"0": "NM"}
    assert document["labels"] == {"background": 0, "lesion": 1, "ignore": 2}
    assert (document["numTraining"], document["file_ending"]) == (12, ".nii.gz")
    for part, count in (("Tr", 12), ("Ts", 2)):
        images = sorted(path.name for path in (target / f"images{part}").iterdir())
        labels = sorted(path.name for path in (target / f"labels{part}").iterdir())
        assert len(images) == count
        assert images == [name.replace(".nii.gz", "_0000.nii.gz") for name in labels]
    # nnU-Net reads NIfTI through ITK: (1, rows, columns), spacing (slice, row, column).
    image = itk.imread(str(target / "imagesTr" / "patient_0001_posterior_0000.nii.gz"))
    array = itk.array_from_image(image)
    np.testing.assert_array_equal(array[0], texture(11).astype(int) * 3)
    np.testing.assert_allclose(list(image.GetSpacing())[::-1], [999, 2.26, 2.0])
    label = itk.imread(str(target / "labelsTr" / "patient_0001_posterior.nii.gz"))
    np.testing.assert_array_equal(itk.array_from_image(label)[0], blob(top=11, value=1))
    np.testing.assert_allclose(label.GetDirection(), image.GetDirection())


def test_splits_are_our_folds(tmp_path):
    datalist = make_scan_datalist(tmp_path / "cohort")
    target = export_nnunet(datalist, tmp_path / "raw", 501)
    splits = json.loads((target / "splits_final.json").read_text())
    assert len(splits) == 3
    for fold, split in enumerate(splits):
        for key, section in (("train", "train"), ("val", "validation")):
            ours = {f"{i['patient']}_{i['view']}" for i in load_datalist(datalist, fold, section)}
            assert set(split[key]) == ours and len(split[key]) == len(ours)


def test_round_trip_keeps_folds_patients_views_pixels_and_test_part(tmp_path):
    datalist = make_scan_datalist(tmp_path / "cohort")
    target = export_nnunet(datalist, tmp_path / "raw", 501)
    back = import_nnunet(target, tmp_path / "back" / "datalist.json")
    ours = json.loads(datalist.read_text())

    def summary(document: dict, part: str) -> set:
        return {(item["patient"], item["view"], item.get("fold")) for item in document[part]}

    assert back["numFolds"] == 3
    assert summary(back, "training") == summary(ours, "training")
    assert summary(back, "testing") == summary(ours, "testing")
    for item in load_datalist(tmp_path / "back" / "datalist.json", None):
        place = tmp_path / "cohort" / item["patient"] / item["view"]
        for key, suffix in (("image", ".nii.gz"), ("label", "_label.nii.gz")):
            source = read_planar(f"{place}{suffix}")
            np.testing.assert_array_equal(read_planar(item[key]).pixels, source.pixels)
            assert read_planar(item[key]).spacing == pytest.approx(source.spacing, rel=1e-6)
    again = export_nnunet(tmp_path / "back" / "datalist.json", tmp_path / "raw", 502)
    assert (again / "splits_final.json").read_bytes() == (target / "splits_final.json").read_bytes()


def test_pictures_become_png_and_color_stays_where_all_have_it(tmp_path):
    root = make_pairs(tmp_path / "set", ["a", "b"])
    build_datalist(root, ADAPTERS["pairs"], tmp_path / "d.json", folds=2)
    gray = export_nnunet(tmp_path / "d.json", tmp_path / "raw", 1, name="gray")
    assert read_planar(gray / "labelsTr" / "a.png").pixels.max() == 1
    assert json.loads((gray / "dataset.json").read_text())["labels"] == {"background": 0, "lesion": 1}
    for seed, name in enumerate("ab"):
        save(root / "images" / f"{name}.png", np.stack([texture(seed), texture(seed + 5), texture(seed + 9)], -1))
    color = export_nnunet(tmp_path / "d.json", tmp_path / "raw", 2, name="color")
    assert len(json.loads((color / "dataset.json").read_text())["channel_names"]) == 3
    assert itk.array_from_image(itk.imread(str(color / "imagesTr" / "a_0000.png"))).shape == (64, 48, 3)


def test_import_maps_classes_and_the_ignore_label(tmp_path):
    root = make_nnunet(tmp_path / "Dataset001_X", {"background": 0, "bone": 1, "metastasis": 2, "ignore": 3})
    mask = blob(value=1) | blob(top=30, value=2) | blob(top=50, value=3)
    save(root / "labelsTr" / "case_0.png", mask)
    document = import_nnunet(root, tmp_path / "d.json", folds=2)
    label = {Path(item["image"]).stem: item["label"] for item in document["training"]}["case_0_0000"]
    np.testing.assert_array_equal(read_planar(tmp_path / label).pixels[..., 0], np.array([0, 1, 1, 2])[mask])


def make_nnunet(root: Path, labels: dict, cases: int = 4) -> Path:
    for number in range(cases):
        save(root / "imagesTr" / f"case_{number}_0000.png", texture(number))
        save(root / "labelsTr" / f"case_{number}.png", blob(value=1))
    description = {"channel_names": {"0": "x"}, "labels": labels, "numTraining": cases, "file_ending": ".png"}
    (root / "dataset.json").write_text(json.dumps(description))
    return root


LABELS = {"background": 0, "lesion": 1}


def splits(root: Path, *held_out: list[int]) -> None:
    content = [{"train": [], "val": [f"case_{number}" for number in numbers]} for numbers in held_out]
    (root / "splits_final.json").write_text(json.dumps(content))


def test_import_takes_over_the_folds_or_makes_new_ones(tmp_path):
    root = make_nnunet(tmp_path / "Dataset001_X", LABELS)
    new = import_nnunet(root, tmp_path / "new.json", folds=2)
    assert new["numFolds"] == 2
    splits(root, [0, 3], [1], [2])
    taken = import_nnunet(root, tmp_path / "taken.json")
    assert {Path(i["image"]).stem: i["fold"] for i in taken["training"]} == {
        "case_0_0000": 0, "case_1_0000": 1, "case_2_0000": 2, "case_3_0000": 0,
    }  # fmt: skip
    with pytest.raises(InputError, match="own 3 folds"):
        import_nnunet(root, tmp_path / "other.json", folds=5)


def test_import_problems(tmp_path):
    root = make_nnunet(tmp_path / "Dataset001_X", LABELS)
    splits(root, [0, 1], [2])
    save(root / "imagesTr" / "case_1_0001.png", texture(20))
    save(root / "imagesTr" / "plain.png", texture(21))
    save(root / "labelsTr" / "case_2.png", blob(value=4))
    (root / "labelsTr" / "case_0.png").unlink()
    with pytest.raises(ProblemsError) as caught:
        import_nnunet(root, tmp_path / "d.json")
    assert {problem.file: problem.kind for problem in caught.value.problems} == {
        "imagesTr/case_0_0000.png": "pair", "imagesTr/case_1_0001.png": "pair", "imagesTr/plain.png": "pair",
        "labelsTr/case_2.png": "values", "imagesTr/case_3_0000.png": "patient",
    }  # fmt: skip


def test_folds_that_split_a_patient_are_refused(tmp_path):
    root = make_nnunet(tmp_path / "Dataset001_X", LABELS)
    splits(root, [0, 1], [2, 3])
    options = Options(patient_pattern=r"case_(\d)")
    assert import_nnunet(root, tmp_path / "d.json", options=options)["numFolds"] == 2
    table = tmp_path / "patients.csv"
    table.write_text("file,patient\n" + "".join(f"case_{n}_0000.png,p{n % 2}\n" for n in range(4)))
    with pytest.raises(ProblemsError) as caught:
        import_nnunet(root, tmp_path / "e.json", options=Options(patient_table=table))
    assert {problem.file for problem in caught.value.problems} == {"p0", "p1"}


@pytest.mark.parametrize(("file", "content", "message"), [
    ("dataset.json", "{", "cannot be read"),
    ("dataset.json", "[]", "JSON object"),
    ("dataset.json", "{}", "no labels"),
    ("dataset.json", '{"labels": {"background": 0}}', "no label but"),
    ("splits_final.json", "[{}]", "train and val"),
    ("splits_final.json", '[{"val": ["case_0"]}, {"val": ["case_0"]}]', "several validation parts"),
])  # fmt: skip
def test_malformed_json_is_refused(tmp_path, file, content, message):
    root = make_nnunet(tmp_path / "Dataset001_X", LABELS)
    (root / file).write_text(content)
    with pytest.raises(InputError, match=message):
        import_nnunet(root, tmp_path / "d.json")


def test_export_refuses_a_taken_number_and_lists_without_masks(tmp_path):
    datalist = make_scan_datalist(tmp_path / "cohort")
    export_nnunet(datalist, tmp_path / "raw", 3)
    with pytest.raises(InputError, match="exists already"):
        export_nnunet(datalist, tmp_path / "raw", 3, name="other")
    with pytest.raises(InputError, match="1 to 999"):
        export_nnunet(datalist, tmp_path / "raw", 1000)
    document = json.loads(datalist.read_text())
    del document["training"][0]["label"]
    document["training"][0]["boxes"] = []
    write_datalist(datalist, document)
    with pytest.raises(InputError, match="boxes"):
        export_nnunet(datalist, tmp_path / "raw", 4)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["Dataset003_Bonescans"]


def test_a_failing_export_leaves_nothing_behind(tmp_path):
    datalist = make_scan_datalist(tmp_path / "cohort")
    (tmp_path / "cohort" / "patient_0005" / "anterior.nii.gz").write_bytes(b"cut")
    with pytest.raises(InputError, match="anterior"):
        export_nnunet(datalist, tmp_path / "raw", 3)
    assert list((tmp_path / "raw").iterdir()) == []


def test_case_names_are_short_and_unique():
    assert case_names(["../images/a.png", "../images/b.nii.gz"]) == ["a", "b"]
    assert case_names(["p1/anterior.nii.gz", "p2/anterior.nii.gz"]) == ["p1_anterior", "p2_anterior"]
    assert len(set(case_names(["a-b.png", "a_b.png"]))) == 2


@pytest.mark.parametrize(
    ("labels", "values", "expected"),
    [
        (LABELS, [1, 2], "2, which"),
        (LABELS, [1, 3], "3, which"),
        (LABELS | {"ignore": 2}, [1, 2], [1, 2]),
        (LABELS | {"ignore": 255}, [1, 255], [1, 2]),
        (LABELS | {"ignore": 255}, [1, 2], "2, which"),
        (LABELS | {"bladder": 2}, [1, 2], [1, 1]),
        (LABELS | {"bladder": 2}, [1, 2, 3], "3, which"),
        ({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, [1, 2, 3], [1, 1, 2]),
        ({"background": 0, "organ": 0, "lesion": 2}, [2], [1]),
        ({"background": 0, "organ": 0, "lesion": 2}, [1], "1, which"),
        ({"background": "0", "lesion": "1"}, [1], [1]),
    ],
)
def test_values_that_dataset_json_names_and_others(tmp_path, labels, values, expected):
    root = make_nnunet(tmp_path / "Dataset001_X", labels)
    mask = np.zeros((64, 48), np.uint8)
    for number in range(4):
        for index, value in enumerate(values):
            mask[5 + number, 5 + index] = value
        save(root / "labelsTr" / f"case_{number}.png", mask)
    if isinstance(expected, str):
        with pytest.raises(ProblemsError) as caught:
            import_nnunet(root, tmp_path / "d.json", folds=2)
        assert {problem.kind for problem in caught.value.problems} == {"values"}
        assert all(expected in problem.text for problem in caught.value.problems)
        return
    built = build_datalist(root, ADAPTERS["nnunet"], tmp_path / "d.json", folds=2)
    label = read_planar(tmp_path / built.document["training"][0]["label"]).pixels[..., 0]
    np.testing.assert_array_equal(label[5, 5 : 5 + len(values)], expected)
    merged = [name for name in labels if name not in ("background", "organ", "ignore")]
    assert any("become the lesion" in note for note in built.notes) == (len(merged) > 1)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([{"val": ["case_0", "case_1"]}, {"val": []}, {"val": ["case_2", "case_3"]}], "fold 1 has no validation case"),
        ([{"train": ["case_0"], "val": ["case_0", "case_1"]}, {"val": ["case_2", "case_3"]}], "case_0 is in the train"),
    ],
)
def test_folds_that_are_none_are_refused(tmp_path, splits, message):
    root = make_nnunet(tmp_path / "Dataset001_X", LABELS)
    (root / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(InputError, match=message):
        import_nnunet(root, tmp_path / "d.json")


def test_cases_that_may_be_of_one_patient_are_said(tmp_path):
    root = make_nnunet(tmp_path / "Dataset001_X", LABELS)
    for number, case in enumerate(("p01_t1", "p01_t2", "p02_t1", "p02_t2")):
        (root / "imagesTr" / f"case_{number}_0000.png").rename(root / "imagesTr" / f"{case}_0000.png")
        (root / "labelsTr" / f"case_{number}.png").rename(root / "labelsTr" / f"{case}.png")
    notes = build_datalist(root, ADAPTERS["nnunet"], tmp_path / "d.json", folds=2).notes
    assert "4 patients, 4 images" in notes[0]
    assert "if p01_t1 and p01_t2 are one patient" in notes[0]
