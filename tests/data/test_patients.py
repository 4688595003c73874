"""Whose image is it: what is one patient gets one name and one fold, however files and tables are written."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from adapter_samples import blob, make_pairs, save, texture
from hypothesis import example, given
from hypothesis import strategies as st

from bonemets.data import check_leakage, write_datalist
from bonemets.data.adapters import ADAPTERS, Options, ProblemsError, build_datalist
from bonemets.data.lists.patients import patient_from_place
from bonemets.data.lists.spellings import one_spelling, plain_name, tidy_name
from bonemets.errors import InputError

UMLAUT = "M\u00fcller"
DECOMPOSED = unicodedata.normalize("NFD", UMLAUT)


def patients_of(root: Path, output: Path, **arguments) -> dict[str, str]:
    """The patient of each image by its path below ``images/``; each patient is in one fold."""
    document = build_datalist(root, ADAPTERS["pairs"], output, duplicates="ignore", **arguments).document
    folds: dict[str, set[int]] = {}
    for item in document["training"]:
        folds.setdefault(item["patient"], set()).add(item["fold"])
    assert all(len(each) == 1 for each in folds.values())
    return {item["image"].split("images/", 1)[1]: item["patient"] for item in document["training"]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P01", "p1"), ("007", "7"), ("P 01", "P01"), (" p1 ", "p1"), ("p_1", "p-1"), (UMLAUT, DECOMPOSED),
        ("1.0", "1"),
        ("p1\u200b", "p1"), ("p1\ufeff", "p1"), ("p\u00a01", "p 1"), ("\uff11\uff12", "12"), ("Stra\u00dfe", "STRASSE"),
        ("a 0012 b", "A12B"), ("ID_0", "id 00"),
    ],
)  # fmt: skip
def test_spellings_of_one_name(one, other):
    assert plain_name(one) == plain_name(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("p1_2", "p12"), ("p1", "p10"), ("1.2.3", "1.23"), ("p1_12", "p11_2"), ("0", ""), ("a", "b"), ("p1.5", "p1"),
        ("Muller", UMLAUT), ("10", "100"),
    ],
)  # fmt: skip
def test_names_of_two_patients(one, other):
    assert plain_name(one) != plain_name(other)


names = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf")), min_size=1, max_size=12).filter(str.strip)


@given(names, st.sampled_from(["NFC", "NFD"]), st.sampled_from(["", " ", "  "]))
@example("\N{DIAERESIS}", "NFC", "")  # its compatible form is a blank and an accent
def test_unicode_forms_and_blanks_around_a_name_do_not_count(name, form, blanks):
    written = blanks + unicodedata.normalize(form, name) + blanks
    assert tidy_name(written) == tidy_name(name)
    assert plain_name(written) == plain_name(name)
    assert plain_name(plain_name(name)) == plain_name(name)


@given(st.integers(0, 10**6), st.integers(0, 4), st.sampled_from(["p", "PAT", "x-"]))
def test_leading_zeros_and_case_do_not_count(number, zeros, prefix):
    assert plain_name(f"{prefix.lower()}{'0' * zeros}{number}") == plain_name(f"{prefix.upper()}{number}")
    assert plain_name(f"{prefix}{number}") != plain_name(f"{prefix}{number + 1}")


def test_one_spelling_tells_what_it_put_together():
    shared, several = one_spelling(["P01", "p1", "p2", UMLAUT, DECOMPOSED, "p2 "])
    assert shared == {"P01": "P01", "p1": "P01", "p2": "p2", "p2 ": "p2", UMLAUT: UMLAUT, DECOMPOSED: UMLAUT}
    assert several == [("P01", "p1")]


@pytest.mark.parametrize(
    ("place", "patient"),
    [
        ("p01/slice_1", "p01"), ("p01/study2/anterior", "p01"), ("anterior/p01", "p01"), ("train/p01/x", "p01"),
        ("site_2/p01/1", "p01"), ("p01_anterior", "p01"), ("malignant/lesion_7", "lesion_7"), ("a", "a"),
        ("lesion_1_2", "lesion_1_2"),
    ],
)  # fmt: skip
def test_patient_by_place(place, patient):
    assert patient_from_place(Path(f"{place}.png")) == patient


@pytest.mark.parametrize("layout", ["pairs", "cxr-lung", "labelme", "bm-seg"])
def test_a_folder_per_patient_with_files_of_one_name(tmp_path, layout):
    """No image of a folder may get into another fold than the rest of it."""
    for patient in range(1, 5):
        for number in range(3):
            place, seed = f"case{patient}/slice_{number}", 10 * patient + number
            if layout == "labelme":
                save(tmp_path / "set" / f"{place}.png", texture(seed))
                shape = {"label": "lesion", "shape_type": "polygon", "points": [[5, 5], [9, 5], [9, 12]]}
                drawing = {"imagePath": f"slice_{number}.png", "shapes": [shape], "imageWidth": 48, "imageHeight": 64}
                (tmp_path / "set" / f"{place}.json").write_text(json.dumps(drawing))
            else:
                save(tmp_path / "set" / "images" / f"{place}.png", texture(seed))
                save(tmp_path / "set" / "masks" / f"{place}.png", blob(value=1))
    built = build_datalist(tmp_path / "set", ADAPTERS[layout], tmp_path / "d.json", folds=2)
    found = {(Path(item["image"]).parent.name, item["patient"]) for item in built.document["training"]}
    assert found == {(f"case{patient}", f"case{patient}") for patient in range(1, 5)}
    assert check_leakage(tmp_path / "d.json") == []
    assert "folder" in built.notes[0]
    assert "4 patients, 12 images" in built.notes[0]


def test_what_may_be_several_images_of_a_patient_is_said(tmp_path):
    root = make_pairs(tmp_path / "set", ["p01_t1", "p01_t2", "p02_t1"])
    notes = build_datalist(root, ADAPTERS["pairs"], tmp_path / "d.json", folds=2).notes
    assert "3 patients, 3 images" in notes[0]
    assert "if p01_t1 and p01_t2 are one patient" in notes[0]
    plain = make_pairs(tmp_path / "plain", ["p01", "p02"])
    assert "one patient" not in build_datalist(plain, ADAPTERS["pairs"], tmp_path / "e.json", folds=2).notes[0]


@pytest.mark.parametrize(
    ("one", "other"), [("P01", "p1"), ("P 7", "p07"), (UMLAUT, DECOMPOSED), ("001", "1"), ("1.0", "1")]
)
def test_two_spellings_in_a_table_are_one_patient(tmp_path, one, other):
    root = make_pairs(tmp_path / "set", ["a", "b", "c"])
    table = tmp_path / "t.csv"
    table.write_text(f"file,patient\na.png,{one}\nb.png,{other}\nc.png,zz\n", encoding="utf-8")
    found = patients_of(root, tmp_path / "d.json", folds=2, options=Options(patient_table=table))
    assert found["a.png"] == found["b.png"] != found["c.png"]


def test_a_table_of_ours_with_an_apostrophe_before_a_formula_names_the_same_patient(tmp_path):
    root = make_pairs(tmp_path / "set", ["a", "b", "c"])
    table = tmp_path / "t.csv"
    table.write_text("file,patient\na.png,'=p1\nb.png,=p1\nc.png,zz\n", encoding="utf-8")
    found = patients_of(root, tmp_path / "d.json", folds=2, options=Options(patient_table=table))
    assert found["a.png"] == found["b.png"] == "=p1" != found["c.png"]


def test_spellings_that_were_put_together_are_named(tmp_path):
    root = make_pairs(tmp_path / "set", ["P01_a", "p1_b", "p2_c"])
    options = Options(patient_pattern=r"([Pp]\d+)_")
    notes = build_datalist(root, ADAPTERS["pairs"], tmp_path / "d.json", folds=2, options=options).notes
    assert any("'P01', 'p1'" in note for note in notes)
    assert "2 patients, 3 images" in notes[0]


def write_table(path: Path, rows: dict[str, str], header: str = "file,patient") -> Options:
    path.write_text(header + "\n" + "".join(f"{file},{patient}\n" for file, patient in rows.items()))
    return Options(patient_table=path)


@pytest.mark.parametrize("style", ["{}.png", "images/{}.png", "{}", "/data/old/images/{}.PNG", "images\\\\{}.png"])
def test_a_table_with_paths(tmp_path, style):
    """File names repeat from folder to folder, and only partly: a name alone would be right for some."""
    places = [f"p{patient}/slice_{number}" for patient in (1, 2, 3) for number in range(patient, patient + 3)]
    root = make_pairs(tmp_path / "set", places)
    rows = {style.format(place).replace("\\\\", "\\"): f"Q{place[1]}" for place in places}
    found = patients_of(root, tmp_path / "d.json", folds=3, options=write_table(tmp_path / "t.csv", rows))
    assert found == {f"{place}.png": f"Q{place[1]}" for place in places}


def test_a_table_whose_names_fit_several_images_is_refused(tmp_path):
    root = make_pairs(tmp_path / "set", ["p1/slice_1", "p2/slice_1", "p3/slice_2"])
    options = write_table(tmp_path / "t.csv", {"slice_1.png": "A", "slice_2.png": "B"})
    with pytest.raises(ProblemsError) as caught:
        patients_of(root, tmp_path / "d.json", options=options)
    assert [problem.file for problem in caught.value.problems] == ["images/p1/slice_1.png"]
    assert "p2/slice_1.png" in caught.value.problems[0].text


def test_a_table_that_contradicts_itself_is_refused(tmp_path):
    root = make_pairs(tmp_path / "set", ["a", "b"])
    (tmp_path / "t.csv").write_text("file,patient\na.png,A\na.png,B\nb.png,B\n")
    with pytest.raises(ProblemsError) as caught:
        patients_of(root, tmp_path / "d.json", options=Options(patient_table=tmp_path / "t.csv"))
    assert [(problem.file, "A, B" in problem.text) for problem in caught.value.problems] == [("images/a.png", True)]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("id,file,patient", "{back},{name}.png,{patient}"),  # row numbers that run against the names
        ("file,id,patient", "{name},{back},{patient}"),
        ("name,image,subject_id", "{back},{name}.png,{patient}"),
        ("image,id,patient", "unknown/{back}.dat,{name},{patient}"),  # only the second column names images
    ],
)
def test_the_column_of_a_table(tmp_path, header, row):
    root = make_pairs(tmp_path / "set", [str(number) for number in range(1, 7)])
    rows = [row.format(name=k, back=7 - k, patient="AB"[k > 3]) for k in range(1, 7)]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]) + "\n")
    found = patients_of(root, tmp_path / "d.json", folds=2, options=Options(patient_table=tmp_path / "t.csv"))
    assert found == {f"{number}.png": "AB"[number > 3] for number in range(1, 7)}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_how_a_table_is_saved(tmp_path, encoding, separator):
    root = make_pairs(tmp_path / "set", ["1.2.1", "1.2.2", UMLAUT])
    rows = [("file", "patient"), ("1.2.1", "a"), ("1.2.2", "b"), (DECOMPOSED, "a")]
    (tmp_path / "t.csv").write_bytes("\r\n".join(separator.join(row) for row in rows).encode(encoding))
    found = patients_of(root, tmp_path / "d.json", folds=2, options=Options(patient_table=tmp_path / "t.csv"))
    assert found == {"1.2.1.png": "a", "1.2.2.png": "b", f"{UMLAUT}.png": "a"}


def test_a_table_without_a_row_for_an_image_is_refused(tmp_path):
    root = make_pairs(tmp_path / "set", ["001", "002"])
    options = write_table(tmp_path / "t.csv", {"1": "A", "2": "B"})  # as a spreadsheet saves it
    with pytest.raises(ProblemsError, match="patients that cannot be told: 2"):
        patients_of(root, tmp_path / "d.json", options=options)


def test_the_same_pixels_under_two_patients(tmp_path):
    root = make_pairs(tmp_path / "set", ["a", "b", "c"])
    save(root / "images" / "b.tif", texture(0))
    (root / "images" / "b.png").unlink()
    with pytest.raises(ProblemsError) as caught:
        build_datalist(root, ADAPTERS["pairs"], tmp_path / "d.json", folds=2)
    assert [(problem.kind, problem.file) for problem in caught.value.problems] == [("duplicate", "images/b.tif")]
    built = build_datalist(root, ADAPTERS["pairs"], tmp_path / "d.json", folds=2, duplicates="group")
    patients = {Path(item["image"]).stem: item["patient"] for item in built.document["training"]}
    assert patients == {"a": "a", "b": "a", "c": "c"}
    assert "2 patients, 3 images" in built.notes[0]


def test_too_few_patients_say_how_they_were_told(tmp_path):
    root = make_pairs(tmp_path / "set", ["north/1", "north/2", "south/3"])
    with pytest.raises(InputError, match="has 2 patients to split, told by the folder"):
        build_datalist(root, ADAPTERS["pairs"], tmp_path / "d.json")


def test_linked_files_keep_their_names(tmp_path):
    """Stores keep files under names without suffix; the data list names the links."""
    made = make_pairs(tmp_path / "made", ["p1/a", "p2/a"])
    for number, file in enumerate(sorted(made.rglob("*.png"))):
        blob_file = tmp_path / "store" / f"{number:02d}" / "content"
        blob_file.parent.mkdir(parents=True)
        file.rename(blob_file)
        file.symlink_to(blob_file)
    (tmp_path / "set").symlink_to(made)
    document = build_datalist(tmp_path / "set", ADAPTERS["pairs"], tmp_path / "out" / "d.json", folds=2).document
    assert [item["image"] for item in document["training"]] == [
        "../set/images/p1/a.png", "../set/images/p2/a.png",
    ]  # fmt: skip
    assert check_leakage(tmp_path / "out" / "d.json") == []


def test_leaks_are_found_whatever_the_spelling(tmp_path):
    make_pairs(tmp_path, ["a", "b"])
    (tmp_path / "images" / "same.png").symlink_to(tmp_path / "images" / "a.png")
    item = {"image": "images/a.png", "label": "masks/a.png", "patient": "P01", "fold": 0}
    other = {"image": "images/b.png", "label": "masks/b.png", "patient": "p1", "fold": 1}
    write_datalist(tmp_path / "d.json", {"training": [item, other]})
    assert check_leakage(tmp_path / "d.json") == ["patient P01 is in fold 0 and fold 1"]
    other |= {"image": "images/same.png", "patient": "q"}
    write_datalist(tmp_path / "d.json", {"training": [item, other]})
    assert check_leakage(tmp_path / "d.json")[0] == "image images/a.png is in fold 0 and fold 1"
