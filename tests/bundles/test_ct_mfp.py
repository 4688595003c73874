from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from bundle_tester import BundleTester
from PIL import Image

from bonemets.data import read_ct, write_datalist, write_nifti
from bonemets.data.adapters import ADAPTERS
from bonemets.data.lists.build import build_datalist
from bonemets.dicom.ct import CTHeader, ct_bytes
from bonemets.engines import BundlePredictor
from bonemets.metrics.comparison.pooling import PooledCohort
from bonemets.simulation.ct.folder import slice_affine
from bonemets.sweep.spec import read_sweep
from bonemets.sweep.trial import run_trial

SHAPE = (56, 48)
ORIGIN = (-40.0, -50.0, -300.0)


def ct_slice(seed: int, lesions: int) -> tuple[np.ndarray, np.ndarray]:
    """HU and label map of an oval body with a vertebra; `lesions` dense discs in it, and one spot to ignore."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]

    def ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
        return ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 < 1

    hu = rng.normal(-1000, 10, SHAPE)
    label = np.zeros(SHAPE, np.uint8)
    hu[ellipse(28, 24, 22, 20)] = 40
    hu[ellipse(38, 24, 8, 9)] = 250
    for _ in range(lesions):
        spot = ellipse(rng.uniform(34, 42), rng.uniform(20, 28), 3, 3)
        hu[spot], label[spot] = 800, 1
    unsure = ellipse(rng.uniform(12, 20), 16, 2, 2)
    hu[unsure], label[unsure] = 300, 2
    return (hu + rng.normal(0, 10, SHAPE)).clip(-1024, 3071).astype(np.int16), label


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patients for training in two folds, one for testing, two slices each, as `bonemets simulate` stores them."""
    folder = tmp_path_factory.mktemp("ct_cohort")
    parts: dict[str, list[dict]] = {"training": [], "testing": []}
    for number in range(1, 6):
        patient = f"patient_{number:04d}"
        (folder / patient).mkdir()
        for index in (1, 2):
            hu, label = ct_slice(10 * number + index, lesions=number % 3)
            origin = np.array(ORIGIN) + (0, 0, 5 * index)
            file = f"{patient}/slice_{index:02d}"
            (folder / f"{file}.dcm").write_bytes(ct_bytes(hu, origin, 1.5, index, CTHeader(patient)))
            for suffix, array in (("", hu), ("_label", label)):
                write_nifti(folder / f"{file}{suffix}.nii.gz", array, slice_affine(origin, 1.5, 2.5))
            item = {"image": f"{file}.nii.gz", "label": f"{file}_label.nii.gz", "patient": patient, "view": "axial"}
            if number < 5:
                parts["training"].append({**item, "fold": number % 2})
            else:
                parts["testing"].append(item)
    labels = {"0": "background", "1": "lesion", "2": "ignore"}
    write_datalist(folder / "datalist.json", {"name": "phantoms", "numFolds": 2, "labels": labels, **parts})
    return folder


