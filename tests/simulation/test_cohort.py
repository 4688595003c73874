import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from bonemets.data import check_leakage, load_datalist, read_planar
from bonemets.errors import InputError
from bonemets.simulation import SIMULATION_VERSION, SimulatedStudy, target_label
from bonemets.simulation import cohort as cohort_module
from bonemets.simulation.cohort import simulate_cohort
from bonemets.simulation.patient_folder import preview

VIEWS = ("anterior", "posterior")


def toy_study(seed: int, patient: int) -> SimulatedStudy:
    """A small study with every kind of mark, another one for each seed and patient; each third has no lesion."""
    rng = np.random.default_rng([seed, patient])
    shape = (256, 64, 2)
    spots = np.stack([gaussian_filter((rng.random(shape[:2]) < 0.02).astype(float), 2) for _ in VIEWS], axis=2)
    marks = {name: np.zeros(shape, np.uint16) for name in ("lesions", "hidden", "benign")}
    if patient % 3:
        marks["lesions"][40:50, 20:30, 0] = 1
        marks["hidden"][45:60, 25:28, 0] = 2
        marks["hidden"][45:60, 25:28, 1] = 1
    marks["benign"][100:110, 30:36] = 1
    expected = (3 + 800 * spots).astype(np.float32)
    parameters = {
        "patient": {"sex": "F", "age_years": 50 + patient, "height_m": 1.7, "weight_kg": 70.0},
        "acquisition": {"duration_s": 900, "first_row": 2, "last_row": 250},
        "lesions": [{"id": 1, "bone": "T8"}],
        "benign": [],
    }
    return SimulatedStudy(
        counts=rng.poisson(expected).astype(np.uint16), expected=expected, bones=(spots > 0.02).astype(np.uint8),
        parameters=parameters, **marks,
    )  # fmt: skip


def make(out: Path, patients: int = 4, seed: int = 1, **kwargs) -> dict:
    return simulate_cohort(out, patients, seed, **{"make_study": toy_study, "folds": 2, **kwargs})


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("cohort") / "a"
    make(out)
    return out


def test_every_file_is_there(cohort):
    names = {"scan.dcm", "preview.png", "patient.json"}
    names |= {
        f"{view}{kind}.nii.gz" for view in VIEWS for kind in ("", "_label", "_lesions", "_hidden", "_bones", "_benign")
    }
    assert {path.name for path in cohort.iterdir()} == {
        "cohort.json", "datalist.json", *(f"patient_{number:04d}" for number in range(1, 5)),
    }  # fmt: skip
    for number in range(1, 5):
        assert {path.name for path in (cohort / f"patient_{number:04d}").iterdir()} == names


@pytest.mark.parametrize(("index", "view"), list(enumerate(VIEWS)))
def test_files_hold_what_was_simulated(cohort, index, view):
    study, folder = toy_study(1, 2), cohort / "patient_0002"
    expected = {
        "": (study.counts, np.uint16), "_label": (target_label(study), np.uint8),
        "_lesions": (study.lesions, np.uint16), "_hidden": (study.hidden, np.uint16),
        "_bones": (study.bones, np.uint8), "_benign": (study.benign, np.uint16),
    }  # fmt: skip
    for kind, (array, dtype) in expected.items():
        image = nib.load(folder / f"{view}{kind}.nii.gz")
        assert image.get_data_dtype() == dtype
        np.testing.assert_array_equal(np.asarray(image.dataobj)[..., 0], array[..., index])
    scan = read_planar(folder / f"{view}.nii.gz")
    assert scan.views == (view,)
    np.testing.assert_allclose(scan.spacing, (2.26, 2.26), rtol=1e-6)


def test_dicom_is_the_same_scan(cohort):
    scan = read_planar(cohort / "patient_0002" / "scan.dcm")
    np.testing.assert_array_equal(scan.pixels, toy_study(1, 2).counts)
    dataset = scan.dataset
    assert (dataset.PatientID, dataset.PatientAge, dataset.PatientSex) == ("patient_0002", "052Y", "F")
    assert dataset.ActualFrameDuration == 900000
    assert dataset.ScanLength == round(248 * 2.26)


