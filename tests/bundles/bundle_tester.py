"""What every bundle must do. A bundle's own test is a subclass of `BundleTester` that names it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from bundle_commands import CommandChecks
from bundle_exports import ExportChecks
from bundle_fine_tuning import FineTuningChecks
from bundle_label import LabelChecks
from bundle_results import ResultChecks
from bundle_zoo import ZooChecks
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out
from torch.testing import assert_close

from bonemets.bundle.config_errors import Command, find_mistyped
from bonemets.bundle.folders import file_sha256

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "scripts" / "bundles" / "meta_schema_20240725.json"

KNOBS = (
    "bundle_root", "dataset_dir", "datalist", "fold", "output_dir", "device", "epochs", "batch_size", "learning_rate",
    "val_interval", "seed", "amp", "network_def",
)  # fmt: skip
CONFIGS = ("train", "evaluate", "inference", "multi_gpu_train")
# Every bundle has these; they go together with each other and with a bundle's own overlays.
TRAINING_OVERLAYS = ("early_stopping", "warm_restart", "ema", "gradient_accumulation")


class BundleTester(CommandChecks, ExportChecks, FineTuningChecks, LabelChecks, ResultChecks, ZooChecks):
    """Inherit it, set `name`, and `small`: overrides that make a training take seconds.

    Attributes:
        name: the bundle.
        small: settings of a tiny training.
        overlays: the bundle's own overlays that a training of the tests uses, such as compact; not the four that every
            bundle has, which are always used.
    """

    name: str
    small: dict[str, Any] = {}
    overlays: tuple[str, ...] = ()

    # What depends on the kind of data: see `cohort` in conftest.py. A bundle for other images than scans sets these.
    image_pattern = "*/*terior.nii.gz"
    mask_ending = "_seg.nii.gz"
    first_test_row = "patient_0005/anterior.nii.gz,patient_0005,anterior,"
    # Settings that build a network of another size than inference.yaml's default.
    network_overrides: tuple[str, ...] = ("features",)

    @property
    def folder(self) -> Path:
        return ROOT / "bundles" / self.name

    def configs(self, *names: str) -> list[str]:
        """Paths of configurations by name; what ends in .yaml is a path already."""
        return [name if name.endswith(".yaml") else str(self.folder / "configs" / f"{name}.yaml") for name in names]

    @property
    def every_overlay(self) -> tuple[str, ...]:
        """The bundle's own overlays and the four that every bundle has, to be used together."""
        return (*self.overlays, *(name for name in TRAINING_OVERLAYS if name not in self.overlays))

    def workflow(self, kind: str, names: tuple[str, ...], cohort: Path, out: Path, **override: Any) -> ConfigWorkflow:
        overrides = {
            "bundle_root": str(self.folder),
            "dataset_dir": str(cohort),
            "output_dir": str(out),
            "device": "cpu",
        }
        if kind == "train" or "evaluate" in names:
            overrides |= {**self.small, "ckpt_dir": str(out / "models"), "track": False}
        overrides |= override
        workflow = ConfigWorkflow(self.configs(*names), workflow_type=kind, logging_file=False, **overrides)
        workflow.initialize()
        return workflow

    def train(self, cohort: Path, out: Path, *overlays: str, **override: Any) -> dict[str, Any]:
        workflow = self.workflow("train", ("train", *overlays), cohort, out, **override)
        workflow.run()
        workflow.finalize()
        return torch.load(out / "checkpoint.pt", weights_only=True)

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
        for name in ("compact", "fine_tune", *TRAINING_OVERLAYS):
            assert (self.folder / "configs" / f"{name}.yaml").is_file(), name
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

    def test_overrides_come_first(self) -> None:
        keys = list(yaml.safe_load(Path(self.configs("train")[0]).read_text()))
        assert set(KNOBS) <= set(keys)
        above = keys[: keys.index("network_def")]
        assert set(KNOBS[:-1]) <= set(above)

    def test_no_path_of_one_machine(self) -> None:
        for path in self.folder.rglob("*"):
            if path.suffix in (".yaml", ".json", ".md", ".txt") and path.is_file() and path.parent.name != "models":
                assert not any(word in path.read_text() for word in ("/work/", "/home/", "/root/", "/tmp/")), path

    def test_mistakes_are_told_in_a_line(self) -> None:
        for path in self.configs("train", "inference"):
            assert "$import bonemets.bundle.short_errors" in yaml.safe_load(Path(path).read_text())["imports"]

    def test_every_key_of_an_overlay_is_used(self) -> None:
        """No overlay sets an argument that a class lacks or an id that nothing refers to."""
        configs = self.folder / "configs"
        overlays = [path for path in sorted(configs.rglob("*.yaml")) if path.stem not in ("train", "inference")]
        for overlay in overlays:
            files = [*self.configs("train"), str(overlay)]
            parser = ConfigParser(ConfigParser.load_config_files(files))
            assert find_mistyped(Command(tuple(files)), parser) is None, overlay.name

    def test_weights_name_their_network(self, tmp_path: Path) -> None:
        """Inference and evaluation take network and threshold from the record beside the weights."""
        own = ("_target_", "in_channels", "out_channels", "encoder_weights")
        names = ConfigParser.load_config_file(self.configs("train")[0])["network_def"].keys() - set(own)
        record = {"network_def": {name: f"{name} of the weights" for name in names}, "threshold": 0.8}
        (tmp_path / "model.json").write_text(json.dumps(record))
        for files in (("inference",), ("train", "evaluate"), ("train", "compact", "evaluate")):
            parser = ConfigParser(ConfigParser.load_config_files(self.configs(*files)))
            parser.update({"bundle_root": "B", "ckpt_path": str(tmp_path / "model.pt")})
            for name in names:
                assert parser.get_parsed_content(f"network_def::{name}") == f"{name} of the weights", (files, name)
            assert parser.get_parsed_content("threshold") == 0.8
            used = re.findall(r'"AsDiscreted", "keys": "pred", "threshold": ([^,}]+)', json.dumps(parser.get()))
            assert used == ['"@threshold"'], files

    # --- what MONAI asks

    def small_network(self) -> dict[str, Any]:
        return {
            key: value
            for key, value in self.small.items()
            if key in self.network_overrides or key.startswith("network_def")
        }

    def test_network_input_and_output(self) -> None:
        metadata, config = str(self.folder / "configs" / "metadata.json"), self.configs("inference")[0]
        for n in (1, 3):
            verify_net_in_out("network_def", metadata, config, device="cpu", n=n, **self.small_network())

    def inference_overrides(self, trained: Path) -> dict[str, Any]:
        store = {"tracking_uri": f"sqlite:///{trained}/mlruns.db", "run_name": "inference"}
        return {"ckpt_path": str(trained / "models" / "model.pt"), "pattern": self.image_pattern, **store}

    # --- training

    @pytest.fixture(scope="class")
    def trained(self, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Folder of a tracked training of two epochs."""
        out = tmp_path_factory.mktemp("trained")
        uri = f"sqlite:///{out}/mlruns.db"
        pictures = {"tracking::overlays::count": 1}
        self.train(cohort, out, epochs=2, track=True, tracking_uri=uri, run_name="first", **pictures)
        return out

    def test_every_overlay_trains(self, cohort: Path, tmp_path: Path) -> None:
        rows = sorted(f"ablations/{path.stem}" for path in (self.folder / "configs" / "ablations").glob("*.yaml"))
        one_step = {"train::trainer::epoch_length": 1, "train::dataset::cache_rate": 0.0, "fold": None}
        for name in (*self.every_overlay, *rows):
            workflow = self.workflow("train", ("train", name), cohort, tmp_path, **one_step)
            workflow.run()
            state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
            assert state["epoch"] == 1, name
            recorded = json.loads((tmp_path / "models" / "model.json").read_text())
            assert recorded["settings"]["overlays"] == [Path(name).name], name

    def test_rows_of_a_table_differ(self) -> None:
        """Within a table every row is an experiment of its own; two tables may share one."""
        seen: dict[tuple[str, str], str] = {}
        for path in sorted((self.folder / "configs" / "ablations").glob("*.yaml")):
            table, row = path.stem.split("_row")
            assert row[0].isdigit(), path
            lines = path.read_text().splitlines()
            assert lines[0].startswith(("# Table ", "# Figure ")), path
            assert any(line.startswith("# Published (the authors' data):") for line in lines), path
            merged = ConfigParser.load_config_files([*self.configs("train"), str(path)])
            assert merged["overlays"] == [path.stem]
            experiment = {key: merged[key] for key in merged if key not in ("overlays", "output_dir", "ckpt_dir")}
            key = table, json.dumps(experiment, sort_keys=True)
            assert key not in seen, f"{path.stem} is {seen[key]}"
            seen[key] = path.stem

    def test_ablations_do_not_overwrite_the_model(self) -> None:
        for path in (self.folder / "configs" / "ablations").glob("*.yaml"):
            parser = ConfigParser(ConfigParser.load_config_files([*self.configs("train"), str(path)]))
            parser.update({"bundle_root": "B"})
            assert parser.get_parsed_content("ckpt_dir") == f"B/eval/{path.stem}/models"

    @pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
    def test_same_seed_same_run_also_resumed(self, workers: int, cohort: Path, tmp_path: Path) -> None:
        """One and one epochs are two, bit for bit, with every overlay at once."""
        # A cycle of the rate that the resumed half begins in the middle of.
        overrides: dict[str, Any] = {"num_workers": workers, "seed": 1, "epochs": 2, "first_cycle": 2}
        straight = self.train(cohort, tmp_path / "straight", *self.every_overlay, **overrides)
        self.train(cohort, tmp_path / "halves", *self.every_overlay, **{"train::trainer::max_epochs": 1}, **overrides)
        resumed = self.train(cohort, tmp_path / "halves", *self.every_overlay, resume=True, **overrides)
        assert resumed["epoch"] == 2
        assert {"network", "optimizer", "lr_scheduler", "best", "average"} <= straight.keys()
        for part in straight.keys() - {"tracking"}:
            assert_close(straight[part], resumed[part], rtol=0, atol=0)
        assert file_sha256(tmp_path / "straight/models/model.pt") == file_sha256(tmp_path / "halves/models/model.pt")

    def test_another_seed_is_another_run_and_the_average_is_shipped(self, cohort: Path, tmp_path: Path) -> None:
        overrides = {"epochs": 2, "val_interval": 2}
        first, second = (
            self.train(cohort, tmp_path / str(seed), *self.every_overlay, seed=seed, **overrides) for seed in (1, 2)
        )
        with pytest.raises(AssertionError):
            assert_close(first["network"], second["network"], rtol=0, atol=0)
        shipped = torch.load(tmp_path / "1" / "models" / "model.pt", weights_only=True)
        average = {key.removeprefix("module."): value for key, value in first["average"].items() if "." in key}
        assert_close(shipped, {key: average[key] for key in shipped}, rtol=0, atol=0)
        with pytest.raises(AssertionError):
            assert_close(shipped, first["network"], rtol=0, atol=0)
        # Evaluation reads them back into the network that it evaluates.
        names = ("train", *self.every_overlay, "evaluate")
        parser = self.workflow("train", names, cohort, tmp_path / "1").parser
        assert parser.get_parsed_content("validate::evaluator").network is parser.get_parsed_content("network")
