"""`bonemets evaluate` on a made cohort whose every number is known, and what it says about bad input."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bonemets.cli.evaluate import evaluate
from bonemets.data.files import write_nifti
from bonemets.data.lists.datalist import load_datalist, write_datalist
from bonemets.data.planar.geometry import planar_affine
from bonemets.errors import InputError
from bonemets.metrics.comparison.intervals import resampling_weights
from bonemets.metrics.evaluation.cohort import Cohort, Totals
from bonemets.metrics.evaluation.evaluation import evaluate_cases
from bonemets.metrics.evaluation.matching import find_predictions
from bonemets.metrics.evaluation.measures import MEASURES, estimate

VIEWS = ("anterior", "posterior")
SHAPE = (32, 24)
SPACING = (10.0, 10.0)  # a pixel is 1 cm²


def write_map(path: Path, array: np.ndarray, view: str = "anterior") -> None:
    write_nifti(path, array, planar_affine(SHAPE, SPACING, view))


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Three patients of two views: one with two lesions in a cluster, one with one lesion, one without any."""
    root = tmp_path / "cohort"
    items = []
    for number in (1, 2, 3):
        patient = f"patient_{number:04d}"
        for view in VIEWS:
            label, lesions, bones = (np.zeros(SHAPE, dtype=np.uint8) for _ in range(3))
            bones[:, :12], bones[:, 12:] = 20, 30
            if view == "anterior" and number == 1:
                label[4:8, 4:6], label[4:8, 6:8] = 1, 1  # touching: one component, two lesions
                lesions[4:8, 4:6], lesions[4:8, 6:8] = 1, 2
            if view == "anterior" and number == 2:
                label[20:22, 10:12] = 1
                lesions[20:22, 10:12] = 1
                label[28:31, 10:13] = 2
            for ending, array in (("", label * 50), ("_label", label), ("_lesions", lesions), ("_bones", bones)):
                write_map(root / patient / f"{view}{ending}.nii.gz", array, view)
            name = f"{patient}/{view}"
            items.append({"image": f"{name}.nii.gz", "label": f"{name}_label.nii.gz", "patient": patient, "view": view})
        facts = [{"id": i, "cluster": 1, "bone": "L3", "region": "lumbar_spine"} for i in (1, 2)][: 3 - number]
        (root / patient / "patient.json").write_text(json.dumps({"parameters": {"lesions": facts}}))
    write_datalist(root / "datalist.json", {"name": "made", "training": [], "testing": items})
    (root / "cohort.json").write_text("{}")
    return root


def predict(root: Path, folder: Path, name: str = "{patient}_{view}", probability: bool = True) -> Path:
    """Predictions: patient 1's component but its last row, patient 2 missed, 4 false pixels in patient 3."""
    for item in load_datalist(root / "datalist.json", section="test"):
        array = np.full(SHAPE, 0.001 if probability else 0, dtype=np.float32)
        if item["view"] == "anterior":
            if item["patient"].endswith("1"):
                array[4:7, 4:8] = 0.9 if probability else 1
            if item["patient"].endswith("2"):
                array[28:31, 10:13] = 0.8 if probability else 1  # on ignored pixels
            if item["patient"].endswith("3"):
                array[2:4, 20:22] = 0.6 if probability else 1
        write_map(
            folder / f"{name.format(**item)}.nii.gz", array if probability else array.astype(np.uint8), item["view"]
        )
    return folder


def run(predictions: Path, root: Path, output: Path, **options) -> dict:
    keywords = {"section": "test", "fold": 0, "bootstrap": 50, "seed": 0, "threshold": 0.5, "tolerance": 10.0} | options
    from bonemets.cli.evaluate import Section

    keywords["section"] = Section(keywords["section"])
    evaluate(predictions, root / "datalist.json", output, **keywords)
    return json.loads((output / "summary.json").read_text())