class TestCtMfp(BundleTester):
    name = "ct_mfp_deeplabv3plus_segmentation"
    small = {"image_size": [32, 32], "crop_size": [32, 32], "batch_size": 4, "epochs": 1}
    overlays = ("compact", "early_stopping")
    image_pattern = "*/slice_0?.nii.gz"
    first_test_row = "patient_0005/slice_01.nii.gz,patient_0005,axial,"
    # Table 5 repeats table 1's ASPP and AFFP, table 2's PSCAN and table 3's DySample.
    equal_rows = 4

    def test_rows_of_the_tables(self) -> None:
        rows = [path.stem for path in (self.folder / "configs" / "ablations").glob("*.yaml")]
        for table, words in {
            1: ("aspp", "fsm", "fsm_frm", "affp"),
            2: ("cbam", "eca", "gam", "lsk", "sge", "simam", "parnet", "pscan"),
            3: ("nearest", "deconv", "carafe", "dysample"),
            5: ("deeplabv3plus", "affp", "pscan", "mfp"),
        }.items():
            expected = [f"table{table}_row{row}_{word}" for row, word in enumerate(words, start=1)]
            assert sorted(name for name in rows if name.startswith(f"table{table}_")) == expected
        assert len(rows) == 20

    def infer(self, trained: Path, folder: Path, out: Path, **overrides: Any) -> list[Path]:
        weights = str(trained / "models" / "model.pt")
        self.workflow("infer", ("inference",), folder, out, ckpt_path=weights, track=False, **overrides).run()
        return sorted(out.rglob("*_seg.nii.gz"))

    def test_every_source_gets_the_same_mask(self, trained: Path, cohort: Path, tmp_path: Path) -> None:
        first = cohort / "patient_0001"
        hu = np.stack([np.asarray(nib.load(first / f"slice_0{i}.nii.gz").dataobj)[..., 0] for i in (1, 2)], axis=-1)
        affine = slice_affine(np.array(ORIGIN) + (0, 0, 5), 1.5, 5.0)
        # The volume as another program stores it: columns to the right, rows to the front.
        volume = hu[::-1, ::-1].swapaxes(0, 1)
        turned = np.diag([1.5, 1.5, 5.0, 1.0])
        turned[:3, 3] = (affine @ (SHAPE[0] - 1, SHAPE[1] - 1, 0, 1))[:3]
        write_nifti(tmp_path / "volume" / "ct.nii.gz", volume, turned)
        (tmp_path / "series" / "p" / "ct").mkdir(parents=True)
        for index in (1, 2):
            (tmp_path / "series" / "p" / "ct" / f"{3 - index}").write_bytes(
                (first / f"slice_0{index}.dcm").read_bytes()
            )

        # Half of the pixels: so few epochs teach no probability of 0.5.
        predictor = BundlePredictor(self.folder, weights=trained / "models" / "model.pt")
        predicted = predictor.predict(read_ct(first / "slice_01.dcm"))
        half = {"threshold": float(np.median(predicted.probability))}
        nifti = self.infer(trained, cohort, tmp_path / "1", pattern="patient_0001/slice_0?.nii.gz", **half)
        dicom = self.infer(trained, cohort, tmp_path / "2", pattern="patient_0001/*.dcm", **half)
        (whole,) = self.infer(trained, tmp_path / "volume", tmp_path / "3", pattern="*.nii.gz", **half)
        (series,) = self.infer(trained, tmp_path / "series", tmp_path / "4", pattern="*/ct", series=True, **half)
        assert series == tmp_path / "4" / "p" / "ct_seg.nii.gz"
        masks = [np.asarray(nib.load(path).dataobj)[..., 0] for path in nifti]
        assert np.array_equal(masks[0], predicted.probability[..., 0] >= half["threshold"])
        assert 0.2 < masks[0].mean() < 0.8
        for index, mask in enumerate(masks):
            # DICOM's own order is (column, row, slice).
            assert np.array_equal(np.asarray(nib.load(dicom[index]).dataobj)[..., 0].T, mask)
            assert np.array_equal(np.asarray(nib.load(series).dataobj)[..., index].T, mask)
            assert np.array_equal(np.asarray(nib.load(whole).dataobj)[..., index].T[::-1, ::-1], mask)
        assert np.allclose(nib.load(whole).affine, turned)
        assert np.allclose(nib.load(series).affine @ (0, 0, 0, 1), affine @ (0, 0, 0, 1), atol=1e-3)

    def test_weights_of_a_row_are_inferred_with_its_network(self, cohort: Path, tmp_path: Path) -> None:
        self.train(cohort, tmp_path, "compact", "ablations/table1_row2_fsm")
        weights = str(tmp_path / "models" / "model.pt")
        workflow = self.workflow("infer", ("inference",), cohort, tmp_path, ckpt_path=weights, pattern="*/*.dcm")
        definition = json.loads((tmp_path / "models" / "model.json").read_text())["network_def"]
        assert definition["context"] == "fsm"
        for key in ("context", "attention", "skips", "upsample", "frm_scale"):
            assert workflow.parser.get_parsed_content(f"network_def::{key}") == definition[key]
        assert workflow.parser.get_parsed_content("image_size") == [32, 32]

    def test_a_last_slice_alone_is_left_out(self, cohort: Path, tmp_path: Path) -> None:
        # Seven slices in batches of three leave one, which batch normalization cannot train on behind ASPP's pooling.
        items = json.loads((cohort / "datalist.json").read_text())["training"][:7]
        items = [{key: str(cohort / item[key]) for key in ("image", "label")} for item in items]
        overrides: dict[str, Any] = {"batch_size": 3, "fold": None, "train::dataset::data": items}
        row = "ablations/table1_row1_aspp"
        workflow = self.workflow("train", ("train", row), cohort, tmp_path, **overrides)
        workflow.run()
        assert len(workflow.parser.get_parsed_content("train::dataloader")) == 2
        with pytest.raises(RuntimeError) as caught:
            self.train(cohort, tmp_path, row, **overrides, **{"train::dataloader::drop_last": False})
        assert "more than 1 value per channel" in str(caught.value.__cause__)

    def test_bm_seg(self, trained: Path, tmp_path: Path) -> None:
        """Its layout, PNG with masks of 0 and 255, from `bonemets datalist` to masks."""
        for patient in range(4):
            for number in range(2):
                hu, label = ct_slice(100 + 2 * patient + number, lesions=number)
                gray = ((hu.clip(-500, 1300) + 500) / 1800 * 255).astype(np.uint8)
                for kind, picture in (("images", gray), ("masks", (label == 1).astype(np.uint8) * 255)):
                    (tmp_path / "source" / kind / f"p{patient}").mkdir(parents=True, exist_ok=True)
                    mode = "RGB" if kind == "images" and patient == 0 else "L"
                    file = tmp_path / "source" / kind / f"p{patient}" / f"{number}.png"
                    Image.fromarray(picture).convert(mode).save(file)
        built = build_datalist(
            tmp_path / "source", ADAPTERS["bm-seg"], tmp_path / "datalist.json", folds=3, test_share=0.25,
            duplicates="ignore",
        )  # fmt: skip
        assert [built.document[key] for key in ("numTraining", "numTest")] == [6, 2]
        state = self.train(tmp_path, tmp_path / "out", epochs=1)
        assert state["epoch"] == 1
        masks = self.infer(tmp_path / "out", tmp_path / "source" / "images", tmp_path / "masks", pattern="p1/*.png")
        assert [nib.load(path).shape for path in masks] == [(*SHAPE, 1)] * 2


