"""A prediction is put to the right item or to none."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bonemets.cli.main import main
from bonemets.data.files import write_nifti
from bonemets.data.fingerprints import scan_sha256
from bonemets.data.lists.datalist import write_datalist
from bonemets.data.planar.geometry import planar_affine
from bonemets.data.planar.scan import merge_views
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError
from bonemets.metrics.evaluation.matching import _keys_of, find_predictions
from bonemets.metrics.evaluation.parts import part_with_predictions

SHAPE = (20, 12)
SPACING = (4.0, 3.0)


def write(path: Path, array: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
    mask = np.zeros(SHAPE, np.uint8) if array is None else array
    write_nifti(path, mask, planar_affine(SHAPE, SPACING) if affine is None else affine)
    return path


def items_of(root: Path, names: list[str], **further) -> list[dict]:
    """Items as `load_datalist` gives them; every image has pixels of its own."""
    items = []
    for number, name in enumerate(names):
        image = write(root / f"{name}.nii.gz", np.full(SHAPE, number, np.uint8))
        items.append(
            {"image": str(image), "label": str(write(root / f"{name}_label.nii.gz")), "patient": name, **further}
        )
    return items


@pytest.mark.parametrize("ending", ["", "_seg", "_trans", "_prob", "_PRED"])
def test_a_name_is_not_that_of_another_item(tmp_path, ending):
    items = items_of(tmp_path / "set", ["lesion_1", "lesion_1_2", "lesion_12"])
    for item in items:
        write(tmp_path / "pred" / f"{item['patient']}{ending}.nii.gz")
    cases = find_predictions(tmp_path / "pred", items, tmp_path / "set")
    assert [case.prediction.name for case in cases] == [f"{item['patient']}{ending}.nii.gz" for item in items]
    (tmp_path / "pred" / f"lesion_1{ending}.nii.gz").unlink()
    with pytest.raises(InputError, match="1 of 3 items have no prediction: lesion_1"):
        find_predictions(tmp_path / "pred", items, tmp_path / "set")


@pytest.mark.parametrize("name", ["lesion_1_2", "lesion_1_b", "lesion_1_t2", "lesion_1_post", "lesion", "Lesion_1"])
def test_a_file_of_no_item_is_named(tmp_path, name):
    items = items_of(tmp_path / "set", ["lesion_1"])
    write(tmp_path / "pred" / "lesion_1.nii.gz")
    write(tmp_path / "pred" / f"{name}.nii.gz")
    with pytest.raises(InputError, match=f"1 predictions belong to no item: {name}.nii.gz"):
        find_predictions(tmp_path / "pred", items, tmp_path / "set")


@given(st.text("ab1_", min_size=1, max_size=8).filter(lambda name: name.strip("_")))
def test_only_known_endings_are_cut_off(name):
    assert list(_keys_of(name)) == [name]
    assert name in list(_keys_of(f"{name}_seg"))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_unicode_forms_are_one_name(tmp_path, form):
    items = items_of(tmp_path / "set", ["M\u00fcller"])
    write(tmp_path / "pred" / (unicodedata.normalize(form, "M\u00fcller") + "_seg.nii.gz"))
    assert len(find_predictions(tmp_path / "pred", items, tmp_path / "set")) == 1


def test_patient_and_view_do_not_tell_two_studies(tmp_path):
    items = items_of(tmp_path / "set", ["s1/anterior", "s2/anterior"], view="anterior")
    items = [item | {"patient": "p1"} for item in items]
    for folder in ("s1", "s2"):
        write(tmp_path / "pred" / folder / "anterior.nii.gz")
    cases = find_predictions(tmp_path / "pred", items, tmp_path / "set")
    assert [case.prediction.parent.name for case in cases] == ["s1", "s2"]
    (tmp_path / "pred" / "s1" / "anterior.nii.gz").rename(tmp_path / "pred" / "p1_anterior.nii.gz")
    with pytest.raises(InputError, match="1 predictions fit several items: p1_anterior.nii.gz"):
        find_predictions(tmp_path / "pred", items, tmp_path / "set")


def segmented(folder: Path, *items: dict, value: int = 0) -> None:
    """What `bonemets segment` writes of a scan of two views."""
    scan = merge_views(*(read_planar(item["image"]) for item in items))
    write(folder / "mask.nii.gz", np.full((*SHAPE, 2), value, np.uint8))
    (folder / "result.json").write_text(json.dumps({"study": {"pixels_sha256": scan_sha256(scan)}}))


def test_results_of_two_studies_of_one_patient(tmp_path):
    names = [f"{study}_{view}" for study in ("s1", "s2") for view in ("anterior", "posterior")]
    items = [item | {"patient": "p1"} for item in items_of(tmp_path / "set", names)]
    segmented(tmp_path / "pred" / "late", *items[2:])
    segmented(tmp_path / "pred" / "early", *items[:2])
    cases = find_predictions(tmp_path / "pred", items, tmp_path / "set")
    assert [(case.prediction.parent.name, case.channel) for case in cases] == [
        ("early", 0), ("early", 1), ("late", 0), ("late", 1),
    ]  # fmt: skip


def cohort(tmp_path: Path, testing: bool = True) -> tuple[Path, list[dict]]:
    """Four patients, the first for testing, the others in two folds; the label marks what the prediction will."""
    items = items_of(tmp_path / "set", ["p1", "p2", "p3", "p4"])
    listed = [
        {**item, "image": f"{item['patient']}.nii.gz", "label": f"{item['patient']}_label.nii.gz"} for item in items
    ]
    folds = [item | {"fold": number % 2} for number, item in enumerate(listed[1:])]
    first = [] if testing else [listed[0] | {"fold": 0}]
    write_datalist(tmp_path / "set" / "d.json", {"training": first + folds, "testing": listed[:1] if testing else []})
    return tmp_path / "set" / "d.json", items


@pytest.mark.parametrize(
    ("testing", "predicted", "options", "evaluated", "note"),
    [
        (True, "1234", {}, "1", "3 items of other parts are left out"),
        (True, "1", {}, "1", "--section all takes all"),
        (True, "1234", {"section": "all"}, "2341", None),
        (True, "1234", {"section": "validation", "fold": 1}, "3", "3 items of other parts"),
        (True, "1234", {"fold": 0}, "24", "2 items of other parts"),
        (True, "3", {}, "3", "fold 1 of the data list"),
        (False, "1234", {}, "1234", None),
        (False, "14", {}, None, "2 of 4 items have no prediction: p2, p3"),
        (False, "124", {}, "124", "fold 0 of the data list"),
        (True, "234", {"section": "test"}, None, "1 of 1 items have no prediction: p1"),
        (True, "1234", {"section": "validation", "fold": 7}, None, "no validation items with fold 7"),
    ],
)  # fmt: skip
def test_the_part_that_is_evaluated(tmp_path, testing, predicted, options, evaluated, note):
    datalist, _ = cohort(tmp_path, testing)
    for number in predicted:
        write(tmp_path / "pred" / f"p{number}.nii.gz")
    if evaluated is None:
        with pytest.raises(InputError, match=note):
            part_with_predictions(tmp_path / "pred", datalist, **options)
        return
    part = part_with_predictions(tmp_path / "pred", datalist, **options)
    assert [case.patient for case in part.cases] == [f"p{number}" for number in evaluated]
    assert [case.prediction.name for case in part.cases] == [f"p{number}.nii.gz" for number in evaluated]
    assert (note is None) == (not part.notes)
    assert note is None or any(note in each for each in part.notes)


def test_the_command_says_what_it_chose_and_writes_beside_the_predictions(tmp_path, capsys):
    datalist, _ = cohort(tmp_path)
    for number in "1234":
        write(tmp_path / "pred" / f"p{number}.nii.gz")
    for _ in range(2):  # what was written is no prediction
        assert main(["evaluate", str(tmp_path / "pred"), "--datalist", str(datalist), "--bootstrap", "0"]) == 0
    output = capsys.readouterr().out
    assert "test part of the data list is evaluated, 1 of 4 items" in output
    assert json.loads((tmp_path / "pred" / "evaluation" / "summary.json").read_text())["data"]["section"] == "test"


@pytest.mark.parametrize("change", ["origin", "spacing", "identity", "rounding"])
def test_another_origin_or_spacing_is_refused(tmp_path, change):
    datalist, _ = cohort(tmp_path)
    affine = planar_affine(SHAPE, SPACING)
    if change == "origin":
        affine[:3, 3] += affine[:3, 0]  # one row
    elif change == "spacing":
        affine = planar_affine(SHAPE, (4.2, 3.0))
    elif change == "identity":  # says nothing
        affine = np.eye(4)
    else:
        affine[:3, 3] += 1e-4
    write(tmp_path / "pred" / "p1.nii.gz", affine=affine)
    arguments = ["evaluate", str(tmp_path / "pred"), "--datalist", str(datalist), "--bootstrap", "0"]
    assert main(arguments) == (2 if change in ("origin", "spacing") else 0)
