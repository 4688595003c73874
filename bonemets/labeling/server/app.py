"""The MONAI Label app: bundles in, proposals and trained weights out."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.async_tasks.utils import tasks

import bonemets
from bonemets.data.modalities import NAMES, NM, name_of
from bonemets.errors import InputError
from bonemets.labeling.exchange.segmentations import keep_segmentation
from bonemets.labeling.store.datastore import SAVED, VersionedDatastore
from bonemets.labeling.store.workspace import Workspace
from bonemets.labeling.tasks.bundle_infer import BundleInfer
from bonemets.labeling.tasks.bundle_model import BundleModel
from bonemets.labeling.tasks.bundle_train import BundleTrain
from bonemets.labeling.tasks.scoring import VALUES, LesionDice, ScoreImages
from bonemets.labeling.tasks.strategies import all_strategies

logger = logging.getLogger(__name__)


class BonemetsApp(MONAILabelApp):
    """Label bone scans, CT and color pictures with the bundles of an annotation project.

    A bundle proposes for, is trained on and scores the items of its own modality; clients are offered the bundles of
    those modalities of which there are items.

    Args:
        app_dir: MONAI Label's folder for the app.
        studies: where the studies come from: a folder or a DICOMweb address.
        conf: the server's ``--conf`` pairs; ``work`` is the annotation project's folder.

    Raises:
        InputError: if ``work`` is missing.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        if not conf.get("work"):
            raise InputError("the app needs --conf work FOLDER; `bonemets label` starts the server with it")
        self.work = Workspace(conf["work"])
        needed = ("metadata.json", "train.yaml", "inference.yaml")
        folders = [path / "configs" for path in sorted(self.work.bundles.iterdir())]
        complete = [path.parent for path in folders if all((path / name).is_file() for name in needed)]
        models = {path.name: BundleModel(path) for path in complete}
        self.bundles = {name: model for name, model in models.items() if model.modality in NAMES}
        super().__init__(
            app_dir, studies, conf, name="Bone metastases", version=bonemets.__version__,
            description="Bone scans, CT and color pictures: lesions. Research use only, not for diagnosis.",
        )  # fmt: skip

    def init_datastore(self) -> Datastore:
        """The project's own datastore, whatever the studies come from."""
        return VersionedDatastore(self.work)

    def init_infers(self) -> dict[str, InferTask]:
        """One for each bundle; clients see those that have weights."""
        return {name: BundleInfer(model) for name, model in self.bundles.items()}

    def init_trainers(self) -> dict[str, TrainTask]:
        """One for each bundle, also for those that have no weights yet."""
        return {name: BundleTrain(model, self.work) for name, model in self.bundles.items()}

    def init_strategies(self) -> dict[str, Strategy]:
        """MONAI Label's and our own."""
        return all_strategies()

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Dice of proposals, and what strategies choose by."""
        return {"dice": LesionDice(), **{name: ScoreImages(name, self.bundles) for name in VALUES}}

    def info(self) -> dict[str, Any]:
        """What clients are told: bundles for which there are items, and how many items of each modality are labeled."""
        meta = super().info()
        progress = self.datastore().progress()
        # Before there is anything, what most archives have.
        offered = set(progress) or {NM}
        for part in ("models", "trainers", "train_stats"):
            meta[part] = {name: about for name, about in meta[part].items() if self.bundles[name].modality in offered}
        return {**meta, "modalities": progress}

    def modality_of(self, request: dict[str, Any]) -> str | None:
        """The modality that a request is about: its ``modality``, else that of its ``model``; None for any."""
        model = self.bundles.get(str(request.get("model") or ""))
        wished = request.get("modality") or (model.modality if model else None)
        return str(wished) if wished else None

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Propose a label.

        *Deviation from MONAI Label*: the image is an item of the work list or a file that the client has sent, never
        another file of this machine; and a proposal is saved as a proposal only.

        Raises:
            HTTPException: 404 there is no such image or no such model, 400 the image is of another modality than the
                model's, or cannot be used.
        """
        image = str(request.get("image") or "")
        known = bool(self.datastore().get_image_uri(image))
        if not known and not _was_sent(image):
            raise HTTPException(404, f"there is no image {image!r}")
        task = self._infers.get(request.get("model"))
        if task is None or not task.is_valid():
            raise HTTPException(404, f"there is no model {request.get('model')!r} with weights; train it first")
        modality = self.datastore().modality_of(image)
        if known and modality != task.model.modality:
            wanted = name_of(task.model.modality, 2)
            raise HTTPException(400, f"{image} is a {name_of(modality)}, {task.model.name} is for {wanted}")
        try:
            return super().infer({**request, "label_tag": DefaultLabelTag.ORIGINAL.value}, datastore)
        except InputError as error:
            raise HTTPException(400, str(error)) from error

    def infer_wsi(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Refuse: MONAI Label's way for whole-slide images reads any file of this machine."""
        raise HTTPException(404, "whole-slide images are not served")

    def batch_infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Propose labels for many images, on one device: without a GPU MONAI Label's default divides by zero."""
        store = self.datastore().of_modality(self.modality_of(request))
        return super().batch_infer({"device": "auto", **request, "multi_gpu": False, "max_workers": 1}, store)

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train, then score with the new weights, in the same process: mean entropy, and what else is in use here."""
        result = super().train(request)
        store = self.datastore()
        noted = {key for image in store.list_images() for key in store.get_image_info(image)}
        for name in (name for name in VALUES if name == "mean_entropy" or name in noted):
            self.scoring({"method": name, "model": request["model"]})
        return result

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The item to label next: of the request's ``modality``, or that of its ``model``, or else any.

        Scores that a strategy needs and that are missing are computed in the background meanwhile.

        Raises:
            HTTPException: 404 there is no such strategy.
        """
        name = request.get("strategy") or "random"
        if name not in self._strategies:
            raise HTTPException(404, f"there is no strategy {name!r}; there are {', '.join(self._strategies)}")
        for needed in getattr(self._strategies[name], "needs", ()):
            self.score_in_background(needed, request)
        store = self.datastore().of_modality(self.modality_of(request))
        chosen = self._strategies[name]({**request, "strategy": name}, store)
        return {**chosen, "path": store.get_image_uri(chosen["id"])} if chosen and chosen.get("id") else {}

    def scoring(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Score images: of one modality where the request says so, else those of every modality by a bundle of it."""
        store, result = self.datastore(), {}
        if request.get("method") not in VALUES:
            return super().scoring(request, datastore or store)
        for modality, model in self.scoring_models(request).items():
            result.update(super().scoring({**request, "model": model.name}, store.of_modality(modality)))
        return result

    def scoring_models(self, request: dict[str, Any]) -> dict[str, BundleModel]:
        """Modality → the bundle to score with: the request's ``model``, else the first of it that has weights."""
        named = self.bundles.get(str(request.get("model") or ""))
        bundles = [*([named] if named else []), *self.bundles.values()]
        trained = [model for model in bundles if model.weights.is_file()]
        wished = self.modality_of(request)
        modalities = [wished] if wished else list(self.datastore().progress())
        found = {each: next((model for model in trained if model.modality == each), None) for each in modalities}
        return {modality: model for modality, model in found.items() if model}

    def score_in_background(self, name: str, request: dict[str, Any] | None = None) -> bool:
        """Begin to compute the scores that are missing, unless that is under way; whether it was begun."""
        method, models = self._scoring_methods[name], self.scoring_models(request or {})
        running = any(
            task["status"] in ("SUBMITTED", "RUNNING") and task["request"].get("method") == name
            for task in tasks("scoring")
        )
        store = self.datastore()
        missing = any(method.waiting(store.of_modality(each), model) for each, model in models.items())
        if running or not missing:
            return False
        about = {key: value for key, value in (request or {}).items() if key in ("model", "modality")}
        self.async_scoring(name, {name: about})
        return True

    def on_save_label(self, image_id: str, label_id: str) -> dict[str, Any]:
        """Write the DICOM SEG of a final label; what is returned is told to the client that saved it."""
        saved = SAVED.get()
        if saved.get("tag") == DefaultLabelTag.FINAL:
            saved = saved | {"segmentation": keep_segmentation(image_id, self.work, self.studies)}
        return saved


def _was_sent(image: str) -> bool:
    """Whether the file lies where the server puts what clients send."""
    path, sent = Path(image).resolve(), Path(tempfile.gettempdir()).resolve()
    return path.is_file() and path.is_relative_to(sent)
