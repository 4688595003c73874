import hashlib
import json

import pytest

from bonemets.data import datalist_hash, load_datalist, write_datalist
from bonemets.errors import InputError


@pytest.fixture
def datalist(tmp_path):
    """Three training patients in three folds and one for testing; every file is there."""
    items = []
    for number in range(4):
        folder = tmp_path / f"p{number}"
        folder.mkdir()
        for view in ("anterior", "posterior"):
            for name in (f"{view}.nii.gz", f"{view}_label.nii.gz"):
                (folder / name).touch()
            items.append(
                {
                    "image": f"p{number}/{view}.nii.gz", "label": f"p{number}/{view}_label.nii.gz",
                    "patient": f"p{number}", "view": view, "fold": number,
                }
            )  # fmt: skip
    for item in items[6:]:
        del item["fold"]
    path = tmp_path / "datalist.json"
    write_datalist(path, {"name": "test", "numFolds": 3, "training": items[:6], "testing": items[6:]})
    return path


def patients(items):
    return {item["patient"] for item in items}


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_sections_share_no_patient_and_miss_none(datalist, fold):
    train, validation, test = (load_datalist(datalist, fold, section) for section in ("train", "validation", "test"))
    assert patients(validation) == {f"p{fold}"}
    assert patients(test) == {"p3"}
    assert patients(train) | patients(validation) | patients(test) == {"p0", "p1", "p2", "p3"}
    assert not patients(train) & (patients(validation) | patients(test))
    assert all(item["image"].startswith("/") and item["label"].endswith("_label.nii.gz") for item in train)


def test_training_on_everything(datalist):
    assert patients(load_datalist(datalist, None)) == {"p0", "p1", "p2"}


@pytest.mark.parametrize("section", ["train", "validation", "test"])
@pytest.mark.parametrize(
    ("index", "name", "told"),
    [(0, "p1", "'p1' in fold 0, 'p1' in fold 1"), (2, "P 03", "'P 03' in fold 1, 'p3' in testing")],
)
def test_one_patient_in_two_parts_is_refused(datalist, section, index, name, told):
    document = json.loads(datalist.read_text())
    document["training"][index]["patient"] = name
    write_datalist(datalist, document)
    with pytest.raises(InputError, match="one patient is in several parts") as error:
        load_datalist(datalist, 0, section)
    assert told in str(error.value) and "\n" not in str(error.value)
    assert len(load_datalist(datalist, section="all")) == 8


def test_empty_section(datalist):
    with pytest.raises(InputError, match="no validation items with fold 7"):
        load_datalist(datalist, 7, "validation")


def test_missing_image_is_named(datalist):
    (datalist.parent / "p1" / "anterior.nii.gz").unlink()
    with pytest.raises(InputError, match="p1/anterior.nii.gz, which does not exist"):
        load_datalist(datalist)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "no list named 'training'"),
        (json.dumps({"training": [{"image": "a", "label": "b", "patient": "p"}]}), "item 0 of 'training' has no fold"),
        (json.dumps({"training": [], "testing": ["x"]}), "item 0 of 'testing' has no image, label, patient"),
    ],
)
def test_malformed(tmp_path, content, message):
    (tmp_path / "d.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_datalist(tmp_path / "d.json")


def test_missing(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_datalist(tmp_path / "d.json")
    with pytest.raises(InputError, match="cannot be read"):
        datalist_hash(tmp_path / "d.json")


def test_unknown_section(datalist):
    with pytest.raises(ValueError, match="section must be"):
        load_datalist(datalist, 0, "testing")


def test_hash_is_that_of_sha256sum_and_follows_the_split(datalist):
    before = datalist_hash(datalist)
    assert before == hashlib.sha256(datalist.read_bytes()).hexdigest()
    document = json.loads(datalist.read_text())
    document["training"][0]["fold"] = 1
    write_datalist(datalist, document)
    assert datalist_hash(datalist) != before