@pytest.mark.slow
def test_a_sweep_cross_validates_slices(cohort: Path, tmp_path: Path) -> None:
    spec = {
        "name": "slices",
        "dataset_dir": str(cohort),
        "section": "validation",
        "folds": [0, 1],
        "overlays": ["compact"],
        "settings": {**TestCtMfp.small, "track": False, "device": "cpu"},
        "models": [{"bundle": TestCtMfp.name, "row": "table5_row1_deeplabv3plus"}],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(spec))
    trial = read_sweep(tmp_path / "sweep.yaml").trials[1]
    folder = tmp_path / "trials" / trial.name
    result = run_trial(trial, folder, "", "slices")
    # Two patients of the fold, two slices each, on the slices' own pixels and millimeters.
    found = json.loads((folder / "evaluation" / "summary.json").read_text())
    assert (found["patients"], found["images"], found["data"]["fold"]) == (2, 4, 1)
    assert result["metrics"]["dice_pooled"] == found["metrics"]["dice_pooled"]["value"]
    with (folder / "evaluation" / "images.csv").open(newline="") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    for name, row in rows.items():
        label = np.asarray(nib.load(cohort / name.replace(".nii.gz", "_label.nii.gz")).dataobj)
        assert float(row["area_true_cm2"]) == pytest.approx((label == 1).sum() * 1.5**2 / 100, rel=1e-5)
        assert sum(int(row[key]) for key in ("tp", "fp", "fn", "tn")) == (label != 2).sum()
    # The last epoch's weights: none was chosen on the slices that are measured.
    assert json.loads((folder / "models" / "model.json").read_text())["metric"]["name"] is None
    assert len(PooledCohort([folder / "evaluation" / "cohort.npz"]).patients) == 2
