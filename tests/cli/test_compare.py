"""`bonemets compare` on a real store, written by the handlers and by the sweep's own code."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import MeanDice, ValidationHandler, from_engine
from monai.transforms import Activationsd, AsDiscreted, Compose, CopyItemsd
from scipy import stats

from bonemets.bundle.provenance import RunningConfig
from bonemets.cli.main import main
from bonemets.data import datalist_hash
from bonemets.data.tables import csv_bytes
from bonemets.handlers import BestModel, MLflowTracking, PatientMetrics, ScanOverlays
from bonemets.metrics.evaluation.cohort import Cohort
from bonemets.metrics.evaluation.evaluation import Evaluation, patient_rows
from bonemets.metrics.image import measure_image
from bonemets.metrics.pixel import dice
from bonemets.sweep.trial import _log_to_mlflow
from bonemets.transforms import IgnoreRegiond

PATIENTS = [f"Mustermann{number}" for number in range(8)]


def item(patient: str) -> dict:
    """Three lesions in noise, brighter in some patients than in others; the last patient is healthy."""
    rng = np.random.default_rng(PATIENTS.index(patient))
    label = np.zeros((64, 64), dtype=np.float32)
    if patient != PATIENTS[-1]:
        for row in (8, 28, 48):
            label[row : row + 5, 12 : 12 + int(rng.integers(5, 20))] = 1
    image = rng.normal(0, 0.45, label.shape) + label * rng.uniform(0.2, 1.1)
    tensor = MetaTensor(torch.from_numpy(image.astype(np.float32))[None], meta={"filename_or_obj": f"{patient}.nii"})
    return {"image": tensor, "label": torch.from_numpy(label)[None], "patient": patient, "view": "anterior"}


def blur(width: int, bias: float) -> torch.nn.Conv2d:
    """A network that marks what is bright after smoothing."""
    network = torch.nn.Conv2d(1, 1, width, padding=width // 2)
    with torch.no_grad():
        network.weight.fill_(8.0 / width**2)
        network.bias.fill_(bias)
    return network


def evaluator(network: torch.nn.Module, handlers: list) -> SupervisedEvaluator:
    post = [
        Activationsd("pred", sigmoid=True), CopyItemsd("pred", names="probability"), AsDiscreted("pred", threshold=0.5),
        IgnoreRegiond("pred"),
    ]  # fmt: skip
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset([item(patient) for patient in PATIENTS]), batch_size=1),
        network=network,
        postprocessing=Compose(post),
        key_val_metric={"val_lesion_dice": MeanDice(output_transform=from_engine(["pred", "label"]))},
        val_handlers=handlers,
    )


class Lab:
    """A store and ways to log into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder}/mlruns.db"
        self.datalist = folder / "datalist.json"
        items = [{"image": f"{p}.nii", "label": f"{p}_label.nii", "patient": p, "fold": 0} for p in PATIENTS]
        self.datalist.write_text(json.dumps({"name": "hospital", "training": items, "testing": items}))
        self.sha256 = datalist_hash(self.datalist)

    def tracking(self, name: str, settings: dict, **kwargs) -> MLflowTracking:
        config = RunningConfig(merged=settings, settings=settings, network_def={"_target_": "torch.nn.Conv2d"})
        kwargs = {"datalist": self.datalist, "overlays": ScanOverlays(2, power=1.0, height_px=256), **kwargs}
        experiment = kwargs.pop("experiment", "lab")
        return MLflowTracking(self.uri, experiment, name, config, patients=PatientMetrics(), **kwargs)

    def evaluate(self, name: str, network: torch.nn.Module) -> None:
        settings = {"section": "test", "fold": 0, "width": network.kernel_size[0], "output_dir": f"out/{name}"}
        evaluator(network, [self.tracking(name, settings)]).run()

    def copy(self, name: str, table: str, **tags: str) -> None:
        """An evaluation with other tags and another table of patients."""
        client = mlflow.MlflowClient(self.uri)
        tags = {"stage": "evaluate", "section": "test", "fold": "0", "datalist_sha256": self.sha256} | tags
        run = client.create_run(client.get_experiment_by_name("lab").experiment_id, run_name=name, tags=tags)
        client.log_text(run.info.run_id, table, "evaluation/patients.csv")

    def train(self, name: str, rate: float, **kwargs) -> str:
        torch.manual_seed(0)
        network = blur(3, -6.0)
        best = BestModel(self.folder / name / "model.pt", network, "val_lesion_dice", RunningConfig({}))
        settings = {"fold": 0, "learning_rate": rate, "overlays": ["compact"]}
        tracking = self.tracking(name, settings, best_model=best, **kwargs)
        validation = ValidationHandler(1, evaluator(network, [best, tracking]))
        items = [{"image": i["image"], "label": i["label"]} for i in map(item, PATIENTS)]
        SupervisedTrainer(
            device="cpu",
            max_epochs=3,
            train_data_loader=DataLoader(Dataset(items), batch_size=4),
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), rate),
            loss_function=torch.nn.BCEWithLogitsLoss(),
            train_handlers=[tracking, validation],
        ).run()
        return tracking.run_id

    def sweep_trial(self, name: str, rate: float, network: torch.nn.Module) -> None:
        """A training, and the evaluation that a sweep adds to its run."""
        run_id = self.train(name, rate, parent_run="sweep", experiment="sweep")
        results = []
        for patient in PATIENTS:
            one = item(patient)
            probability = torch.sigmoid(network(one["image"].as_tensor()[None]))[0, 0].detach().numpy()
            results.append(measure_image(probability, one["label"][0].numpy(), name=f"{patient}.nii", patient=patient))
        rows = csv_bytes(patient_rows(Evaluation(Cohort(results), None, [], {}, {})))
        folder = self.folder / name / "evaluation"
        folder.mkdir(parents=True)
        data = {"datalist_sha256": self.sha256, "section": "test", "fold": None}
        (folder / "summary.json").write_text(json.dumps({"data": data}))
        for file in ("patients.csv", "images.csv", "lesions.csv", "index.html"):
            (folder / file).write_bytes(rows)
        result = {"trial": {"section": "test"}, "metrics": {"dice_per_image_bearing": 0.5}, "mlflow_run_id": run_id}
        trial = SimpleNamespace(name=name, datalist=self.datalist)
        _log_to_mlflow(self.uri, "sweep", result, trial, self.folder / name)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.evaluate("narrow", blur(3, -3.5))
    lab.evaluate("wide", blur(5, -3.0))
    lab.sweep_trial("slow", 0.5, blur(3, -3.5))
    lab.sweep_trial("fast", 4.0, blur(5, -3.0))
    lab.copy("validated", "patient,images,lesions\na,1,3\n", section="validation")
    lab.copy("elsewhere", "patient,images,lesions\na,1,3\n", datalist_sha256="0" * 64)
    lab.copy("whole", "patient,images,lesions\na,1,3\nb,1,0\n")
    lab.copy("crops", "patient,images,lesions\na,1,2\nb,1,0\n")
    lab.copy("twice", "")
    lab.copy("twice", "")
    return lab


