"""What the Model Zoo's checks and MONAI's Python functions do with every bundle: part of `BundleTester`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from monai.bundle import ckpt_export, create_workflow, download, load, verify_metadata, verify_net_in_out

SCHEMA = Path(__file__).resolve().parents[2] / "scripts" / "bundles" / "meta_schema_20240725.json"


class ZooChecks:
    """A bundle as a zip file: downloaded, loaded, verified as the Model Zoo does, trained, evaluated and used."""

    @pytest.fixture(scope="class")
    def downloaded(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The bundle as MONAI unpacks it from a zip file of the name and version that the Model Zoo gives."""
        folder = tmp_path_factory.mktemp("zoo")
        version = json.loads((self.folder / "configs" / "metadata.json").read_text())["version"]
        release = folder / f"{self.name}_v{version}.zip"
        with zipfile.ZipFile(release, "w") as archive:
            for path in sorted(self.folder.rglob("*")):
                place = path.relative_to(self.folder)
                if place.parts[0] in ("configs", "docs", "LICENSE") or place.name in ("model.pt", "model.json"):
                    archive.write(path, Path(self.name) / place)
        download(name=self.name, url=release.as_uri(), bundle_dir=str(folder / "hub"), progress=False)
        return folder / "hub" / self.name

    def test_model_zoo_minimal_verification(self, downloaded: Path) -> None:
        """Its files, its version and its metadata."""
        for name in ("configs/metadata.json", "LICENSE", "models/model.pt", "configs/inference.yaml"):
            assert (downloaded / name).is_file(), name
        metadata = json.loads((downloaded / "configs" / "metadata.json").read_text())
        assert metadata["version"] in metadata["changelog"]
        # The zoo's own properties of an application are checked for each that is named.
        assert metadata["supported_apps"] == {}
        verify_metadata(meta_file=str(downloaded / "configs" / "metadata.json"), filepath=str(SCHEMA))

    def test_model_zoo_full_verification(self, downloaded: Path, tmp_path: Path) -> None:
        """The shipped network takes and gives what the metadata says, and can be exported and loaded as TorchScript."""
        files = {
            "meta_file": str(downloaded / "configs" / "metadata.json"),
            "config_file": str(downloaded / "configs" / "inference.yaml"),
        }
        verify_net_in_out(net_id="network_def", **files, bundle_root=str(downloaded), device="cpu")
        exported = tmp_path / "verify_model.ts"
        weights = str(downloaded / "models" / "model.pt")
        ckpt_export("network_def", filepath=str(exported), ckpt_file=weights, **files, bundle_root=str(downloaded))
        assert isinstance(torch.jit.load(str(exported)), torch.jit.ScriptModule)

    def test_load_and_create_workflow(self, downloaded: Path, cohort: Path, tmp_path: Path) -> None:
        """Weights as MONAI loads them, into the network that the workflow makes; properties as it names them."""
        workflow = create_workflow(
            config_file=str(downloaded / "configs" / "inference.yaml"), workflow_type="infer", logging_file=False,
            bundle_root=str(downloaded), dataset_dir=str(cohort), output_dir=str(tmp_path), track=False,
            pattern=self.image_pattern, device="cpu",
        )  # fmt: skip
        assert workflow.check_properties() == []
        assert workflow.version == json.loads((downloaded / "configs" / "metadata.json").read_text())["version"]
        hub = {"name": self.name, "bundle_dir": str(downloaded.parent), "device": "cpu"}
        state = load(**hub)
        network = workflow.network_def
        assert state.keys() == network.state_dict().keys()
        assert load(**hub, model=network) is network
        for key, value in network.state_dict().items():
            assert torch.equal(value, state[key]), key

    def test_model_zoo_unit_test(self, cohort: Path, tmp_path: Path) -> None:
        """Train, evaluate and infer as the zoo's own tests do: properties, run and finalize of each workflow."""
        quick = {"epochs": 1, "train#dataset#cache_rate": 0.0, "train#trainer#epoch_length": 1}
        own = {"ckpt_path": str(tmp_path / "models" / "model.pt"), "track": False}
        for kind, names, override in (
            ("train", ("train",), quick),
            # It overrides train.yaml, so its properties are those of training.
            ("train", ("train", "evaluate"), {"validate#dataset#cache_rate": 0.0, **own}),
            ("infer", ("inference",), {"pattern": self.image_pattern, **own}),
        ):
            workflow = self.workflow(kind, names, cohort, tmp_path, **override)
            assert workflow.check_properties() == [], names
            workflow.run()
            workflow.finalize()
        assert (tmp_path / "evaluation_test" / "summary.json").is_file()
        assert len(list((tmp_path / "patient_0001").glob(f"*{self.mask_ending}"))) == 2
