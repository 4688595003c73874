"""nnU-Net as a peer, without nnU-Net: our cases on its files, its predictions into our evaluation and ledger."""

from __future__ import annotations

import json
from pathlib import Path

import itk
import numpy as np
import pytest

import nnunet
from bonemets.data import planar_affine, write_datalist, write_nifti
from bonemets.data.adapters import export_nnunet
from ledger import check_record

PLAN = {"patch_size": [64, 48], "batch_size": 2, "features": [8, 16], "iterations": 100, "pixels": 614400}


@pytest.fixture
def datalist(tmp_path: Path) -> Path:
    parts: dict[str, list[dict]] = {"training": [], "testing": []}
    for number in range(4):
        for view in ("anterior", "posterior"):
            place = tmp_path / "cohort" / f"patient_{number}" / view
            mask = np.zeros((64, 48), np.uint8)
            mask[10 + number : 20, 5:15] = 1
            mask[40:44, 30:34] = 2
            affine = planar_affine(mask.shape, (2.0, 2.0), view)
            write_nifti(place.with_suffix(".nii.gz"), (mask * 50 + number).astype(np.uint16), affine)
            write_nifti(place.with_name(f"{view}_label.nii.gz"), mask, affine)
            inside = place.relative_to(tmp_path / "cohort").as_posix()
            item = {"image": f"{inside}.nii.gz", "label": f"{inside}_label.nii.gz"}
            item |= {"patient": f"patient_{number}", "view": view}
            parts["testing" if number == 3 else "training"].append(item if number == 3 else {**item, "fold": number})
    path = tmp_path / "cohort" / "datalist.json"
    write_datalist(path, {"name": "scans", "modality": "NM", "simulated": True, "numFolds": 3, **parts})
    return path


def test_predictions_become_a_record(datalist: Path, tmp_path: Path) -> None:
    raw = export_nnunet(datalist, tmp_path / "raw", nnunet.DATASET_ID)
    items = nnunet.test_images(datalist, raw / "dataset.json")
    assert list(items) == ["patient_3_anterior", "patient_3_posterior"]
    results = []
    for seed in (0, 1):
        folder = tmp_path / "nnunet_40" / f"seed_{seed}"
        predicted = {}
        for case, (item, image) in items.items():
            # As nnU-Net reads it: (1, rows, columns).
            pixels = itk.array_from_image(itk.imread(str(image)))[0]
            mask = np.where(pixels == 53, 0.9, 0.0)
            mask[60:, seed:] = 0.7
            predicted[case] = item, folder / "predictions" / f"{case}.nii.gz"
            write_nifti(predicted[case][1], mask.astype(np.float32), np.eye(4), keep_axes=True)
        found = nnunet.evaluate(datalist, predicted, folder / "evaluation")["metrics"]
        # Every lesion pixel is found, and ignored pixels count neither way.
        assert found["recall_pooled"]["value"] == 1
        assert found["precision_pooled"]["value"] == pytest.approx(70 / (70 + 4 * (48 - seed)))
        results.append(
            {
                "seed": seed, "fold": 0, "minutes": 40.0, "seconds": 2400.0, **PLAN, "weights_sha256": "a1" * 32,
                "machine": {"processor": "p", "cores": 2, "commit": "0123456789", "nnunetv2": "2.8.1"},
                "finished": "2026-11-21T17:00:00+00:00",
            }
        )  # fmt: skip
    options = {"features": 8, "memory_gb": 8.0, "rows": nnunet._rows(datalist), "recipe": None, "command": "x"}
    record = check_record(nnunet.make_record(datalist, tmp_path / "nnunet_40", results, options), "record")
    assert record["id"] == "nnunet.nnunet_40" and record["seeds"] == [0, 1] and record["data"]["kind"] == "simulated"
    assert record["metrics"]["recall_pooled"] == {"value": 1.0, "sd": 0.0, "values": [1.0, 1.0]}
    assert record["rows"] == ["spect_msa_net_segmentation/table5_row12"]
    words = " ".join(record["deviations"])
    assert "40 core-minutes" in words and "100, 100 steps" in words and "first width 8" in words
    assert "planned for" not in words


def test_another_plan_needs_another_folder(datalist: Path, tmp_path: Path) -> None:
    wanted = {"datalist_sha256": "0" * 64, "features": 32, "memory_gb": 8.0}
    (tmp_path / "prepared.json").write_text(json.dumps(wanted))
    with pytest.raises(nnunet.InputError, match="take another folder"):
        nnunet.prepare(datalist, tmp_path, 32, 8.0)