def compare(lab: Lab, folder: str, *arguments: str) -> tuple[dict, str]:
    out = lab.folder / "pages" / folder
    assert main(["compare", *arguments, "--tracking-uri", lab.uri, "-o", str(out), "--bootstrap", "200"]) == 0
    return json.loads((out / "comparison.json").read_text()), (out / "index.html").read_text()


@pytest.fixture(scope="module")
def evaluations(lab: Lab) -> tuple[dict, str]:
    return compare(lab, "evaluations", "narrow", "wide")


def test_two_evaluations(lab: Lab, evaluations: tuple[dict, str]) -> None:
    document, page = evaluations
    out = lab.folder / "pages" / "evaluations"
    assert (document["data"]["section"], document["data"]["patients"], document["data"]["name"]) == (
        "test",
        8,
        "hospital",
    )
    expected = {}
    for name, network in (("narrow", blur(3, -3.5)), ("wide", blur(5, -3.0))):
        expected[name] = []
        for patient in PATIENTS[:-1]:
            one = item(patient)
            found, truth = (network(one["image"].as_tensor()[None])[0] > 0), one["label"] > 0
            counts = [int(part.sum()) for part in (found & truth, found & ~truth, ~found & truth)]
            expected[name].append(float(dice(*counts)))
    change = np.subtract(expected["wide"], expected["narrow"])
    (metric,) = (row for row in document["metrics"] if row["metric"] == "dice_per_image_bearing")
    assert metric["patients"] == 7
    assert metric["difference"] == pytest.approx(change.mean(), abs=1e-5)
    assert metric["low"] < metric["difference"] < metric["high"]
    assert metric["p"] == pytest.approx(stats.wilcoxon(change).pvalue)
    assert metric["p_holm"] >= metric["p"]
    assert metric["cohort_first"] == pytest.approx(np.mean(expected["narrow"]), abs=1e-5)
    assert (metric["patients_better"], metric["patients_worse"]) == ((change > 0).sum(), (change < 0).sum())
    assert [row["metric"] for row in document["metrics"]] == [
        "froc_sensitivity_at_1", "dice_per_image_bearing", "sensitivity_iou10", "false_positives_iou10",
    ]  # fmt: skip
    assert [row["name"] for row in document["parameters"]] == ["width", "output_dir"]
    with (out / "patients.csv").open(newline="") as file:
        losses = [float(row["dice_per_image_bearing_difference"] or "nan") for row in csv.DictReader(file)]
    assert losses[:7] == pytest.approx(sorted(change), abs=1e-5)
    assert (out / "comparisons.csv").read_text().count("\n") == 5
    assert page.count("data:image/png") == 1 + 2 * 2  # the figure of patients, two scans of two runs


