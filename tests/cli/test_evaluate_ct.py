"""`bonemets evaluate` on what `bonemets segment` wrote of CT: a label per slice, in files that lie in several ways."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from ct_series import STEP, write_series
from PIL import Image

from bonemets.cli.main import main
from bonemets.data import read_ct, write_datalist, write_nifti

# Rows, columns and slices of the files to RAS: as displayed, as ITK has them, and upside down.
LAYOUTS = {"displayed": "PLS", "itk": "LPS", "upside_down": "ALS"}


def write_slices(folder: Path, hu: np.ndarray, label: np.ndarray, layout: str) -> list[dict]:
    """Each slice and its label as files of one patient's data list."""
    from nibabel.orientations import axcodes2ornt, ornt_transform

    turn = ornt_transform(axcodes2ornt("PLS"), axcodes2ornt(layout))
    shown = np.array([[0, -1.5, 0, 40], [-1.5, 0, 0, 50], [0, 0, STEP, 0], [0, 0, 0, 1]])
    items = []
    for index in range(hu.shape[2]):
        item = {"patient": folder.name, "view": "axial"}
        for key, volume in (("image", hu.astype(np.int16)), ("label", label.astype(np.uint8))):
            image = nib.Nifti1Image(volume[..., [index]], shown).as_reoriented(turn)
            file = folder / f"{index}_{key}.nii.gz"
            write_nifti(file, np.asarray(image.dataobj), image.affine, keep_axes=True)
            item[key] = file.relative_to(folder.parent).as_posix()
        items.append(item)
    return items


def evaluated(segmented: Path, root: Path, out: Path) -> dict[str, float]:
    assert main(["evaluate", str(segmented), "--datalist", str(root / "list.json"), "-o", str(out)]) == 0
    metrics = json.loads((out / "summary.json").read_text())["metrics"]
    return {key: metric["value"] for key, metric in metrics.items()}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_series_against_labels_of_its_slices(dense_bundle, hu, tmp_path, layout):
    label = hu >= 500
    label[20, 20, 4] = False  # one pixel too many is marked
    label[8, 30, 0] = True  # and one lesion is missed
    root = tmp_path / "labels"
    items = write_slices(root / "p1", hu, label, layout)
    # Another patient, and two slices that look alike: nothing but their place tells them apart.
    other = np.flip(hu, axis=1).copy()
    other[..., 0] = other[..., 3]
    items += write_slices(root / "p2", other, other >= 500, layout)
    # Slices of the series that the list does not have are skipped.
    write_datalist(root / "list.json", {"name": "two patients", "training": [], "testing": [*items[:5], *items[6:]]})
    for name, volume in (("p1", hu), ("p2", other)):
        source = write_series(tmp_path / name, volume, study=name)
        assert main(["segment", str(source), "-o", str(tmp_path / "out"), "--bundle", str(dense_bundle)]) == 0

    values = evaluated(tmp_path / "out", root, tmp_path / "report")
    inside = np.delete(label, 5, axis=2)
    right = inside.sum() - 1 + (other >= 500).sum()
    assert values["recall_pooled"] == pytest.approx(right / (right + 1))
    assert values["precision_pooled"] == pytest.approx(right / (right + 1))
    rows = (tmp_path / "report" / "images.csv").read_text().splitlines()
    assert len(rows) == 1 + 11


def test_a_list_that_lies_elsewhere(dense_bundle, hu, tmp_path):
    """Absolute paths, and slices of two patients that have the same names: images.csv tells them apart."""
    items = []
    for name, volume in (("p1", hu), ("p2", np.flip(hu, axis=0).copy())):
        items += write_slices(tmp_path / "images" / name, volume, volume >= 500, "PLS")
        source = write_series(tmp_path / name, volume, study=name)
        assert main(["segment", str(source), "-o", str(tmp_path / "out"), "--bundle", str(dense_bundle)]) == 0
    absolute = [item | {key: str(tmp_path / "images" / item[key]) for key in ("image", "label")} for item in items]
    (tmp_path / "list").mkdir()
    write_datalist(tmp_path / "list" / "list.json", {"name": "far", "training": [], "testing": absolute})
    assert evaluated(tmp_path / "out", tmp_path / "list", tmp_path / "report")["dice_pooled"] == 1.0
    with (tmp_path / "report" / "images.csv").open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    assert names[0] == "p1/0_image"
    assert len(set(names)) == 12


def test_slices_that_were_segmented_one_by_one(dense_bundle, hu, tmp_path):
    root = tmp_path / "labels"
    write_datalist(
        root / "list.json", {"name": "one", "training": [], "testing": write_slices(root / "p1", hu, hu >= 500, "LPS")}
    )
    for index in range(hu.shape[2]):
        source = str(root / "p1" / f"{index}_image.nii.gz")
        assert main(["segment", source, "-o", str(tmp_path / "out"), "--bundle", str(dense_bundle)]) == 0
    assert evaluated(tmp_path / "out", root, tmp_path / "report")["dice_pooled"] == 1.0


def test_pictures_and_their_masks(dense_bundle, tmp_path):
    """Windowed slices as PNG, as BM-Seg has them; the bundle marks nothing in 8 bits, so every lesion is missed."""
    root = tmp_path / "labels"
    root.mkdir()
    items = []
    for index in range(2):
        gray, mask = np.full((40, 30), 100 + index, np.uint8), np.zeros((40, 30), np.uint8)
        mask[5:9, 3:8] = 255
        Image.fromarray(gray).save(root / f"{index}.png")
        Image.fromarray(mask).save(root / f"{index}_mask.png")
        items.append({"image": f"{index}.png", "label": f"{index}_mask.png", "patient": f"p{index}"})
        assert main(
            ["segment", str(root / f"{index}.png"), "-o", str(tmp_path / "out"), "--bundle", str(dense_bundle)]
        ) == 0  # fmt: skip
    write_datalist(root / "list.json", {"name": "pictures", "training": [], "testing": items})
    values = evaluated(tmp_path / "out", root, tmp_path / "report")
    assert (values["dice_pooled"], values["sensitivity_any"]) == (0.0, 0.0)


def test_other_series_and_other_sizes_are_told(dense_bundle, hu, tmp_path, capsys):
    root = tmp_path / "labels"
    items = write_slices(root / "p1", hu, hu >= 500, "PLS")
    write_datalist(root / "list.json", {"name": "one", "training": [], "testing": items})
    arguments = ["evaluate", str(tmp_path / "out"), "--datalist", str(root / "list.json"), "-o", str(tmp_path / "r")]
    source = write_series(tmp_path / "series", hu + 1)
    assert main(["segment", str(source), "-o", str(tmp_path / "out"), "--bundle", str(dense_bundle)]) == 0
    assert main(arguments) != 0
    told = capsys.readouterr().err.replace("\n", " ")
    assert "6 of 6 items have no prediction" in told
    assert "1 predictions belong to no item" in told

    (folder,) = (tmp_path / "out").iterdir()
    write_ct = read_ct(root / "p1" / "0_image.nii.gz")
    result = json.loads((folder / "result.json").read_text())
    from bonemets.data.fingerprints import slices_sha256

    result["study"]["slices_sha256"] = [slices_sha256(read_ct(root / item["image"]))[0] for item in items]
    (folder / "result.json").write_text(json.dumps(result))
    write_nifti(folder / "mask.nii.gz", np.zeros((9, 9, 6), np.uint8), write_ct.source_affine, keep_axes=True)
    assert main(arguments) != 0
    assert "has slices of (9, 9)" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "r").exists()
