"""Bundles of the annotator's loop: what is kept, what may be set, and that each trains; without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import pytest
from label_server import SHAPE, make_study

from bonemets.bundle.folders import find_bundle
from bonemets.data import write_nifti
from bonemets.errors import InputError
from bonemets.labeling.intake.studies import import_studies
from bonemets.labeling.store.workspace import Workspace


def project(folder: Path) -> Workspace:
    work = Workspace(folder / "work")
    work.make()
    return work


class TestBundles:
    def test_weights_here_are_kept_and_configurations_renewed(self, tmp_path: Path) -> None:
        source = tmp_path / "source" / "a_segmentation"
        (source / "configs").mkdir(parents=True)
        (source / "models").mkdir()
        (source / "configs" / "inference.yaml").write_text("first")
        (source / "models" / "model.pt").write_bytes(b"shipped")
        (source / "models" / "model.json").write_text(json.dumps({"sha256": "x"}))
        work = project(tmp_path)
        (folder,) = work.refresh_bundles({source.name: source})
        assert (folder / "models" / "model.pt").read_bytes() == b"shipped"
        (folder / "models" / "model.pt").write_bytes(b"trained here")
        (source / "configs" / "inference.yaml").write_text("second")
        work.refresh_bundles({source.name: source})
        assert (folder / "models" / "model.pt").read_bytes() == b"trained here"
        assert (folder / "configs" / "inference.yaml").read_text() == "second"
        assert (source / "models" / "model.pt").read_bytes() == b"shipped"

    def test_settings_of_a_training(self, label_packages: Path, bundles: Path, tmp_path: Path) -> None:
        from bonemets.labeling.tasks.bundle_model import BundleModel
        from bonemets.labeling.tasks.bundle_train import BundleTrain

        train = BundleTrain(BundleModel(next(bundles.iterdir())), project(tmp_path))
        overrides = train.overrides({"max_epochs": 3, "learning_rate": 0.01, "batch_size": "", "device": ["cpu"]})
        assert overrides == {"epochs": 3, "learning_rate": 0.01, "device": "$torch.device('cpu')"}
        for name, value in (
            ("batch_size", "$__import__('os')"),
            ("batch_size", 1.5),
            ("max_epochs", -1),
            ("seed", True),
        ):
            with pytest.raises(InputError, match=name):
                train.overrides({name: value})
        with pytest.raises(InputError, match="no bone scan has a final label"):
            train.write_datalist(tmp_path / "run", set())

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("bundle", "small"),
        [("spect_msa_net_segmentation",
          {"features": [2, 2, 4, 4, 4], "critic_features": [2] * 6, "window_size": [96, 96]}),
         ("spect_multi_attention_segmentation", {"features": [8, 8], "crop_size": [96, 96], "crop_stride": [96, 96]})],
    )  # fmt: skip
    def test_every_planar_bundle_trains_here(
        self, bundle: str, small: dict[str, Any], label_packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """First from nothing, then from the weights that the first training left; then it proposes."""
        from bonemets.labeling.store.datastore import VersionedDatastore
        from bonemets.labeling.tasks.bundle_infer import BundleInfer
        from bonemets.labeling.tasks.bundle_model import BundleModel
        from bonemets.labeling.tasks.bundle_train import BundleTrain

        work = project(tmp_path)
        truths = {f"p{number}_scan": make_study(tmp_path / "in" / f"p{number}", number) for number in (1, 2)}
        import_studies(tmp_path / "in", work)
        work.refresh_bundles({bundle: find_bundle(bundle)})
        for shipped in (work.bundles / bundle / "models").glob("model.*"):
            shipped.unlink()
        store = VersionedDatastore(work)
        for item, truth in truths.items():
            write_nifti(tmp_path / "label.nii.gz", truth, nib.load(work.image(item)).affine)
            store.save_label(item, str(tmp_path / "label.nii.gz"), "final", {})
        model = BundleModel(work.bundles / bundle)
        train, infer = BundleTrain(model, work), BundleInfer(model)
        assert not infer.is_valid()
        assert model.labels == {"lesion": 1}
        request = {"max_epochs": 1, "device": "cpu", "batch_size": 2}
        narrow = train.overrides(request) | small
        with monkeypatch.context() as patch:
            patch.setattr(train, "overrides", lambda request: narrow)
            first = train(request, store)
        second = train(request, store)
        assert first["sha256"] != second["sha256"]
        record = json.loads(model.weights.with_suffix(".json").read_text())
        assert record["settings"]["features"] == record["network_def"]["features"] == small["features"]
        assert infer.is_valid()
        file, params = infer({"image": str(work.image("p1_scan")), "device": "cpu"})
        assert nib.load(file).shape == (*SHAPE, 2)
        assert params["weights_sha256"] == second["sha256"]
        Path(file).unlink()