def test_every_number_of_a_small_cohort(cohort, tmp_path):
    out = tmp_path / "out"
    summary = run(predict(cohort, tmp_path / "pred"), cohort, out)
    value = {key: metric["value"] for key, metric in summary["metrics"].items()}
    # Pixels: 12 of 16 right in patient 1, 4 missed in patient 2, 4 false in patient 3.
    one = 2 * 12 / (2 * 12 + 4)
    assert value["dice_per_image_bearing"] == pytest.approx((one + 0) / 2)
    assert value["dice_per_image"] == pytest.approx((one + 0 + 0 + 3 * 1) / 6)  # three images are rightly empty
    assert value["dice_pooled"] == pytest.approx(2 * 12 / (2 * 12 + 4 + 4 + 4))
    assert value["dice_pooled_bearing"] == pytest.approx(2 * 12 / (2 * 12 + 4 + 4))
    assert value["iou_pooled"] == pytest.approx(12 / 24)
    assert value["precision_pooled"] == pytest.approx(12 / 16)
    assert value["recall_pooled"] == pytest.approx(12 / 20)
    background = 6 * 32 * 24 - 9 - 24
    assert value["mean_iou_pooled"] == pytest.approx((12 / 24 + background / (background + 12)) / 2)
    assert value["mean_pixel_accuracy_pooled"] == pytest.approx((12 / 20 + background / (background + 4)) / 2)
    assert value["mean_precision_pooled"] == pytest.approx((12 / 16 + background / (background + 8)) / 2)
    # Outlines: all outline pixels of patient 1 lie within one row; patients 2 and 3 have one outline only.
    assert value["hausdorff_95_mean"] == value["hausdorff_95_median"] == pytest.approx(10.0)
    assert value["surface_dice"] == pytest.approx(1 / 3)
    # Lesions: two components, one found; one false finding in three scans of six images; the ignored one is nothing.
    for criterion in ("any", "iou10", "iou50"):
        assert value[f"sensitivity_{criterion}"] == 0.5
        assert value[f"lesion_precision_{criterion}"] == 0.5
        assert value[f"f1_{criterion}"] == 0.5
        assert value[f"false_positives_per_scan_{criterion}"] == pytest.approx(1 / 3)
        assert value[f"false_positives_per_image_{criterion}"] == pytest.approx(1 / 6)
    assert value["segmentation_quality"] == pytest.approx(12 / 16)
    assert value["recognition_quality"] == pytest.approx(1 / 2)
    assert value["panoptic_quality"] == pytest.approx(12 / 16 / 2)
    assert value["froc_sensitivity_at_0.125"] == 0.5  # above 0.6 there is no false finding
    # Patients: scores .9, .001 (what is ignored does not score) and .6; found, missed, false.
    assert value["patient_auc"] == 0.5
    assert (value["patient_sensitivity"], value["patient_specificity"]) == (0.5, 0.0)
    assert value["count_bias"] == pytest.approx((0 - 1 + 1) / 3)
    assert value["burden_bias"] == pytest.approx((-4 - 4 + 4) / 3)
    assert summary["data"]["simulated"] is True
    assert summary["lesions"] == 2
    clusters = {row["group"]: row for row in summary["breakdowns"]["cluster"]}
    assert clusters["in a cluster"]["lesions"] == 2
    assert clusters["in a cluster"]["sensitivity_any"]["value"] == 1.0
    assert clusters["in a cluster"]["sensitivity_iou10"]["value"] == 0.5  # one finding cannot be both lesions
    assert clusters["in a cluster"]["sensitivity_iou50"]["value"] == 0.0  # IoU 6/14 with each of them
    regions = {row["group"]: row["lesions"] for row in summary["breakdowns"]["region"]}
    assert regions["lumbar_spine"] == 3


