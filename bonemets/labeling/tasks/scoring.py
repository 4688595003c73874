"""What is noted of images in the datastore: what strategies choose by, and how good proposals were.

What is computed is in `bonemets.labeling.tasks.scores`.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.scoring import ScoringMethod
from numpy.typing import NDArray

from bonemets.bundle.folders import file_sha256
from bonemets.data.label_values import IGNORE
from bonemets.engines.predictor import BundlePredictor
from bonemets.labeling.tasks.bundle_model import BundleModel, usable_device
from bonemets.labeling.tasks.scores import SCORES, bottleneck_features

logger = logging.getLogger(__name__)

FEATURES = "features"
# What is computed of images: numbers, and the features that diversity is measured by.
VALUES: dict[str, Callable[..., Any]] = {**SCORES, FEATURES: bottleneck_features}


class ScoreImages(ScoringMethod):
    """Compute a value of every image that needs it, and note it in the datastore with the weights that it is of.

    Images that have a value of the present weights are left out, so that it can be called as often as one likes.
    Scores are of images without a final label, features also of those with one, which others must differ from.

    Args:
        name: key in `VALUES`, and in the image's information.
        models: the bundles; the request's ``model``, else the first that has weights, is used.
    """

    def __init__(self, name: str, models: dict[str, BundleModel]) -> None:
        super().__init__(summary(VALUES[name]))
        self.name = name
        self.models = models

    def model(self, request: dict[str, Any]) -> BundleModel | None:
        """The bundle to score with; None if none has weights."""
        wished = [self.models[request["model"]]] if request.get("model") in self.models else []
        return next((model for model in [*wished, *self.models.values()] if model.weights.is_file()), None)

    def waiting(self, datastore: Datastore, model: BundleModel) -> list[str]:
        """The images that lack a value of the present weights."""
        sha256 = committee_sha256(model)
        images = datastore.list_images() if self.name == FEATURES else datastore.get_unlabeled_images()
        return sorted(image for image in images if value_of(datastore, image, self.name).get("weights") != sha256)

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Compute; image → value of those that were computed now."""
        model = self.model(request)
        waiting = [] if model is None else self.waiting(datastore, model)
        if model is None or not waiting:
            return {}
        # Of its own: scores act on the networks, and the one for proposals may be in use meanwhile.
        device = usable_device(request.get("device"))
        predictors = [BundlePredictor(model.folder, device, path) for path in committee(model)]
        sha256, result = committee_sha256(model), {}
        for image in waiting:
            value = VALUES[self.name](predictors, datastore.read(image))
            result[image] = [round(float(each), 5) for each in value] if self.name == FEATURES else value
            info = {"score": result[image], "weights": sha256, "model": model.name}
            datastore.update_image_info(image, {self.name: info})
            logger.info(f"{self.name} of {image}: {result[image]}")
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
                truth, proposal = (datastore.read_label(image, tag) for tag in (truth_tag, proposal_tag))
                result[image] = lesion_dice(truth, proposal)
                datastore.update_image_info(image, {"dice": result[image]})
        return result


def lesion_dice(truth: np.ndarray, proposal: np.ndarray) -> float:
    """2 |A ∩ B| / (|A| + |B|) of the pixels with label 1, where `truth` is not 2; 1 for two empty masks."""
    counted = truth != IGNORE
    lesion, proposed = (truth == 1)[counted], (proposal == 1)[counted]
    total = int(lesion.sum() + proposed.sum())
    return 2 * int((lesion & proposed).sum()) / total if total else 1.0


def summary(function: Callable[..., Any]) -> str:
    """The first line of a function's documentation."""
    return (function.__doc__ or function.__name__).splitlines()[0]


def committee(model: BundleModel) -> list[Path]:
    """The weights that score: the present ones, and those in ``models/ensemble`` if somebody has put any there."""
    return [model.weights, *sorted((model.weights.parent / "ensemble").glob("*.pt"))]


def committee_sha256(model: BundleModel) -> str:
    """Fingerprint of the weights that score; of the present weights' file if they are alone."""
    files = [file_sha256(path) for path in committee(model)]
    return files[0] if len(files) == 1 else hashlib.sha256("".join(files).encode()).hexdigest()


def value_of(datastore: Datastore, image: str, name: str) -> dict[str, Any]:
    """What is noted of an image under a name in `VALUES`; empty if there is nothing."""
    found = datastore.get_image_info(image).get(name)
    # Clients may write to the same place.
    if not isinstance(found, dict):
        return {}
    value = found.get("score")
    numbers = value if name == FEATURES and isinstance(value, list) and value else [value]
    return found if all(isinstance(number, float) for number in numbers) else {}


def features_of(datastore: Datastore, images: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    """Image → features, of one network's weights: those that most of the images have features of.

    Features of different weights say nothing about each other.
    """
    noted = {image: value_of(datastore, image, FEATURES) for image in images}
    found = {image: (value.get("weights"), value["score"]) for image, value in noted.items() if value}
    kinds = Counter((weights, len(vector)) for weights, vector in found.values()).most_common(1)
    return {
        image: np.array(vector, dtype=np.float64)
        for image, (weights, vector) in found.items()
        if (weights, len(vector)) == kinds[0][0]
    }
