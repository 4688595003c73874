"""Real CT: where boxes lie on the grid, and what counts as a hit and as a false positive."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import measure_real_ct
from bonemets.data import read_ct, write_nifti
from bonemets.errors import InputError

DATA = Path(os.environ.get("BONEMETS_REAL_CT", "no folder given"))


def test_a_box_in_dicoms_mm_lies_where_its_lesion_is(tmp_path: Path) -> None:
    """A bright block in a file whose axes run to the patient's left, back and head, each with a spacing of its own."""
    hu = np.zeros((20, 24, 10), np.float32)
    hu[4:9, 10:13, 2:6] = 900
    # RAS mm of index (i, j, k): the first two axes run toward the patient's left and back.
    affine = np.array([[-2.0, 0, 0, 30], [0, -1.5, 0, 12], [0, 0, 3, -50], [0, 0, 0, 1]])
    write_nifti(tmp_path / "a.nii.gz", hu, affine)
    center = affine @ [6, 11, 3.5, 1]
    box = dict(zip(("x", "y", "z"), (-center[0], -center[1], center[2]), strict=True))
    box |= {"width": 5 * 2.0, "height": 3 * 1.5, "depth": 4 * 3.0}
    scan = read_ct(tmp_path / "a.nii.gz")
    assert np.array_equal(measure_real_ct.box_map(scan, [box]) == 1, scan.pixels == 900)


def test_the_middle_slice_of_each_box() -> None:
    labels = np.zeros((4, 4, 12), np.int32)
    labels[0, 0, 1:6], labels[2, 2, 9:11] = 1, 2
    assert measure_real_ct.middle_slices(labels) == [3, 10]


def test_hits_and_false_positives() -> None:
    boxes = np.zeros((40, 40), np.int32)
    boxes[5:15, 5:15], boxes[25:35, 25:35] = 1, 2
    mask = np.zeros((40, 40), bool)
    mask[5:10, 5:15] = True  # half of the first box: a hit
    mask[26, 26:29] = True  # 3 of the second's 100 pixels: no hit, but within it, so not false
    mask[0:3, 30:40] = True  # off both: false
    counts = measure_real_ct.Counts()
    counts.add(mask, boxes, "a")
    counts.add(np.zeros_like(mask), boxes, "a")
    assert (counts.hit, counts.slices, counts.marked, counts.false_positives) == ({("a", 1)}, 2, 1, 1)


def test_a_mark_on_everything_hits_nothing() -> None:
    boxes = np.zeros((40, 40), np.int32)
    boxes[5:11, 5:11] = 1
    counts = measure_real_ct.Counts()
    counts.add(np.ones((40, 40), bool), boxes, "a")
    assert (counts.hit, counts.false_positives) == (set(), 1)


def test_a_patch_lies_in_the_middle_of_its_slice() -> None:
    patch = np.arange(6 * 8 * 2, dtype=np.float32).reshape(6, 8, 2)
    whole, (row, column) = measure_real_ct.within_a_slice(patch, (1.0, 2.0), 20.0)
    assert whole.shape == (20, 10, 2)
    assert np.array_equal(whole[row : row + 6, column : column + 8], patch)


def test_a_measurement(tmp_path: Path) -> None:
    boxes = np.zeros((16, 16, 2), np.int32)
    boxes[4:8, 4:8] = 1
    probability = np.where(boxes > 0, 0.8, 0.05).astype(np.float32)
    probability[12:14, 12:14, 0] = 0.6
    cases = iter([("a.nii.gz", np.zeros((16, 16, 2), np.float32), probability, boxes)])
    measured = measure_real_ct.measure(cases, 0.65, tmp_path)
    at = {one["threshold"]: one for one in measured["at"]}
    assert (measured["slices"], measured["boxes"]) == (2, 1)
    assert [at[t]["boxes_hit"] for t in (0.5, 0.65, 0.9)] == [1, 1, 0]
    assert [at[t]["false_positives_per_slice"] for t in (0.5, 0.65, 0.9)] == [0.5, 0.0, 0.0]
    assert (tmp_path / "a.png").is_file()


def test_a_table_without_a_column_is_told(tmp_path: Path) -> None:
    (tmp_path / measure_real_ct.TABLE).write_text("image_path,x,y\na.nii.gz,1,2\n")
    with pytest.raises(InputError, match="table of boxes"):
        measure_real_ct.read_boxes(tmp_path)
    with pytest.raises(InputError, match=r"no images/\*.png"):
        next(measure_real_ct.measured_slices(None, tmp_path, None))  # type: ignore[arg-type]


@pytest.mark.skipif(
    not (DATA / measure_real_ct.TABLE).is_file(),
    reason="BONEMETS_REAL_CT names no folder with image_bone_lesions.csv and its patches",
)
def test_every_box_of_the_real_patches_lies_within_its_patch() -> None:
    boxes = measure_real_ct.read_boxes(DATA)
    for name, listed in boxes.items():
        labels = measure_real_ct.box_map(read_ct(DATA / name), listed)
        assert set(np.unique(labels)) == set(range(len(listed) + 1))
    assert sum(map(len, boxes.values())) == 18