def test_instances_of_different_patients_and_seeds_differ(cohort, tmp_path):
    make(tmp_path / "b", patients=1, seed=2)
    paths = [cohort / "patient_0001", cohort / "patient_0002", tmp_path / "b" / "patient_0001"]
    uids = {pydicom.dcmread(path / "scan.dcm").SOPInstanceUID for path in paths}
    assert len(uids) == 3


def test_cohort_json_tells_everything_that_was_drawn(cohort):
    document = json.loads((cohort / "cohort.json").read_text())
    assert (document["seed"], document["patients"], document["modality"]) == (1, 4, "nm")
    assert document["simulation_version"] == SIMULATION_VERSION
    assert [study["parameters"] for study in document["studies"]] == [toy_study(1, n).parameters for n in range(1, 5)]
    first = document["studies"][0]
    assert first["lesion_pixels"] == {"anterior": 100, "posterior": 0}
    assert first["files"]["scan.dcm"] == contents(cohort)["patient_0001/scan.dcm"]
    assert len(document["content_sha256"]) == 64


def test_datalist_keeps_patients_together(tmp_path):
    make(tmp_path, patients=15, folds=3, test_share=0.2)
    parts = [load_datalist(tmp_path / "datalist.json", fold, "validation") for fold in range(3)]
    parts.append(load_datalist(tmp_path / "datalist.json", section="test"))
    patients = [{item["patient"] for item in part} for part in parts]
    assert sum(len(part) for part in patients) == 15 == len(set.union(*patients))
    assert [len(part) for part in patients] == [4, 4, 4, 3]
    for part, names in zip(parts, patients, strict=True):
        # Both views of each patient, and in each part about a third without lesion.
        assert sorted((item["patient"], item["view"]) for item in part) == sorted((n, v) for n in names for v in VIEWS)
        assert sum(int(name[-4:]) % 3 == 0 for name in names) in (1, 2)
    assert check_leakage(tmp_path / "datalist.json") == []


def test_same_bytes_whatever_the_number_of_workers(cohort, tmp_path):
    make(tmp_path / "b", workers=2)
    assert contents(tmp_path / "b") == contents(cohort)


def test_another_seed_gives_other_bytes(cohort, tmp_path):
    document = make(tmp_path / "b", seed=2)
    assert document["content_sha256"] != json.loads((cohort / "cohort.json").read_text())["content_sha256"]