def test_files_of_an_evaluation(cohort, tmp_path):
    out = tmp_path / "out"
    run(predict(cohort, tmp_path / "pred"), cohort, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "images.csv", "index.html", "lesions.csv", "patients.csv", "summary.json",
    ]  # fmt: skip
    rows = {name: list(csv.DictReader((out / f"{name}.csv").open())) for name in ("images", "lesions", "patients")}
    assert len(rows["images"]) == 6
    assert [row["metastases"] for row in rows["patients"]] == ["1", "1", "0"]
    kinds = [(row["patient"], row["kind"], row["matched_any"]) for row in rows["lesions"]]
    assert kinds.count(("patient_0001", "lesion", "1")) == 1
    assert kinds.count(("patient_0001", "numbered lesion", "1")) == 2
    assert ("patient_0003", "finding", "0") in kinds
    ignored = [row for row in rows["lesions"] if row["counted"] == "0"]
    assert [row["patient"] for row in ignored] == ["patient_0002"]
    page = (out / "index.html").read_text()
    assert "Simulated data" in page
    assert page.count("data:image/png;base64") == 5
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_masks_give_the_same_numbers_but_no_froc_and_no_calibration(cohort, tmp_path):
    masks = predict(cohort, tmp_path / "masks", probability=False)
    probabilities = predict(cohort, tmp_path / "probabilities")
    of_masks = run(masks, cohort, tmp_path / "a")["metrics"]
    others = run(probabilities, cohort, tmp_path / "b")["metrics"]
    assert {key for key in others if key not in of_masks} == {
        measure.key for measure in MEASURES if measure.probability
    }
    same = [key for key in of_masks if key != "patient_auc"]  # masks score by their area
    assert {key: of_masks[key] for key in same} == {key: others[key] for key in same}


@pytest.mark.parametrize(
    "name",
    [
        "{patient}/{view}", "{patient}_{view}_seg", "{patient}/{view}/{view}_trans", "deep/down/{patient}_{view}",
    ],
)  # fmt: skip
def test_namings(cohort, tmp_path, name):
    folder = predict(cohort, tmp_path / "pred", name)
    items = load_datalist(cohort / "datalist.json", section="test")
    if name.startswith("deep"):
        with pytest.raises(InputError, match="belong to no item: deep/down/patient_0001_anterior.nii.gz"):
            find_predictions(folder, items, cohort)
        return
    cases = find_predictions(folder, items, cohort)
    assert [(case.patient, case.view) for case in cases] == [(item["patient"], item["view"]) for item in items]
    assert all(case.patient in str(case.prediction) and case.view in case.prediction.name for case in cases)


def test_missing_and_extra_predictions_are_all_named_in_one_line(cohort, tmp_path):
    folder = predict(cohort, tmp_path / "pred")
    (folder / "patient_0001_anterior.nii.gz").unlink()
    (folder / "patient_0003_posterior.nii.gz").rename(folder / "patient_0009_posterior.nii.gz")
    with pytest.raises(InputError) as error:
        run(folder, cohort, tmp_path / "out")
    message = str(error.value)
    assert "2 of 6 items have no prediction: patient_0001/anterior, patient_0003/posterior" in message
    assert "1 predictions belong to no item: patient_0009_posterior.nii.gz" in message
    assert "\n" not in message
    assert not (tmp_path / "out").exists()


def test_bad_predictions_are_refused_by_name(cohort, tmp_path):
    folder = predict(cohort, tmp_path / "pred")
    file = folder / "patient_0001_anterior.nii.gz"
    items = load_datalist(cohort / "datalist.json", section="test")

    def refused(array: np.ndarray, affine: np.ndarray, match: str) -> None:
        write_nifti(file, array, affine)
        with pytest.raises(InputError, match=match):
            evaluate_cases(find_predictions(folder, items, cohort))

    affine = planar_affine(SHAPE, SPACING)
    refused(np.zeros((5, 5), dtype=np.float32), affine, "has the shape")
    refused(np.full(SHAPE, 7, dtype=np.uint8), affine, "values from 7 to 7")
    refused(np.full(SHAPE, np.nan, dtype=np.float32), affine, "from 0 to 1")
    refused(np.zeros(SHAPE, dtype=np.uint8), planar_affine(SHAPE, SPACING, "posterior"), "lies another way")
    file.write_bytes(b"not a NIfTI file")
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        evaluate_cases(find_predictions(folder, items, cohort))
    write_map(folder / "patient_0001_anterior_seg.nii.gz", np.zeros(SHAPE, dtype=np.uint8))
    with pytest.raises(InputError, match="1 have more than one: patient_0001/anterior"):
        find_predictions(folder, items, cohort)
    with pytest.raises(InputError, match="is not a folder"):
        find_predictions(tmp_path / "nowhere", items, cohort)


