"""Numbers about scans that strategies choose by, and about proposals that a lab lead looks at.

A new measure of uncertainty is one function in `SCORES`: the app then has a scoring method and a strategy of that name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.scoring import ScoringMethod

from bonemets.data.planar import PlanarScan
from bonemets.data.study import read_planar
from bonemets.engines.predictor import BundlePredictor
from bonemets.labeling.bundle_tasks import BundleModel
from bonemets.labeling.masks import IGNORE

logger = logging.getLogger(__name__)

# From a bundle and a scan to a number; the greater, the more is to be learned from the scan's label.
Score = Callable[[BundlePredictor, PlanarScan], float]


def mean_entropy(predictor: BundlePredictor, scan: PlanarScan) -> float:
    """Mean binary entropy of the lesion probability, in bits a pixel, over all views."""
    chance = predictor.predict(scan).probability.astype(np.float64).clip(1e-7, 1 - 1e-7)
    return float(np.mean(-chance * np.log2(chance) - (1 - chance) * np.log2(1 - chance)))


SCORES: dict[str, Score] = {"mean_entropy": mean_entropy}


class ScoreImages(ScoringMethod):
    """Score every image that has no final label, and note it in the datastore with the weights that it is of.

    Images that have a score of the present weights are left out, so that it can be called as often as one likes.

    Args:
        name: key of the score in the image's information.
        score: the function.
        models: the bundles; the request's ``model``, else the first that has weights, is used.
    """

    def __init__(self, name: str, score: Score, models: dict[str, BundleModel]) -> None:
        super().__init__((score.__doc__ or name).splitlines()[0])
        self.name = name
        self.score = score
        self.models = models

    def model(self, request: dict[str, Any]) -> BundleModel | None:
        """The bundle to score with; None if none has weights."""
        wished = [self.models[request["model"]]] if request.get("model") in self.models else []
        return next((model for model in [*wished, *self.models.values()] if model.weights.is_file()), None)

    def waiting(self, datastore: Datastore, model: BundleModel) -> list[str]:
        """The images that lack a score of the present weights."""
        sha256 = model.weights_sha256()
        images = datastore.get_unlabeled_images()
        return sorted(image for image in images if score_of(datastore, image, self.name).get("weights") != sha256)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, float]:
        """Score; image → score of those that were scored now."""
        model = self.model(request)
        if model is None:
            return {}
        predictor = model.predictor(request.get("device"))
        sha256, result = model.weights_sha256(), {}
        for image in self.waiting(datastore, model):
            result[image] = self.score(predictor, read_planar(datastore.get_image_uri(image)))
            info = {"score": result[image], "weights": sha256, "model": model.name}
            datastore.update_image_info(image, {self.name: info})
            logger.info(f"{self.name} of {image}: {result[image]:.5g}")
        return result


class LesionDice(ScoringMethod):
    """Lesion Dice of each final label and the proposal that the same image has, without the pixels to ignore."""

    def __init__(self) -> None:
        super().__init__("Lesion Dice of final labels and proposals")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, float]:
        """Compare; image → Dice. Where neither has a lesion, it is 1."""
        truth_tag = request.get("y") or DefaultLabelTag.FINAL.value
        proposal_tag = request.get("y_pred") or DefaultLabelTag.ORIGINAL.value
        result = {}
        for image in datastore.list_images():
            if {truth_tag, proposal_tag} <= set(datastore.get_labels_by_image_id(image)):
                truth = read_planar(datastore.get_label_uri(image, truth_tag)).pixels
                proposal = read_planar(datastore.get_label_uri(image, proposal_tag)).pixels
                result[image] = lesion_dice(truth, proposal)
                datastore.update_image_info(image, {"dice": result[image]})
        return result


def lesion_dice(truth: np.ndarray, proposal: np.ndarray) -> float:
    """2 |A ∩ B| / (|A| + |B|) of the pixels with label 1, where `truth` is not 2; 1 for two empty masks."""
    counted = truth != IGNORE
    lesion, proposed = (truth == 1)[counted], (proposal == 1)[counted]
    total = int(lesion.sum() + proposed.sum())
    return 2 * int((lesion & proposed).sum()) / total if total else 1.0


def score_of(datastore: Datastore, image: str, name: str) -> dict[str, Any]:
    """What is noted of an image's score; empty if it has none."""
    found = datastore.get_image_info(image).get(name)
    # Clients may write to the same place.
    return found if isinstance(found, dict) and isinstance(found.get("score"), float) else {}
