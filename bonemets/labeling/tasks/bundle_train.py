"""A bundle as MONAI Label's training task: training on what annotators made of the proposals."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from monailabel.interfaces.tasks.train import TrainTask

from bonemets.bundle.weights import check_sha256
from bonemets.data.adapters.base import Options
from bonemets.data.adapters.monailabel import ADAPTER_FOR
from bonemets.data.files import write_together
from bonemets.data.lists.build import build_datalist
from bonemets.data.modalities import name_of
from bonemets.engines.predictor import checked_provenance
from bonemets.errors import InputError
from bonemets.labeling.store.workspace import Workspace
from bonemets.labeling.tasks.bundle_model import BundleModel, devices, first_choice

FOLDS = 5
# Settings of a training that a client may set, and the type that each must have: a configuration evaluates text that
# begins with "$", so no text is passed on.
KNOBS: dict[str, type] = {"batch_size": int, "learning_rate": float, "seed": int, "val_interval": int}
# What a training says of itself and not of the network: never taken over from the weights that it starts from.
RUN_SETTINGS = ("epochs", "fold", "overlays", "amp", "parent_run", "seed")


class BundleTrain(TrainTask):
    """Train a bundle on the final labels, as its ``train.yaml`` says, and serve the result.

    The images are split by patient into `FOLDS` folds (fewer for fewer patients, no validation for one), the first of
    them for validation. Training begins with the present weights if the client does not say ``pretrained: false``. The
    weights that are served are replaced when it has ended, never before; the older ones are kept.

    Args:
        model: the bundle.
        work: the annotation project.
    """

    def __init__(self, model: BundleModel, work: Workspace) -> None:
        super().__init__(str(model.metadata.get("description", model.name)))
        self.model = model
        self.work = work

    def config(self) -> dict[str, Any]:
        """What a client may set. Empty text: as the present weights were trained, else as ``train.yaml`` has it."""
        return {"device": devices(), "pretrained": True, "max_epochs": 20, **dict.fromkeys(KNOBS, "")}

    def info(self) -> dict[str, Any]:
        """What clients are told, the bundle's modality included."""
        return {**super().info(), "modality": self.model.modality}

    def stats(self) -> dict[str, Any]:
        """What the present weights' training recorded beside them."""
        path = self.model.weights.with_suffix(".json")
        record = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return {key: record[key] for key in ("metric", "epoch", "datalist", "sha256") if key in record}

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Train.

        Args:
            request: MONAI Label's; see `config`.
            datastore: what is labeled so far; the images of the bundle's modality are used.

        Returns:
            `stats` of the new weights.

        Raises:
            InputError: if nothing is labeled yet, or a setting is of the wrong kind.
        """
        # Resolved before anything is written, so that a wrong setting costs nothing.
        overrides = self.overrides(request)
        present = self.present_weights() if request.get("pretrained", True) else {}
        run = self.new_run()
        datalist, folds = self.write_datalist(run, set(datastore.of_modality(self.model.modality).get_labeled_images()))
        configs = self.model.folder / "configs"
        workflow = ConfigWorkflow(
            config_file=[str(path) for path in (configs / "train.yaml", *self.overlays(present))],
            meta_file=str(configs / "metadata.json"),
            logging_file=False, workflow_type="train", bundle_root=str(self.model.folder), dataset_dir=str(run),
            datalist=str(datalist), fold=0 if folds > 1 else None, output_dir=str(run), ckpt_dir=str(run / "models"),
            track=True, tracking_uri=self.work.tracking_uri, experiment_name=self.model.name, run_name=run.name,
            **overrides,
        )  # fmt: skip
        if present:
            self._start_from(present, workflow, overrides)
        # The last epoch at the latest: without a validation there are no weights to serve.
        workflow.parser["val_interval"] = min(int(workflow.parser["val_interval"]), overrides["epochs"])
        workflow.initialize()
        workflow.run()
        workflow.finalize()
        self.publish(run / "models")
        return self.stats()

    def new_run(self) -> Path:
        """A folder for a training, named after the time; with a number if there is one of this second already."""
        name = time.strftime("%Y%m%d-%H%M%S")
        place = self.work.training / self.model.name
        taken = len(list(place.glob(f"{name}*")))
        return place / (f"{name}-{taken + 1}" if taken else name)

    def overrides(self, request: dict[str, Any]) -> dict[str, Any]:
        """The settings of ``train.yaml`` that a request sets.

        Raises:
            InputError: if one is not a number of the right kind.
        """
        device = first_choice(request.get("device"))
        cuda = torch.cuda.is_available() and (device or "cuda").startswith("cuda")
        epochs = _number("max_epochs", request.get("max_epochs") or 20, int)
        overrides = {"epochs": epochs, "device": f"$torch.device('{'cuda' if cuda else 'cpu'}')"}
        for name, kind in KNOBS.items():
            if request.get(name) not in (None, ""):
                overrides[name] = _number(name, request[name], kind)
        return overrides

    def write_datalist(self, run: Path, labeled: set[str]) -> tuple[Path, int]:
        """Write what is labeled as training items with patient-level folds: views, slices or pictures.

        Args:
            run: folder of the training.
            labeled: the labeled items.

        Returns:
            The data list and its number of folds.

        Raises:
            InputError: if nothing is labeled yet.
        """
        if not labeled:
            raise InputError(f"no {name_of(self.model.modality)} has a final label yet; save some first")
        links = self.work.links()
        patients = {links[item].patient if item in links else item for item in labeled}
        path = run / "datalist.json"
        # A copy of the images and labels as they are now: annotators go on while the training runs.
        built = build_datalist(
            self.work.datastore, ADAPTER_FOR[self.model.modality], path, folds=max(1, min(FOLDS, len(patients))),
            duplicates="ignore", options=Options(patient_table=self.work.patients_path), name=self.model.name,
        )  # fmt: skip
        return path, int(built.document["numFolds"])

    def publish(self, models: Path) -> None:
        """Serve the weights that a training has left, and keep those that were served before."""
        target = self.model.weights.parent
        if self.model.weights.is_file():
            previous = target / "previous" / f"{time.strftime('%Y%m%d-%H%M%S')}-{self.model.weights_sha256()[:8]}"
            previous.mkdir(parents=True, exist_ok=True)
            for path in (self.model.weights, self.model.weights.with_suffix(".json")):
                if path.is_file():
                    shutil.copy2(path, previous / path.name)
        write_together({target / name: (models / name).read_bytes() for name in ("model.json", "model.pt")})

    def present_weights(self) -> dict[str, Any]:
        """What is known of the weights that are served now, and their file as ``weights``; empty if there are none."""
        if not self.model.weights.is_file():
            return {}
        check_sha256(self.model.weights)
        return {**checked_provenance(self.model.weights), "weights": self.model.weights}

    def overlays(self, present: dict[str, Any]) -> list[Path]:
        """The bundle's own overlay files that the present weights were trained with, as far as they are here."""
        configs, names = self.model.folder / "configs", present.get("settings", {}).get("overlays") or []
        # The names travel with weights, so none may lead out of the folder.
        places = [folder / f"{name}.yaml" for name in map(str, names) if Path(name).name == name
                  for folder in (configs, configs / "ablations")]  # fmt: skip
        return [path for path in places if path.is_file()]

    def _start_from(self, present: dict[str, Any], workflow: ConfigWorkflow, chosen: Collection[str]) -> None:
        parser = workflow.parser
        if "network_def" in present:
            # The settings too: the network's size may go with that of the crops, and the new model.json repeats them.
            for override, value in present.get("settings", {}).items():
                if (
                    override in parser.get()
                    and override not in chosen
                    and override not in RUN_SETTINGS
                    and _is_plain(value)
                ):
                    parser[override] = value
            parser["network_def"] = present["network_def"]
        loader = {
            "_target_": "CheckpointLoader",
            "load_path": str(present["weights"]),
            "load_dict": {"model": "$@network"},
            "map_location": "cpu",
        }
        parser["train::handlers"] = [loader, *parser["train::handlers"]]


def _is_plain(value: Any) -> bool:
    """Whether a configuration takes the value as it is: text it might evaluate."""
    return all(map(_is_plain, value)) if isinstance(value, list) else isinstance(value, (int, float))


def _number(name: str, value: Any, kind: type) -> int | float:
    is_number = isinstance(value, int) or (kind is float and isinstance(value, float))
    if not is_number or isinstance(value, bool) or value < 0 or (value == 0 and name != "seed"):
        raise InputError(f"{name} must be a positive {'whole ' if kind is int else ''}number, got {value!r}")
    return float(value) if kind is float else value
