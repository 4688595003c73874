"""What MONAI Label asks of every bundle, as its code reads it: part of `BundleTester`."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from monai.bundle import ConfigParser


class LabelChecks:
    """File names, ids, labels, overrides and ``dropout`` as MONAI Label 0.8.5 uses them.

    Attributes:
        label: name of the label in ``channel_def``.
        label_ending: end of the name of an image's label map.
    """

    label = "lesion"
    label_ending = "_label.nii.gz"

    def label_of(self, image: Path) -> Path:
        name = image.name.removesuffix("".join(image.suffixes))
        return image.with_name(name + self.label_ending)

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
            {"image": str(path), "label": str(self.label_of(path))}
            for path in sorted(cohort.glob(self.image_pattern))
            if path.parent.name in ("patient_0001", "patient_0002")
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