def test_masks_of_pictures_may_be_png_and_figures_beside_them_do_not_count(tmp_path):
    root, folder = tmp_path / "set", tmp_path / "pred"
    for where in (root, folder / "store"):
        where.mkdir(parents=True)
    label, mask = np.zeros(SHAPE, dtype=np.uint8), np.zeros(SHAPE, dtype=np.uint8)
    label[4:8, 4:8], mask[4:8, 6:10] = 255, 255  # half of each is shared
    for path, array in ((root / "a.png", label), (root / "a_mask.png", label), (folder / "a_seg.png", mask)):
        Image.fromarray(array).save(path)
    Image.fromarray(mask).save(folder / "store" / "figure.png")
    items = [{"image": "a.png", "label": "a_mask.png", "patient": "a", "view": "unknown"}]
    write_datalist(root / "datalist.json", {"name": "made", "training": [], "testing": items})
    run(folder, root, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["metrics"]["dice_pooled"]["value"] == 0.5

    # A picture has rows and columns as displayed, a NIfTI label as its file has them.
    write_map(root / "a_label.nii.gz", label // 255)
    write_datalist(root / "datalist.json", {"training": [], "testing": [items[0] | {"label": "a_label.nii.gz"}]})
    with pytest.raises(InputError, match="is a picture and its label"):
        run(folder, root, tmp_path / "again")


def test_results_of_segment_are_matched_by_fingerprint(cohort, tmp_path):
    from bonemets.data.fingerprints import scan_sha256
    from bonemets.data.planar.scan import merge_views
    from bonemets.data.planar.study import read_planar

    items = load_datalist(cohort / "datalist.json", section="test")[:2]
    # The two views' images must differ, or nothing tells a study from another one.
    scan = merge_views(*(read_planar(Path(item["image"])) for item in items))
    study = tmp_path / "segmented" / "study-0123"
    study.mkdir(parents=True)
    (study / "result.json").write_text(json.dumps({"study": {"pixels_sha256": scan_sha256(scan)}}))
    write_map(study / "mask.nii.gz", np.stack([np.ones(SHAPE), np.zeros(SHAPE)], axis=-1).astype(np.uint8))
    cases = find_predictions(study.parent, items, cohort)
    assert [case.channel for case in cases] == [0, 1]
    evaluation = evaluate_cases(cases, resamples=0)
    assert evaluation["recall_pooled"].value == 1.0
    assert evaluation.cohort.results[1].area_predicted == 0
    (study / "result.json").write_text(json.dumps({"study": {"pixels_sha256": "another"}}))
    with pytest.raises(InputError, match="1 predictions belong to no item: study-0123"):
        find_predictions(study.parent, items, cohort)


def test_resampled_measures_are_those_of_the_drawn_patients(cohort, tmp_path):
    """A bootstrap row must give what an evaluation of a list with those patients, repeated, would give."""
    items = load_datalist(cohort / "datalist.json", section="test")
    cases = find_predictions(predict(cohort, tmp_path / "pred"), items, cohort)
    results = evaluate_cases(cases, resamples=0).cohort.results
    weights = resampling_weights(3, 12, seed=1)
    totals = Totals(Cohort(results), weights)
    for index, row in enumerate(weights.astype(int)):
        import dataclasses

        drawn = [
            dataclasses.replace(result, patient=f"{result.patient}-{copy}")
            for patient, times in enumerate(row)
            for copy in range(times)
            for result in results[2 * patient : 2 * patient + 2]
        ]
        for found in estimate(Cohort(drawn)):
            resampled = found.measure.formula(totals)[index]
            assert resampled == pytest.approx(found.value, nan_ok=True, abs=1e-6), found.measure.key


def test_every_measure_is_defined_in_the_reference():
    reference = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
    keys = [measure.key for measure in MEASURES]
    assert len(set(keys)) == len(keys)
    assert [key for key in keys if f"`{key}`" not in reference] == []


def test_metrics_do_not_need_torch():
    import subprocess
    import sys

    code = "import sys, bonemets.metrics.evaluation.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