def test_two_trainings(lab: Lab) -> None:
    document, page = compare(lab, "trainings", "slow", "fast", "--section", "validation")
    assert (document["data"]["section"], document["data"]["fold"]) == ("validation", "0")
    client = mlflow.MlflowClient(lab.uri)
    for side in ("first", "second"):
        run = client.get_run(document[side]["run_id"])
        curve = {p.step: p.value for p in client.get_metric_history(run.info.run_id, "val_dice_per_image_bearing")}
        assert list(curve) == [1, 2, 3]
        (metric,) = (row for row in document["metrics"] if row["metric"] == "dice_per_image_bearing")
        assert metric[f"cohort_{side}"] == pytest.approx(curve[document[side]["epoch"]])
    assert [row["name"] for row in document["parameters"]] == ["learning_rate"]
    assert page.count("data:image/png") == 2 + 2 * 2  # learning curves as well
    assert f"epoch {document['second']['epoch']:.0f}" in page


def test_two_trials_of_a_sweep(lab: Lab, evaluations: tuple[dict, str], capsys: pytest.CaptureFixture) -> None:
    document, _ = compare(lab, "trials", "slow", "fast", "--experiment", "sweep")
    assert document["data"]["section"] == "test"
    said = capsys.readouterr().out
    # The same networks on the same patients, by another way.
    for ours, theirs in zip(document["metrics"], evaluations[0]["metrics"], strict=True):
        assert ours["difference"] == pytest.approx(theirs["difference"], abs=1e-5), ours["metric"]
        assert f"{ours['label']}: {ours['difference']:+.3f}" in said
    assert sum(abs(metric["difference"]) > 0.01 for metric in document["metrics"]) >= 2
    assert [row["patient"] for row in document["patients"]] == [row["patient"] for row in evaluations[0]["patients"]]


def test_no_name_of_a_patient_is_in_the_store(lab: Lab, evaluations: tuple[dict, str]) -> None:
    folders = (lab.folder / "pages", lab.folder / "mlruns")
    written = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "lesions.csv" for path in written)
    assert not any(path.parent.name == "evaluation" and path.name == "index.html" for path in written)
    for path in written:
        assert b"Mustermann" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("narrow", "wibe"), ("no run wibe", "did you mean wide?")),
        (("narrow", "0" * 32), ("no run 000",)),
        (("narrow", "narrow"), ("one run",)),
        (("narrow", "twice"), ("2 runs are called twice", "--experiment")),
        (("narrow", "wide", "--experiment", "none"), ("no experiment none", "lab")),
        (("narrow", "sweep"), ("run sweep has no table of patients",)),
        (("narrow", "validated"), ("no patients in common", "validation of fold 0")),
        (("narrow", "wide", "--section", "validation"), ("validation was asked for",)),
        (("narrow", "elsewhere"), ("different data lists", "0 of 8 and 1")),
        (("whole", "crops"), ("different images of the same patients", "1 of 2")),
    ],
)
def test_refused(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    assert main(["compare", *arguments, "--tracking-uri", lab.uri, "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("bonemets: ")
    assert error.count("\n") == 1
    for word in words:
        assert word in error, error
    assert not out.exists()


def test_no_store(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    arguments = ["compare", "a", "b", "-o", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "MLFLOW_TRACKING_URI" in capsys.readouterr().err
    assert main([*arguments, "--tracking-uri", str(tmp_path / "mlruns.db")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "mlruns.db").exists()
    assert main([*arguments, "--tracking-uri", "http://127.0.0.1:9"]) == 2
    error = capsys.readouterr().err
    assert "cannot be read as an MLflow store" in error
    assert error.count("\n") == 1