class Counting:
    """Makes toy studies, remembers which, and may stop as Ctrl-C does."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.made: list[int] = []
        self.stop_at = stop_at

    def __call__(self, seed: int, patient: int) -> SimulatedStudy:
        if patient == self.stop_at:
            raise KeyboardInterrupt
        self.made.append(patient)
        return toy_study(seed, patient)


def test_stops_and_resumes(cohort, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "b", make_study=Counting(stop_at=3))
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"patient_0001", "patient_0002"}
    rest, steps = Counting(), []
    make(tmp_path / "b", make_study=rest, progress=lambda done, total: steps.append((done, total)))
    assert rest.made == [3, 4]
    assert steps == [(2, 4), (3, 4), (4, 4)]
    assert contents(tmp_path / "b") == contents(cohort)


def test_killed_while_writing(cohort, tmp_path):
    make(tmp_path, patients=1)
    (tmp_path / ".patient_0002.part").mkdir()
    (tmp_path / ".patient_0002.part" / "scan.dcm").write_bytes(b"half")
    make(tmp_path)
    assert contents(tmp_path) == contents(cohort)


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_damaged_patients_are_made_again(cohort, tmp_path, damage):
    make(tmp_path)
    file = tmp_path / "patient_0003" / "anterior_label.nii.gz"
    file.write_bytes(b"edited") if damage == "change" else file.unlink()
    again = Counting()
    make(tmp_path, make_study=again)
    assert again.made == [3]
    assert contents(tmp_path) == contents(cohort)


def test_extension_keeps_patients_and_their_parts(tmp_path):
    def parts():
        document = json.loads((tmp_path / "datalist.json").read_text())
        return {item["patient"]: item.get("fold", "test") for item in document["training"] + document["testing"]}

    make(tmp_path, patients=10)
    before, more = parts(), Counting()
    make(tmp_path, patients=14, make_study=more)
    assert more.made == [11, 12, 13, 14]
    assert {name: parts()[name] for name in before} == before
    assert len(parts()) == 14


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 2}, "holds a cohort with seed 1, not 2"), ({"patients": 3}, "holds a cohort of more than 3 patients")],
)
def test_another_cohort_is_left_alone(cohort, change, message):
    before = contents(cohort)
    with pytest.raises(InputError, match=message):
        make(cohort, **change)
    assert contents(cohort) == before


def test_another_simulator_version_is_refused(tmp_path, monkeypatch):
    make(tmp_path, patients=1)
    monkeypatch.setattr("bonemets.simulation.SIMULATION_VERSION", "next")
    with pytest.raises(InputError, match="holds a cohort with simulator version"):
        make(tmp_path)


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "patient_0001").mkdir()
    (tmp_path / "patient_0001" / "scan.dcm").write_bytes(b"somebody's")
    with pytest.raises(InputError, match="was not written by 'bonemets simulate'"):
        make(tmp_path)
    assert (tmp_path / "patient_0001" / "scan.dcm").read_bytes() == b"somebody's"


def test_unwritable(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot write to"):
            make(out)


def test_tiny_cohorts(tmp_path):
    document = make(tmp_path, patients=1, folds=5)
    assert document["patients"] == 1
    assert json.loads((tmp_path / "datalist.json").read_text())["numFolds"] == 1
    assert len(load_datalist(tmp_path / "datalist.json", None)) == 2


def test_preview_shows_both_views_with_outlines(cohort):
    study = toy_study(1, 1)
    image = preview(study, target_label(study))
    colors = {color: count for count, color in image.convert("RGB").getcolors(1 << 20) if len(set(color)) > 1}
    assert set(colors) == {(214, 39, 40), (31, 119, 180), (44, 160, 44)}
    saved = Image.open(cohort / "patient_0001" / "preview.png")
    assert saved.size == (2 * 64 + 36, 256 + 36) == image.size
    # Outlines lie outside: the lesion's own pixels keep their gray.
    lesion = np.asarray(image.convert("RGB"))[24 + 41 : 24 + 44, 12 + 21 : 12 + 24]
    assert (lesion[..., 0] == lesion[..., 1]).all()


def test_workers_use_one_thread(monkeypatch):
    from threadpoolctl import threadpool_info

    seen = []

    def look(seed, patient):
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return toy_study(seed, patient)

    monkeypatch.setattr(cohort_module, "write_patient", lambda *args, **kwargs: {})
    options = {"seed": 0, "modality": "nm", "make_study": look, "make_ct": cohort_module.make_simulated_ct}
    cohort_module._make_patient(Path("unused"), 1, **options)
    assert set(seen) == {1}


@pytest.mark.slow
def test_real_simulator_leaks_nothing_and_writes_valid_dicom(tmp_path):
    simulate_cohort(tmp_path, 6, 11, folds=2)
    assert check_leakage(tmp_path / "datalist.json") == []
    scan = read_planar(tmp_path / "patient_0001" / "scan.dcm")
    assert scan.shape == (1024, 256, 2)
    for index, view in enumerate(VIEWS):
        image = read_planar(tmp_path / "patient_0001" / f"{view}.nii.gz")
        np.testing.assert_array_equal(image.pixels[..., 0], scan.pixels[..., index])
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    command = ["dciodvfy", "-new", str(tmp_path / "patient_0001" / "scan.dcm")]
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (report.stdout + report.stderr).split() == ["NMImage"]
