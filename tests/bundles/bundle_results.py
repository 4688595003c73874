"""Checks of what a bundle's training, evaluation and inference leave: records, tables, masks and MLflow runs."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import mlflow
import nibabel as nib
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from bonemets.bundle.folders import file_sha256
from bonemets.data import datalist_hash, load_datalist

ROOT = Path(__file__).resolve().parents[2]


class ResultChecks:
    """For `BundleTester`: the training is its fixture ``trained``."""

    def test_model_record(self: Any, trained: Path, cohort: Path) -> None:
        text = (trained / "models" / "model.json").read_text()
        record = json.loads(text)
        assert record["sha256"] == file_sha256(trained / "models" / "model.pt")
        assert record["datalist"] == {"name": "phantoms", "sha256": datalist_hash(cohort / "datalist.json")}
        assert record["settings"]["epochs"] == 2
        assert record["settings"]["seed"] == 0
        assert record["metric"]["name"].startswith("val_")
        assert record["epoch"] in (1, 2)
        assert str(cohort) not in text
        assert str(ROOT) not in text
        network = ConfigParser({"network_def": record["network_def"]}).get_parsed_content("network_def")
        network.load_state_dict(torch.load(trained / "models" / "model.pt", weights_only=True))

    def test_evaluation(self: Any, trained: Path, cohort: Path) -> None:
        # `small` must not set the widths: they are those of the weights.
        small = {key: value for key, value in self.small.items() if key != "features"}
        workflow = ConfigWorkflow(
            self.configs("train", "evaluate"), workflow_type=None, logging_file=False, **small, track=True,
            bundle_root=str(self.folder), dataset_dir=str(cohort), output_dir=str(trained), run_name="evaluation",
            ckpt_dir=str(trained / "models"), device="cpu", tracking_uri=f"sqlite:///{trained}/mlruns.db",
        )  # fmt: skip
        workflow.initialize()
        workflow.run()
        summary = json.loads((trained / "evaluation_test" / "summary.json").read_text())
        assert summary["section"] == "test"
        assert (summary["images"], summary["patients"]) == (2, 1)
        assert summary["weights_sha256"] == file_sha256(trained / "models" / "model.pt")
        assert summary["datalist"]["sha256"] == datalist_hash(cohort / "datalist.json")
        assert 0 <= summary["dice_pooled"] <= 1
        lines = (trained / "evaluation_test" / "per_image.csv").read_text().splitlines()
        assert lines[1].startswith(self.first_test_row)
        run = self.runs(trained)["evaluation"]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["dice_pooled"] == pytest.approx(summary["dice_pooled"])
        # The evaluator's own metric, of a library, and the report's count the same pixels.
        assert run.data.metrics["lesion_dice"] == pytest.approx(summary["dice_pooled"], abs=1e-6)
        # The table of cases is in MLflow too, without the names of patients who may be real.
        table = self.artifact(trained, run, "per_image.csv").splitlines()
        assert len(table) == len(lines)
        assert table[0] == lines[0]
        assert "patient_0005" not in "".join(table) + self.artifact(trained, run, "per_image.json")
        assert run.data.tags["weights_sha256"] == summary["weights_sha256"]
        assert (run.data.tags["stage"], run.data.tags["section"]) == ("evaluate", "test")
        # What `bonemets compare` reads: probabilities came as far as the free-response ROC.
        patients = self.artifact(trained, run, "evaluation/patients.csv").splitlines()
        assert "froc_sensitivity_at_1" in patients[0]
        assert len(patients) == 2
        assert run.data.metrics["false_positives_per_scan_iou10"] >= 0

    def test_inference(self: Any, trained: Path, cohort: Path, tmp_path: Path) -> None:
        workflow = self.workflow("infer", ("inference",), cohort, tmp_path, **self.inference_overrides(trained))
        workflow.run()
        masks = sorted(tmp_path.rglob(f"*{self.mask_ending}"))
        assert len(masks) == 10
        for path in masks:
            self.check_mask(path, cohort / path.relative_to(tmp_path).parent)
        run = self.runs(trained)["inference"]
        assert (run.info.status, run.data.metrics["scans"]) == ("FINISHED", 10)
        assert run.data.metrics["seconds_per_scan"] > 0
        assert run.data.tags["weights_sha256"] == file_sha256(trained / "models" / "model.pt")
        files = [
            file.path for file in mlflow.MlflowClient(f"sqlite:///{trained}/mlruns.db").list_artifacts(run.info.run_id)
        ]
        assert "images" in files
        told = str(run.data) + self.artifact(trained, run, "config.yaml")
        assert not any(name in told for name in ("patient_", str(cohort), str(tmp_path), str(trained)))

    def test_inference_of_a_data_list_stays_in_the_output_folder(
        self: Any, trained: Path, cohort: Path, tmp_path: Path
    ) -> None:
        """Also where the images are not in the default ``dataset_dir``."""
        overrides = self.inference_overrides(trained) | {"dataset_dir": "./data", "track": False}
        listed = str(cohort / "datalist.json")
        self.workflow("infer", ("inference",), cohort, tmp_path, datalist=listed, **overrides).run()
        tested = load_datalist(listed, section="test")
        masks = [path.relative_to(tmp_path).parent for path in sorted(tmp_path.rglob(f"*{self.mask_ending}"))]
        assert masks == sorted(Path(item["image"]).parent.relative_to(cohort.resolve()) for item in tested)

    def check_mask(self: Any, path: Path, folder: Path) -> None:
        """The mask lies on its image, which is in that folder."""
        mask, scan = nib.load(path), nib.load(folder / path.name.replace("_seg", ""))
        assert mask.shape == scan.shape
        assert mask.get_data_dtype() == "uint8"
        assert (mask.affine == scan.affine).all()
        assert set(mask.dataobj.__array__().ravel().tolist()) <= {0, 1}

    def runs(self: Any, out: Path) -> dict[str, Any]:
        client = mlflow.MlflowClient(f"sqlite:///{out}/mlruns.db")
        experiment = client.get_experiment_by_name(self.name)
        return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}

    def artifact(self: Any, out: Path, run: Any, name: str) -> str:
        client = mlflow.MlflowClient(f"sqlite:///{out}/mlruns.db")
        return Path(client.download_artifacts(run.info.run_id, name)).read_text()

    def test_logged_model(self: Any, trained: Path, tmp_path: Path) -> None:
        run = self.runs(trained)["first"]
        (model,) = mlflow.MlflowClient(f"sqlite:///{trained}/mlruns.db").search_logged_models([run.info.experiment_id])
        assert (model.source_run_id, model.status) == (run.info.run_id, "READY")
        loaded = mlflow.pytorch.load_model(model.artifact_location)
        network = self.workflow(
            "infer", ("inference",), trained, tmp_path, **self.inference_overrides(trained)
        ).network_def
        network.load_state_dict(torch.load(trained / "models" / "model.pt", weights_only=True))
        image = torch.rand(1, self.image_shape()[0], 320, 256)
        with torch.no_grad():
            assert torch.allclose(loaded(image), network.eval()(image), atol=1e-5)

    def test_tracked_run(self: Any, trained: Path, cohort: Path) -> None:
        run = self.runs(trained)["first"]
        assert run.info.status == "FINISHED"
        assert run.data.params["epochs"] == "2"
        assert run.data.params["network_def._target_"].startswith("bonemets.networks.nets.")
        assert run.data.tags["datalist_sha256"] == datalist_hash(cohort / "datalist.json")
        assert run.data.tags["fold"] == "0"
        client = mlflow.MlflowClient(f"sqlite:///{trained}/mlruns.db")
        for metric in ("train_loss", "val_lesion_dice", "learning_rate"):
            assert [point.step for point in client.get_metric_history(run.info.run_id, metric)] == [1, 2], metric
        artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert {"config.yaml", "datalist.json", "environment.json", "model.json", "images", "validation"} <= artifacts
        assert run.data.metrics["best_epoch"] in (1, 2)
        assert run.data.tags["bundle"] == self.folder.name
        pictures = [artifact.path for artifact in client.list_artifacts(run.info.run_id, "images")]
        assert all(
            any(f"scan_01+step+{step}" in path and path.endswith(".png") for path in pictures) for step in (1, 2)
        )
        with sqlite3.connect(trained / "mlruns.db") as store:
            assert store.execute("select count(*) from runs where status = 'RUNNING'").fetchone() == (0,)
