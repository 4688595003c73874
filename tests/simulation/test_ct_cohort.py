"""CT slices in a cohort: beside the bone scans or without them, with their folds, resumable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bonemets.errors import InputError
from bonemets.simulation import SimulatedStudy
from bonemets.simulation.cohort import simulate_cohort
from bonemets.simulation.ct.slices import CT_VERSION, SimulatedCT


def small_study(seed: int, patient: int) -> SimulatedStudy:
    maps = {name: np.zeros((64, 32, 2), np.uint16) for name in ("lesions", "hidden", "benign")}
    maps["lesions"][10:15, 10:15, 0] = patient % 2
    return SimulatedStudy(
        counts=np.full((64, 32, 2), 5 + patient, np.uint16),
        expected=np.ones((64, 32, 2), np.float32),
        bones=np.ones((64, 32, 2), np.uint8),
        parameters={
            "patient": {"sex": "M", "age_years": 60, "height_m": 1.8, "weight_kg": 80.0},
            "acquisition": {"duration_s": 900, "first_row": 0, "last_row": 60},
        },
        **maps,
    )


def small_ct(seed: int, patient: int) -> SimulatedCT:
    lesions = np.zeros((2, 16, 16), np.uint16)
    lesions[1, 4:8, 4:8] = patient % 2
    return SimulatedCT(
        hu=np.full((2, 16, 16), 40 * patient + seed, np.int16),
        label=(lesions > 0).astype(np.uint8),
        lesions=lesions,
        bones=np.ones((2, 16, 16), np.uint8),
        origin=np.array([[0.0, 0.0, -500.0], [0.0, 0.0, -480.0]]),
        pixel=0.8,
        thickness=2.5,
        parameters={
            "ct_version": CT_VERSION,
            "contrast": "unenhanced",
            "lesion_pixels": [int((image > 0).sum()) for image in lesions],
        },
    )


def make(out: Path, modality: str, patients: int = 5, **kwargs) -> dict:
    options = {"make_study": small_study, "make_ct": small_ct, "folds": 2, "modality": modality}
    return simulate_cohort(out, patients, 3, **{**options, **kwargs})


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def folds(path: Path) -> dict[str, int | None]:
    document = json.loads(path.read_text())
    return {item["patient"]: item.get("fold") for item in [*document["training"], *document["testing"]]}


def test_both_writes_scan_and_slices_with_the_same_folds(tmp_path):
    cohort = make(tmp_path, "both")
    assert cohort["modality"] == "both"
    assert (tmp_path / "patient_0001" / "scan.dcm").is_file()
    assert (tmp_path / "patient_0001" / "ct" / "slice_02.dcm").is_file()
    assert folds(tmp_path / "datalist.json") == folds(tmp_path / "datalist_ct.json")
    document = json.loads((tmp_path / "datalist_ct.json").read_text())
    for item in [*document["training"], *document["testing"]]:
        assert (tmp_path / item["image"]).is_file()
        assert (tmp_path / item["label"]).is_file()
    record = json.loads((tmp_path / "patient_0001" / "patient.json").read_text())
    assert record["parameters"]["ct"]["lesion_pixels"] == [0, 16]
    assert "ct/slice_01.dcm" in record["files"]


def test_ct_alone_writes_the_same_slices_and_folds_without_the_scan(tmp_path):
    make(tmp_path / "both", "both")
    make(tmp_path / "ct", "ct")
    alone, both = files(tmp_path / "ct"), files(tmp_path / "both")
    assert "datalist.json" not in alone
    assert not [name for name in alone if name.endswith("scan.dcm")]
    assert alone["datalist_ct.json"] == both["datalist_ct.json"]
    slices = [name for name in both if "/ct/" in name]
    assert len(slices) == 5 * 2 * 5
    assert all(alone[name] == both[name] for name in slices)


def test_scans_alone_have_no_slices(tmp_path):
    make(tmp_path, "nm")
    assert not [name for name in files(tmp_path) if "ct" in Path(name).parts]
    assert not (tmp_path / "datalist_ct.json").exists()


def test_damaged_slice_is_made_again_and_the_rest_is_kept(tmp_path):
    make(tmp_path, "both")
    before = files(tmp_path)
    (tmp_path / "patient_0002" / "ct" / "slice_01.nii.gz").write_bytes(b"broken")
    kept = (tmp_path / "patient_0001" / "patient.json").stat().st_mtime_ns
    make(tmp_path, "both")
    assert files(tmp_path) == before
    assert (tmp_path / "patient_0001" / "patient.json").stat().st_mtime_ns == kept


def test_another_modality_needs_another_folder(tmp_path):
    make(tmp_path, "nm", patients=2)
    with pytest.raises(InputError, match="modality nm, not both"):
        make(tmp_path, "both", patients=2)


def test_unknown_modality(tmp_path):
    with pytest.raises(ValueError, match="modality must be"):
        make(tmp_path, "pet")
