"""What every bundle's commands must do, as processes of their own: part of `BundleTester`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from forked_commands import fork_command
from monai.bundle import ConfigParser
from monai.bundle.utils import merge_kv

# One step of the optimizer on all training images, without anything that depends on how they are spread over processes:
# a loss that is a mean over images, plain gradient descent, no augmentation, and a network as in evaluation, so that
# batch normalization does not look at the batch.
ONE_STEP = {
    "+overlays": ["one_step"],
    "+initialize": ["$setattr(@network_def.eval(), 'train', lambda *mode: @network_def)"],
    "loss": {"_target_": "torch.nn.MSELoss"},
    "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 1.0},
    "train::random_transforms": [],
    # No model in MLflow's own format and one picture: `trained` has the model, test_scan_overlays the pictures.
    "tracking::best_model": None,
    "tracking::overlays::count": 1,
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def torchrun_environments(processes: int) -> list[dict[str, str]]:
    """What torchrun tells each process of one machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    return [
        {**ENVIRONMENT, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
        for rank in range(processes)
    ]


class CommandChecks:
    """The commands of the model card, from a copy of the bundle, and by two processes.

    Attributes:
        one_step: what the overlay of the two processes' step replaces; see `ONE_STEP`.
        processes_tolerance: greatest difference between one step by two processes and by one, relative to the step.
        torchrun: start the two processes by torchrun; else as torchrun does, but without its imports. One bundle does.
    """

    one_step: dict[str, Any] = ONE_STEP
    # Measured: 3e-4, from float32 sums over 4 × 256 × 256 pixels in another order.
    processes_tolerance = 2e-3
    torchrun = False

    def command(self, *arguments: str, folder: Path, run: tuple[str, ...] = ("-m",)) -> str:
        command = [sys.executable, *run, "monai.bundle", *arguments]
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    def small_words(self, *names: str) -> list[str]:
        """`small` as words for a command with these configurations, which accepts no settings but theirs."""
        known = ConfigParser.load_config_files(self.configs(*names))
        small = {key: value for key, value in self.small.items() if key.split("::")[0] in known}
        return [word for key, value in small.items() for word in (f"--{key}", str(value).replace(" ", ""))]

    @pytest.fixture(scope="class")
    def copied(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The bundle zipped, and unpacked somewhere else under another name of its folder."""
        folder = tmp_path_factory.mktemp("elsewhere")
        with zipfile.ZipFile(folder / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(self.folder.rglob("*")):
                place = path.relative_to(self.folder)
                if place.parts[0] in ("configs", "docs", "LICENSE"):
                    archive.write(path, place)
            archive.writestr("models/", "")
        with zipfile.ZipFile(folder / "bundle.zip") as archive:
            archive.extractall(folder / "unpacked")
        return folder / "unpacked"

    @staticmethod
    def run_words(run_id: str, folder: Path, *names: str) -> list[str]:
        """``run ID`` with the model card's options, for a bundle's configurations by name; `folder` may be relative."""
        configs = [str(folder / "configs" / f"{name}.yaml") for name in names]
        return [
            "run", run_id, "--meta_file", str(folder / "configs" / "metadata.json"),
            "--config_file", str(configs) if len(configs) > 1 else configs[0],
            "--logging_file", str(folder / "configs" / "logging.conf"),
        ]  # fmt: skip

    @pytest.mark.slow
    def test_documented_commands(self, copied: Path, cohort: Path, tmp_path: Path) -> None:
        """In a copy of the bundle outside the checkout: train there; evaluate and infer there and elsewhere."""
        # MONAI's own tracking on top of ours: still one run.
        train = [*self.run_words("training", Path(), "train"), "--dataset_dir", str(cohort)]
        train += [*self.small_words("train"), "--epochs", "2", "--tracking", "mlflow"]
        # As in `ONE_STEP`.
        train += ["--tracking::best_model", "$None", "--tracking::overlays::count", "1"]
        output = self.command(*train, folder=copied)
        assert "epoch 2/2" in output
        assert (copied / "models" / "model.pt").is_file()
        assert [run.info.status for run in self.runs(copied / "eval").values()] == ["FINISHED"]

        # `small` is what the weights' record says.
        away = ["--bundle_root", str(copied), "--dataset_dir", str(cohort)]
        evaluate = [*self.run_words("evaluating", copied, "train", "evaluate"), *away]
        fork_command(evaluate, tmp_path, [ENVIRONMENT])
        assert (copied / "eval" / "evaluation_test" / "summary.json").is_file()
        assert len(self.runs(copied / "eval")) == 2

        quick = ["--dataset_dir", str(cohort), "--track", "False", "--pattern", self.image_pattern]
        places = {"inferring": copied, "evaluating": copied, "run": tmp_path}
        for run_id, place in places.items():
            words = self.run_words(run_id, Path() if place == copied else copied, "inference")
            words += ["--output_dir", str(tmp_path / run_id)] + ["--bundle_root", str(copied)] * (place != copied)
            fork_command([*words, *quick], place, [ENVIRONMENT])
            assert len(list((tmp_path / run_id / "patient_0001").glob(f"*{self.mask_ending}"))) == 2, run_id

    def test_run_ids(self) -> None:
        """The ids that MONAI's documentation and older bundles of the Model Zoo use do what ``run`` does."""
        for names, ids in {
            ("train",): ("training",),
            ("train", "evaluate"): ("evaluating",),
            ("inference",): ("inferring", "evaluating"),
        }.items():
            config = ConfigParser.load_config_files(self.configs(*names))
            assert isinstance(config["run"], list)
            for run_id in ids:
                assert config[run_id] == config["run"], (names, run_id)
        with_step = ConfigParser(ConfigParser.load_config_files(self.configs("train")))
        merge_kv(with_step, "+run", ["$None"])
        assert len(with_step.get("run")) == 2

    def test_processes_keep_what_other_files_prepare(self) -> None:
        """Wherever their file stands in the list: weights to start from, a head's prior."""
        others = [name for name in ("compact", "fine_tune") if (self.folder / "configs" / f"{name}.yaml").is_file()]
        prepared = ConfigParser.load_config_files(self.configs("train", *others))["initialize"]
        assert len(prepared) > 1
        for names in (["multi_gpu_train", *others], [*others, "multi_gpu_train"]):
            steps = ConfigParser.load_config_files(self.configs("train", *names))["initialize"]
            assert any("init_process_group" in step for step in steps)
            assert [step for step in steps if step in prepared[1:]] == prepared[1:]

    @pytest.mark.slow
    def test_two_processes_step_as_one(self, cohort: Path, tmp_path: Path) -> None:
        """Two processes with a batch of two are one with a batch of four; the data list has four images in fold 0."""
        overlay = tmp_path / "one_step.yaml"
        overlay.write_text(yaml.safe_dump(self.one_step))
        (alone := tmp_path / "alone").mkdir()
        # The network as it begins: a step of no length.
        start = self.train(cohort, tmp_path / "start", str(overlay), epochs=1, batch_size=4, **{"optimizer::lr": 0.0})
        tracked = {"track": True, "tracking_uri": f"sqlite:///{alone}/mlruns.db"}
        one = self.train(cohort, alone, str(overlay), epochs=1, batch_size=4, **tracked)

        files = str([*self.configs("train", "multi_gpu_train"), str(overlay)])
        overrides = ["--bundle_root", str(self.folder), "--dataset_dir", str(cohort), "--output_dir", str(tmp_path)]
        overrides += [*self.small_words("train"), "--ckpt_dir", str(tmp_path / "models")]
        overrides += ["--batch_size", "2", "--epochs", "1"]
        command = ["run", "--config_file", files, *overrides]
        if self.torchrun:
            launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m")
            self.command(*command, folder=tmp_path, run=launcher)
        else:
            fork_command(command, tmp_path, torchrun_environments(2))
        two = torch.load(tmp_path / "checkpoint.pt", weights_only=True)

        steps = [
            torch.cat([(after["network"][key] - value).flatten() for key, value in start["network"].items()
                       if value.is_floating_point()])
            for after in (one, two)
        ]  # fmt: skip
        assert steps[0].abs().max() > 0
        assert (steps[1] - steps[0]).norm() < self.processes_tolerance * steps[0].norm()

        # Lesions are counted by both: the first alone would have another half of the images.
        lesions = "val_dice_per_image_bearing", "val_false_positives_per_scan_iou10"
        ((first,), (second,)) = (self.runs(out).values() for out in (alone, tmp_path))
        for name in lesions:
            assert second.data.metrics[name] == pytest.approx(first.data.metrics[name], rel=0.02), name

        # Only the first process tracks and writes, and what it writes fits one process.
        assert [run.info.status for run in self.runs(tmp_path).values()] == ["FINISHED"]
        state = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
        assert not any(key.startswith("module.") for key in state)
        assert json.loads((tmp_path / "models" / "model.json").read_text())["settings"]["processes"] == 2
        resumed = self.train(cohort, tmp_path, str(overlay), epochs=2, batch_size=4, resume=True)
        assert resumed["epoch"] == 2
