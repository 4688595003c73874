"""The adapters of picture sets: BM-Seg, ISIC 2018, chest X-rays, LabelMe and BS-80K."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from adapter_samples import blob, make_pairs, save, texture
from PIL import Image

from bonemets.data import check_leakage, load_datalist, read_planar
from bonemets.data.adapters import ADAPTERS, ProblemsError, build_datalist
from bonemets.data.adapters.labelme import draw_mask


def build(name: str, root: Path, **arguments) -> dict:
    return build_datalist(root, ADAPTERS[name], root.parent / "out" / "datalist.json", **arguments).document


def problems(name: str, root: Path, **arguments) -> dict[str, str]:
    with pytest.raises(ProblemsError) as caught:
        build(name, root, **arguments)
    assert not (root.parent / "out").exists()
    return {problem.file: problem.text for problem in caught.value.problems}


@pytest.mark.parametrize("names", [
    ["pat_1/001", "pat_1/002", "pat_2/001", "pat_3/001"],
    ["pat_1_001", "pat_1_002", "pat_2_001", "pat_3_001"],
    ["pat_1-slice_1", "pat_1-slice_2", "pat_2-slice_1", "pat_3 slice 7"],
])  # fmt: skip
def test_bm_seg_keeps_the_slices_of_a_patient_together(tmp_path, names):
    make_pairs(tmp_path / "set", names)
    document = build("bm-seg", tmp_path / "set", folds=3)
    assert sorted(item["patient"] for item in document["training"]) == ["pat_1", "pat_1", "pat_2", "pat_3"]
    assert len({item["fold"] for item in document["training"]}) == 3
    assert document["modality"] == "CT"


def test_bm_seg_prefers_the_metastases_and_wants_to_know_the_patient(tmp_path):
    root = make_pairs(tmp_path / "set", ["p1_1", "p2_1"], masks="masks")
    make_pairs(root, ["p1_1", "p2_1"], masks="BM")
    document = build("bm-seg", root, folds=2)
    assert {Path(item["label"]).parent.name for item in document["training"]} == {"BM"}
    other = make_pairs(tmp_path / "other" / "set", ["0001", "0002"])
    assert set(problems("bm-seg", other)) == {"images/0001.png", "images/0002.png"}


def test_isic_training_is_split_and_official_test_images_are_for_testing(tmp_path):
    root = tmp_path / "set"
    for part, numbers in (("Training", range(4)), ("Test", range(10, 12))):
        for number in numbers:
            save(root / f"ISIC2018_Task1-2_{part}_Input" / f"ISIC_{number:07}.png", np.stack([texture(number)] * 3, -1))
            truth = root / f"ISIC2018_Task1_{part}_GroundTruth"
            save(truth / f"ISIC_{number:07}_segmentation.png", blob())
    (root / "ISIC2018_Task1-2_Training_Input" / "ATTRIBUTION.txt").write_text("x")
    save(root / "ISIC2018_Task1-2_Training_Input" / "ISIC_0000000_superpixels.png", texture(99))
    document = build("isic2018", root, folds=2)
    assert [item["subset"] for item in document["testing"]] == ["test", "test"]
    assert len(document["training"]) == 4
    assert document["training"][0]["label"].endswith("_segmentation.png")
    (root / "metadata.csv").write_text("isic_id,lesion_id\n" + "".join(f"ISIC_{n:07},L{n // 2}\n" for n in range(12)))
    grouped = build("isic2018", root, folds=2)
    assert [item["patient"] for item in grouped["training"]] == ["L0", "L0", "L1", "L1"]


def test_isic_lesions_in_both_parts_and_a_second_test_part_are_refused(tmp_path):
    root = tmp_path / "set"
    for part, number in (("Training", 1), ("Training", 2), ("Test", 3)):
        save(root / f"ISIC2018_Task1-2_{part}_Input" / f"ISIC_{number}.png", texture(number))
        save(root / f"ISIC2018_Task1_{part}_GroundTruth" / f"ISIC_{number}_segmentation.png", blob())
    (root / "metadata.csv").write_text("image_id,lesion_id\nISIC_1,a\nISIC_2,b\nISIC_3,a\n")
    assert "test part and the training part" in problems("isic2018", root)["a"]
    (root / "metadata.csv").unlink()
    with pytest.raises(ValueError, match="own test part"):
        build("isic2018", root, folds=2, test_share=0.5)


def test_two_lungs_become_one_class_and_a_missing_lung_is_left_out(tmp_path):
    root = make_pairs(tmp_path / "set", ["a", "b", "c"])
    both = blob(value=1) | blob(left=30, value=2)
    for name, mask in (("a", both), ("b", both[:, ::-1].copy()), ("c", blob(value=2))):
        save(root / "masks" / f"{name}.png", mask)
    built = build_datalist(root, ADAPTERS["cxr-lung"], tmp_path / "out" / "d.json", folds=2)
    assert [Path(item["image"]).stem for item in built.document["training"]] == ["a", "b"]
    assert any("c.png" in note for note in built.notes)
    label = read_planar(tmp_path / "out" / built.document["training"][0]["label"]).pixels[..., 0]
    np.testing.assert_array_equal(label, both > 0)
    assert built.document["training"][0]["label"].startswith("d_files/")


def test_lung_masks_of_0_and_255_stay_as_they_are(tmp_path):
    root = make_pairs(tmp_path / "set", ["a", "b"])
    built = build_datalist(root, ADAPTERS["cxr-lung"], tmp_path / "out" / "d.json", folds=2)
    assert built.written == 0
    assert {item["label"] for item in built.document["training"]} == {"../set/masks/a.png", "../set/masks/b.png"}


def polygon(points: list, label: str = "lesion", **keys) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": "polygon", "flags": {}, **keys}


def square(left: int, top: int, size: int, **keys) -> dict:
    right, bottom = left + size, top + size
    return polygon([[left, top], [right, top], [right, bottom], [left, bottom]], **keys)


def test_polygons_fill_what_they_enclose():
    mask = draw_mask([square(5, 10, 8), square(30, 20, 4)], (40, 50))
    expected = np.zeros((40, 50), bool)
    expected[10:19, 5:14] = expected[20:25, 30:35] = True
    np.testing.assert_array_equal(mask, expected)
    circle = polygon([[20, 20], [28, 20]], shape_type="circle")
    assert draw_mask([circle], (40, 50)).sum() == pytest.approx(np.pi * 8.5**2, rel=0.03)
    rectangle = polygon([[13, 18], [5, 10]], shape_type="rectangle")
    np.testing.assert_array_equal(draw_mask([rectangle], (40, 50)), draw_mask([square(5, 10, 8)], (40, 50)))
    assert not draw_mask([polygon([[1, 1]], shape_type="point")], (40, 50)).any()


def test_a_shape_inside_its_group_is_a_hole_and_elsewhere_is_not():
    outer, inner, island = (square(5, 5, 20), square(10, 10, 8), square(12, 12, 2))
    as_group = [{**shape, "group_id": 1} for shape in (inner, island, outer)]
    mask = draw_mask(as_group, (40, 50))
    assert mask[6, 6] == 1 and mask[11, 11] == 0 and mask[13, 13] == 1
    loose = draw_mask([inner, island, outer], (40, 50))
    np.testing.assert_array_equal(loose, draw_mask([outer], (40, 50)))
    overlapping = draw_mask([{**square(5, 5, 10), "group_id": 2}, {**square(10, 10, 10), "group_id": 2}], (40, 50))
    assert overlapping[12, 12] == 1
    other_group = draw_mask([{**outer, "group_id": 1}, {**inner, "group_id": 2}], (40, 50))
    assert other_group[11, 11] == 1


def test_reserved_labels_clear_and_ignore_and_others_can_be_chosen():
    shapes = [square(5, 5, 20), square(8, 8, 4, label="hole"), square(20, 20, 12, label="Uncertain")]
    mask = draw_mask(shapes, (40, 50))
    assert mask[6, 6] == 1 and mask[9, 9] == 0 and mask[22, 22] == 1 and mask[30, 30] == 2
    chosen = draw_mask(
        [square(5, 5, 5, label="metastasis"), square(30, 5, 5, label="joint")], (40, 50), ("metastasis",)
    )
    assert chosen[6, 6] == 1 and not chosen[:, 30:].any()


def drawing(path: Path, image: str, shapes: list, data: str | None = None) -> None:
    document = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": data}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**document, "imageHeight": 64, "imageWidth": 48}))


def test_labelme_files_become_masks(tmp_path):
    root = tmp_path / "set"
    for number, name in enumerate(("s1_ant", "s1_post", "s2_ant")):
        save(root / f"{name}.png", texture(number))
        drawing(root / f"{name}.json", f"{name}.png", [square(5, 10 + number, 8)])
    buffer = io.BytesIO()
    Image.fromarray(texture(8)).save(buffer, "PNG")
    drawing(root / "s3.json", "D:\\scans\\s3.png", [], base64.b64encode(buffer.getvalue()).decode())
    document = build("labelme", root, folds=3)
    views = {(item["patient"], item["view"]) for item in document["training"]}
    assert views == {("s1", "anterior"), ("s1", "posterior"), ("s2", "anterior"), ("s3", "unknown")}
    by_name = {Path(item["image"]).stem: item for item in document["training"]}
    label = read_planar(tmp_path / "out" / by_name["s1_post"]["label"]).pixels[..., 0]
    np.testing.assert_array_equal(label, draw_mask([square(5, 11, 8)], (64, 48)))
    assert by_name["s1_post"]["image"] == "../set/s1_post.png"
    embedded = read_planar(tmp_path / "out" / by_name["s3"]["image"]).pixels[..., 0]
    np.testing.assert_array_equal(embedded, texture(8))


def test_labelme_problems(tmp_path):
    root = tmp_path / "set"
    save(root / "alone.png", texture(0))
    save(root / "twice.png", texture(1))
    drawing(root / "twice.json", "twice.png", [])
    drawing(root / "twice_again.json", "twice.png", [])
    drawing(root / "missing.json", "missing.png", [])
    drawing(root / "line.json", "twice.png", [polygon([[1, 1], [2, 2]])])
    (root / "text.json").write_text("{}")
    (root / "cut.json").write_text('{"shapes": [')
    wanted = {"alone.png", "twice_again.json", "missing.json", "line.json", "text.json", "cut.json"}
    assert set(problems("labelme", root)) == wanted


def voc(path: Path, boxes: list[tuple[str, int, int, int, int]]) -> None:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for name, a, b, c, d in boxes
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotation><filename>{path.stem}.jpg</filename>{objects}</annotation>")


def make_bs80k(root: Path) -> Path:
    for folder, sub, shift in (("wholeBodyANT", "ant", 0), ("wholeBodyPOST", "post", 50)):
        for number in range(1, 5):
            save(root / folder / f"{number}.jpg", texture(number + shift))
        voc(root / folder / sub / "1.xml", [("Abnormal", 1, 1, 10, 20), ("Normal", 5, 6, 48, 64)])
        voc(root / folder / sub / "2.xml", [("Normal", 5, 6, 8, 9)])
        (root / folder / f"{folder}.txt").write_text("1.jpg\t1\n2.jpg\t0\n3.jpg\t0\n4.jpg\t1\n")
    return root


def test_bs80k_items_carry_boxes_and_no_masks(tmp_path):
    root = make_bs80k(tmp_path / "set")
    built = build_datalist(root, ADAPTERS["bs80k"], tmp_path / "out" / "d.json", folds=3)
    items = {(item["patient"], item["view"]): item for item in built.document["training"]}
    assert set(items) == {(patient, view) for patient in "123" for view in ("anterior", "posterior")}
    assert items["1", "anterior"]["boxes"] == [[0, 0, 10, 20], [4, 5, 48, 64]]
    assert items["1", "anterior"]["box_names"] == ["Abnormal", "Normal"]
    assert items["1", "anterior"]["abnormal"] and not items["2", "anterior"]["abnormal"]
    assert items["3", "posterior"]["boxes"] == [] and "label" not in items["3", "posterior"]
    assert items["1", "anterior"]["fold"] == items["1", "posterior"]["fold"]
    assert any("1 of 4" in note for note in built.notes)
    assert len(load_datalist(tmp_path / "out" / "d.json", None)) == 6
    assert check_leakage(tmp_path / "out" / "d.json") == []


def test_bs80k_problems(tmp_path):
    root = make_bs80k(tmp_path / "set")
    voc(root / "wholeBodyANT" / "ant" / "2.xml", [("Normal", 5, 6, 49, 9)])
    voc(root / "wholeBodyANT" / "ant" / "9.xml", [])
    (root / "wholeBodyPOST" / "post" / "2.xml").write_text("<annotation>")
    voc(root / "wholeBodyPOST" / "post" / "1.xml", [("Normal", 9, 6, 9, 6)])
    assert set(problems("bs80k", root)) == {
        "wholeBodyANT/2.jpg", "wholeBodyANT/ant/9.xml", "wholeBodyPOST/post/2.xml", "wholeBodyPOST/post/1.xml",
    }  # fmt: skip
