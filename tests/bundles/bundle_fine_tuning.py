"""Checks of a bundle's fine_tune.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from bonemets.bundle.folders import file_sha256
from bonemets.errors import InputError


class FineTuningChecks:
    """For `BundleTester`: training goes on from weights of a network that their own record describes."""

    def fine_tuning(self: Any, cohort: Path, out: Path, **override: Any) -> ConfigWorkflow:
        """A training without any setting of the network: what it is like has to come from the weights."""
        small = {key: value for key, value in self.small.items() if key not in self.network_overrides}
        overrides = {
            "bundle_root": str(self.folder),
            "dataset_dir": str(cohort),
            "output_dir": str(out),
            "device": "cpu",
        }
        workflow = ConfigWorkflow(
            self.configs("train", *self.overlays, "fine_tune"), workflow_type="train", logging_file=False,
            **{**small, **overrides, "track": False, **override},
        )  # fmt: skip
        workflow.initialize()
        return workflow

    def test_fine_tuning_goes_on_from_weights(self: Any, cohort: Path, trained: Path, tmp_path: Path) -> None:
        shipped = self.folder / "models" / "model.pt"
        before, weights = file_sha256(shipped), trained / "models" / "model.pt"
        overrides = {"start_weights": str(weights), "epochs": 1, "val_interval": 1, "train::trainer::epoch_length": 1}
        # With a rate of 0 the parameters stay what they were.
        workflow = self.fine_tuning(cohort, tmp_path / "still", learning_rate=0.0, **overrides)
        workflow.run()
        old, new = (
            torch.load(path, weights_only=True) for path in (weights, tmp_path / "still" / "models" / "model.pt")
        )
        assert old.keys() == new.keys()
        names = dict(workflow.parser.get_parsed_content("network_def").named_parameters())
        assert names
        assert [name for name in names if not torch.equal(old[name], new[name])] == []
        record = json.loads((tmp_path / "still" / "models" / "model.json").read_text())
        assert record["settings"]["start_weights_sha256"] == file_sha256(weights)
        assert str(trained) not in json.dumps(record)
        assert record["network_def"] == json.loads(weights.with_suffix(".json").read_text())["network_def"]

        self.fine_tuning(cohort, tmp_path / "moved", **overrides).run()
        moved = torch.load(tmp_path / "moved" / "models" / "model.pt", weights_only=True)
        assert any(not torch.equal(old[name], moved[name]) for name in names)
        assert file_sha256(shipped) == before

    def test_fine_tuning_of_other_weights_is_told(self: Any, cohort: Path, tmp_path: Path) -> None:
        torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pt")
        (tmp_path / "text.pt").write_text("no weights")
        for name, words, overrides in (
            ("other.pt", "does not fit", {}),
            ("other.pt", f"not {'0' * 64}", {"start_weights_sha256": "0" * 64}),
            ("text.pt", "is not a weights file", {}),
            ("no.pt", "no such file", {}),
        ):
            with pytest.raises(RuntimeError) as caught:
                self.fine_tuning(cohort, tmp_path, start_weights=str(tmp_path / name), **overrides)
            error: BaseException | None = caught.value
            while error is not None and not isinstance(error, InputError):
                error = error.__cause__ or error.__context__
            assert words in str(error), name
