"""What every bundle must do. A bundle's own test is a subclass of `BundleTester` that names it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import nibabel as nib
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out

from bonemets.data import datalist_hash
from bonemets.engines.bundles import file_sha256

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "scripts" / "meta_schema_20240725.json"

KNOBS = (
    "bundle_root", "dataset_dir", "datalist", "fold", "output_dir", "device", "epochs", "batch_size", "learning_rate",
    "val_interval", "seed", "amp", "network_def",
)  # fmt: skip
CONFIGS = ("train", "evaluate", "inference", "multi_gpu_train")


class BundleTester:
    """Inherit it, set `name`, and `small`: overrides that make a training take seconds."""

    name: str
    small: dict[str, Any] = {}
    overlays: tuple[str, ...] = ()
    label = "lesion"

    @property
    def folder(self) -> Path:
        return ROOT / "bundles" / self.name

    def configs(self, *names: str) -> list[str]:
        return [str(self.folder / "configs" / f"{name}.yaml") for name in names]

    def workflow(self, kind: str, names: tuple[str, ...], cohort: Path, out: Path, **override: Any) -> ConfigWorkflow:
        knobs = {"bundle_root": str(self.folder), "dataset_dir": str(cohort), "output_dir": str(out), "device": "cpu"}
        if kind == "train" or "evaluate" in names:
            knobs |= {**self.small, "ckpt_dir": str(out / "models"), "track": False}
        knobs |= override
        workflow = ConfigWorkflow(self.configs(*names), workflow_type=kind, logging_file=False, **knobs)
        workflow.initialize()
        return workflow

    def train(self, cohort: Path, out: Path, *overlays: str, **override: Any) -> dict[str, Any]:
        workflow = self.workflow("train", ("train", *overlays), cohort, out, **override)
        workflow.run()
        workflow.finalize()
        return torch.load(out / "checkpoint.pt", weights_only=True)

    def command(self, *arguments: str, folder: Path = ROOT, run: tuple[str, ...] = ("-m",)) -> str:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, *run, "monai.bundle", *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    # --- what lies in the folder

    def test_files(self) -> None:
        for name in (
            "metadata.json",
            "train.yaml",
            "evaluate.yaml",
            "inference.yaml",
            "multi_gpu_train.yaml",
            "logging.conf",
        ):
            assert (self.folder / "configs" / name).is_file(), name
        for name in ("LICENSE", "docs/README.md", "docs/data_license.txt", "models/.gitkeep"):
            assert (self.folder / name).exists(), name
        assert self.name.endswith("_segmentation")
        assert list((self.folder / "configs" / "ablations").glob("*.yaml"))

    def test_metadata(self, tmp_path: Path) -> None:
        path = self.folder / "configs" / "metadata.json"
        verify_metadata(meta_file=str(path), filepath=str(SCHEMA))
        metadata = json.loads(path.read_text())
        assert metadata["version"] in metadata["changelog"]
        (tmp_path / "broken.json").write_text(json.dumps({**metadata, "network_data_format": {"inputs": 1}}))
        with pytest.raises(ValueError, match="against schema"):
            verify_metadata(meta_file=str(tmp_path / "broken.json"), filepath=str(SCHEMA))

    def test_knobs_come_first(self) -> None:
        keys = list(yaml.safe_load(Path(self.configs("train")[0]).read_text()))
        assert set(KNOBS) <= set(keys)
        above = keys[: keys.index("network_def")]
        assert set(KNOBS[:-1]) <= set(above)

    def test_no_path_of_one_machine(self) -> None:
        for path in self.folder.rglob("*"):
            if path.suffix in (".yaml", ".json", ".md", ".txt") and path.is_file() and path.parent.name != "models":
                assert not any(word in path.read_text() for word in ("/work/", "/home/", "/root/", "/tmp/")), path

    # --- what MONAI and MONAI Label ask

    def test_properties(self, cohort: Path, tmp_path: Path) -> None:
        assert self.workflow("train", ("train",), cohort, tmp_path).check_properties() == []
        infer = self.workflow(
            "infer", ("inference",), cohort, tmp_path, pattern="*/anterior.nii.gz", **self.small_network()
        )
        assert infer.check_properties() == []

    def test_as_monai_label_reads_it(self, cohort: Path, tmp_path: Path) -> None:
        inference, train = (ConfigParser.load_config_file(self.configs(name)[0]) for name in ("inference", "train"))
        for key in ("network_def", "network", "preprocessing", "postprocessing", "inferer"):
            assert key in inference, key
        handlers = train["train"]["handlers"]
        assert all(isinstance(handler, dict) and "_target_" in handler for handler in handlers)
        # It adds its own CheckpointLoader unless there is one.
        assert not any(handler["_target_"] == "CheckpointLoader" for handler in handlers)
        metadata = json.loads((self.folder / "configs" / "metadata.json").read_text())
        channels = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        assert {v.lower(): int(k) for k, v in channels.items() if v.lower() != "background"} == {self.label: 1}

        # The overrides of its training task: own items without patient or view, a device by name, pretrained weights.
        items = [
            {"image": str(path), "label": str(path).replace(".nii.gz", "_label.nii.gz")}
            for path in sorted(cohort.glob("patient_000[12]/*terior.nii.gz"))
        ]
        first = self.train(cohort, tmp_path, epochs=1)
        loader = {
            "_target_": "CheckpointLoader",
            "load_path": str(tmp_path / "models" / "model.pt"),
            "load_dict": {"model": "$@network"},
        }
        overrides = {
            "train#trainer#max_epochs": 1,
            "train#dataset#data": items[:2],
            "validate#dataset#data": items[2:],
            "train#handlers": [loader, *handlers],
            "datalist": "missing.json",
            "learning_rate": 0.0,
        }
        second = self.train(cohort, tmp_path / "label", **overrides)
        weights = [key for key in first["network"] if key.endswith("weight")]
        assert all(torch.equal(first["network"][key], second["network"][key]) for key in weights)
        assert json.loads((tmp_path / "label" / "models" / "model.json").read_text())["datalist"] is None

    def test_dropout_is_accepted(self) -> None:
        parser = ConfigParser(ConfigParser.load_config_file(self.configs("inference")[0]))
        parser.update({"bundle_root": str(self.folder), **self.small_network()})
        parser["network_def"]["dropout"] = 0.2
        network = parser.get_parsed_content("network_def")
        assert any(isinstance(module, torch.nn.Dropout) and module.p == 0.2 for module in network.modules())

    def small_network(self) -> dict[str, Any]:
        return {key: value for key, value in self.small.items() if key == "features" or key.startswith("network_def")}

    def test_network_input_and_output(self) -> None:
        metadata, config = str(self.folder / "configs" / "metadata.json"), self.configs("inference")[0]
        for n in (1, 3):
            verify_net_in_out("network_def", metadata, config, device="cpu", n=n, **self.small_network())

    def test_export(self, trained: Path, tmp_path: Path) -> None:
        ckpt_export(
            "network_def",
            filepath=str(tmp_path / "model.ts"),
            ckpt_file=str(trained / "models" / "model.pt"),
            meta_file=str(self.folder / "configs" / "metadata.json"),
            config_file=self.configs("inference")[0],
            bundle_root=str(self.folder),
            ckpt_path=str(trained / "models" / "model.pt"),
        )
        network = self.workflow("infer", ("inference",), trained, tmp_path, **self.inference_knobs(trained)).network_def
        network.load_state_dict(torch.load(trained / "models" / "model.pt", weights_only=True))
        image = torch.rand(1, *self.image_shape())
        with torch.no_grad():
            assert torch.allclose(torch.jit.load(tmp_path / "model.ts")(image), network.eval()(image), atol=1e-5)

    def image_shape(self) -> tuple[int, ...]:
        metadata = json.loads((self.folder / "configs" / "metadata.json").read_text())
        return metadata["network_data_format"]["inputs"]["image"]["num_channels"], 96, 112

    def inference_knobs(self, trained: Path) -> dict[str, Any]:
        return {"ckpt_path": str(trained / "models" / "model.pt"), "pattern": "*/*terior.nii.gz"}

    # --- training

    @pytest.fixture(scope="class")
    def trained(self, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Folder of a tracked training of two epochs."""
        out = tmp_path_factory.mktemp("trained")
        uri = f"sqlite:///{out}/mlruns.db"
        self.train(cohort, out, epochs=2, track=True, tracking_uri=uri, run_name="first")
        return out

    def test_every_overlay_trains(self, cohort: Path, tmp_path: Path) -> None:
        ablations = sorted(path.stem for path in (self.folder / "configs" / "ablations").glob("*.yaml"))
        networks = set()
        for names in (("train", *self.overlays), *(("train", f"ablations/{name}") for name in ablations)):
            workflow = self.workflow(
                "train", names, cohort, tmp_path, **{"train::trainer::epoch_length": 1, "fold": None}
            )
            workflow.run()
            state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
            assert state["epoch"] == 1
            recorded = json.loads((tmp_path / "models" / "model.json").read_text())
            assert recorded["settings"]["overlays"] == [Path(name).name for name in names[1:]]
            networks.add(json.dumps(recorded["network_def"]))
        # Every row is an experiment of its own; the full network is the paper's last row.
        assert len(networks) == len(ablations)

    def test_ablations_do_not_overwrite_the_model(self) -> None:
        for path in (self.folder / "configs" / "ablations").glob("*.yaml"):
            parser = ConfigParser(ConfigParser.load_config_files([*self.configs("train"), str(path)]))
            parser.update({"bundle_root": "B"})
            assert parser.get_parsed_content("ckpt_dir") == f"B/eval/{path.stem}/models"

    def test_model_record(self, trained: Path, cohort: Path) -> None:
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

    def test_evaluation(self, trained: Path, cohort: Path) -> None:
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
        assert 0 <= summary["lesion_dice_pooled"] <= 1
        lines = (trained / "evaluation_test" / "per_image.csv").read_text().splitlines()
        assert lines[1].startswith("patient_0005/anterior.nii.gz,patient_0005,anterior,")
        run = self.runs(trained)["evaluation"]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["lesion_dice_pooled"] == pytest.approx(summary["lesion_dice_pooled"])
        # The evaluator's own metric, of a library, and the report's count the same pixels.
        assert run.data.metrics["lesion_dice"] == pytest.approx(summary["lesion_dice_pooled"], abs=1e-6)

    def test_inference(self, trained: Path, cohort: Path, tmp_path: Path) -> None:
        workflow = self.workflow("infer", ("inference",), cohort, tmp_path, **self.inference_knobs(trained))
        workflow.run()
        masks = sorted(tmp_path.rglob("*_seg.nii.gz"))
        assert len(masks) == 10
        for path in masks:
            mask = nib.load(path)
            scan = nib.load(cohort / path.parent.name / path.name.replace("_seg", ""))
            assert mask.shape == scan.shape
            assert mask.get_data_dtype() == "uint8"
            assert (mask.affine == scan.affine).all()
            assert set(mask.dataobj.__array__().ravel().tolist()) <= {0, 1}

    def test_same_seed_same_weights(self, cohort: Path, tmp_path: Path) -> None:
        first, second, other = (
            self.train(cohort, tmp_path / name, *self.overlays, seed=seed, epochs=1)
            for name, seed in (("a", 3), ("b", 3), ("c", 4))
        )
        assert_equal(first["network"], second["network"])
        assert file_sha256(tmp_path / "a" / "models" / "model.pt") == file_sha256(
            tmp_path / "b" / "models" / "model.pt"
        )
        with pytest.raises(AssertionError):
            assert_equal(first["network"], other["network"])

    @pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
    def test_resumed_is_the_same_run(self, workers: int, cohort: Path, tmp_path: Path) -> None:
        knobs: dict[str, Any] = {"num_workers": workers, "seed": 1}
        straight = self.train(cohort, tmp_path / "straight", *self.overlays, epochs=4, **knobs)
        halfway = {"train::trainer::max_epochs": 2}
        self.train(cohort, tmp_path / "halves", *self.overlays, epochs=4, **halfway, **knobs)
        resumed = self.train(cohort, tmp_path / "halves", *self.overlays, epochs=4, resume=True, **knobs)
        assert resumed["epoch"] == 4
        for part in ("network", "optimizer", "lr_scheduler", "best"):
            assert_equal(straight[part], resumed[part])

    # --- tracking

    def runs(self, out: Path) -> dict[str, Any]:
        client = mlflow.MlflowClient(f"sqlite:///{out}/mlruns.db")
        experiment = client.get_experiment_by_name(self.name)
        return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}

    def test_tracked_run(self, trained: Path, cohort: Path) -> None:
        run = self.runs(trained)["first"]
        assert run.info.status == "FINISHED"
        assert run.data.params["epochs"] == "2"
        assert run.data.params["network_def._target_"].startswith("bonemets.networks.nets.")
        assert run.data.tags["datalist_sha256"] == datalist_hash(cohort / "datalist.json")
        client = mlflow.MlflowClient(f"sqlite:///{trained}/mlruns.db")
        for metric in ("train_loss", "val_lesion_dice", "learning_rate"):
            assert [point.step for point in client.get_metric_history(run.info.run_id, metric)] == [1, 2], metric
        artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert {"config.yaml", "datalist.json", "environment.json", "model.json", "images"} <= artifacts
        pictures = [artifact.path for artifact in client.list_artifacts(run.info.run_id, "images")]
        assert all(
            any(f"scan_01+step+{step}" in path and path.endswith(".png") for path in pictures) for step in (1, 2)
        )
        with sqlite3.connect(trained / "mlruns.db") as store:
            assert store.execute("select count(*) from runs where status = 'RUNNING'").fetchone() == (0,)

    # --- the documented commands, as processes of their own

    @pytest.mark.slow
    def test_documented_commands(self, cohort: Path, tmp_path: Path) -> None:
        small = [word for key, value in self.small.items() for word in (f"--{key}", str(value).replace(" ", ""))]
        knobs = ["--dataset_dir", str(cohort), "--output_dir", str(tmp_path), "--ckpt_dir", str(tmp_path / "models")]
        train = ["run", "--config_file", "['configs/train.yaml']", "--bundle_root", ".", *knobs, *small]
        # MONAI's own tracking on top of ours: still one run.
        output = self.command(*train, "--epochs", "2", "--tracking", "mlflow", folder=self.folder)
        assert "epoch 2/2" in output
        assert [run.info.status for run in self.runs(tmp_path).values()] == ["FINISHED"]

        from_root = [f"bundles/{self.name}/configs/{name}.yaml" for name in ("train", "evaluate")]
        self.command("run", "--config_file", str(from_root), "--bundle_root", f"bundles/{self.name}", *knobs)
        assert (tmp_path / "evaluation_test" / "summary.json").is_file()
        assert len(self.runs(tmp_path)) == 2
        config = f"bundles/{self.name}/configs/inference.yaml"
        inference = ["--config_file", config, "--bundle_root", f"bundles/{self.name}", "--dataset_dir", str(cohort)]
        inference += ["--output_dir", str(tmp_path / "masks"), "--ckpt_path", str(tmp_path / "models" / "model.pt")]
        self.command("run", *inference, "--pattern", "*/p*r.nii.gz")
        assert (tmp_path / "masks" / "patient_0001" / "posterior_seg.nii.gz").is_file()

    @pytest.mark.slow
    def test_two_processes(self, cohort: Path, tmp_path: Path) -> None:
        small = [word for key, value in self.small.items() for word in (f"--{key}", str(value).replace(" ", ""))]
        knobs = ["--dataset_dir", str(cohort), "--output_dir", str(tmp_path), "--ckpt_dir", str(tmp_path / "models")]
        files = "['configs/train.yaml','configs/multi_gpu_train.yaml']"
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
        self.command(
            "run", "--config_file", files, "--bundle_root", ".", *knobs, *small, folder=self.folder, run=launcher
        )
        assert [run.info.status for run in self.runs(tmp_path).values()] == ["FINISHED"]
        state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
        assert not any(key.startswith("module.") for key in state)
        # The checkpoint of two processes goes on in one.
        resumed = self.train(cohort, tmp_path, epochs=2, resume=True)
        assert resumed["epoch"] == 2


def assert_equal(first: Any, second: Any) -> None:
    """Equal bit for bit: tensors, numbers, and dictionaries and lists of them."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    else:
        assert first == second
