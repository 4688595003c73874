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
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.utils.async_tasks.utils import tasks

import bonemets
from bonemets.errors import InputError
from bonemets.labeling.bundle_tasks import BundleInfer, BundleModel, BundleTrain
from bonemets.labeling.datastore import SAVED, VersionedDatastore
from bonemets.labeling.scoring import SCORES, LesionDice, ScoreImages
from bonemets.labeling.segmentations import keep_segmentation
from bonemets.labeling.strategies import HighestScore
from bonemets.labeling.workspace import Workspace

logger = logging.getLogger(__name__)


class BoneScanApp(MONAILabelApp):
    """Label planar bone scans with the bundles of an annotation project.

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
        # Items of the work list are planar scans; networks for CT and for pictures have nothing to say about them.
        self.bundles = {name: model for name, model in models.items() if model.modality == "NM"}
        super().__init__(
            app_dir, studies, conf, name="Bone metastases", version=bonemets.__version__,
            description="Planar bone scans: bone metastases. Research use only, not for diagnosis.",
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
        """MONAI Label's random and first, and the highest of each score."""
        scored = {name: HighestScore(name, (score.__doc__ or name).splitlines()[0]) for name, score in SCORES.items()}
        return {"random": Random(), "first": First(), **scored}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Dice of proposals, and what strategies choose by."""
        scores = {name: ScoreImages(name, score, self.bundles) for name, score in SCORES.items()}
        return {"dice": LesionDice(), **scores}

    def infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Propose a label.

        *Deviation from MONAI Label*: the image is an item of the work list or a file that the client has sent, never
        another file of this machine; and a proposal is saved as a proposal only.

        Raises:
            HTTPException: 404 there is no such image or no such model, 400 the input cannot be used.
        """
        image = str(request.get("image") or "")
        if not self.datastore().get_image_uri(image) and not _was_sent(image):
            raise HTTPException(404, f"there is no image {image!r}")
        task = self._infers.get(request.get("model"))
        if task is None or not task.is_valid():
            raise HTTPException(404, f"there is no model {request.get('model')!r} with weights; train it first")
        try:
            return super().infer({**request, "label_tag": DefaultLabelTag.ORIGINAL.value}, datastore)
        except InputError as error:
            raise HTTPException(400, str(error)) from error

    def infer_wsi(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Refuse: MONAI Label's way for whole-slide images reads any file of this machine."""
        raise HTTPException(404, "whole-slide images are not served")

    def batch_infer(self, request: dict[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Propose labels for many images, on one device: without a GPU MONAI Label's default divides by zero."""
        return super().batch_infer({"device": "auto", **request, "multi_gpu": False, "max_workers": 1}, datastore)

    def train(self, request: dict[str, Any]) -> dict[str, Any]:
        """Train, then score the unlabeled images with the new weights, in the same process."""
        result = super().train(request)
        for name in SCORES:
            self.scoring({"method": name, "model": request["model"]})
        return result

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """The scan to label next.

        Scores that a strategy needs and that are missing are computed in the background meanwhile.

        Raises:
            HTTPException: 404 there is no such strategy.
        """
        strategy = request.get("strategy") or "random"
        if strategy not in self._strategies:
            raise HTTPException(404, f"there is no strategy {strategy!r}; there are {', '.join(self._strategies)}")
        if strategy in SCORES:
            self.score_in_background(strategy)
        return super().next_sample({**request, "strategy": strategy})

    def score_in_background(self, name: str) -> bool:
        """Begin to compute the scores that are missing, unless that is under way; whether it was begun."""
        method = self._scoring_methods[name]
        model = method.model({})
        running = any(
            task["status"] in ("SUBMITTED", "RUNNING") and task["request"].get("method") == name
            for task in tasks("scoring")
        )
        if model is None or running or not method.waiting(self.datastore(), model):
            return False
        self.async_scoring(name)
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
