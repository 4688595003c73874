"""Which scan to label next.

A strategy is a `monailabel.interfaces.tasks.strategy.Strategy`: it gets the request and the datastore and returns the
item's name. Here the datastore is asked; the choice itself is made in `bonemets.labeling.tasks.choosing`.
"""

from __future__ import annotations

import time
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random

from bonemets.labeling.tasks.choosing import farthest, highest, uncertain_and_far
from bonemets.labeling.tasks.scores import SCORES
from bonemets.labeling.tasks.scoring import FEATURES, features_of, summary, value_of

# A scan that another annotator was given is not given out again for this long.
RESERVED_SECONDS = 30 * 60
UNSCORED = float("-inf")


class Choice(Strategy):
    """Choose among the unlabeled scans, as long as no other annotator has them.

    Args:
        description: what clients are told.
        needs: keys in `bonemets.labeling.tasks.scoring.VALUES` that it goes by.
    """

    def __init__(self, description: str, needs: tuple[str, ...]) -> None:
        super().__init__(description)
        self.needs = needs

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose; None when everything is labeled."""
        images = sorted(datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")))
        if not images:
            return None
        client = request.get("client_id")
        free = [image for image in images if not reserved(datastore.get_image_info(image), client)] or images
        # What others are labeling now counts as labeled.
        taken = sorted(set(datastore.list_images()) - set(free))
        return self.choose(free, taken, datastore)

    def choose(self, free: list[str], taken: list[str], datastore: Datastore) -> dict[str, Any]:
        """One of the free scans, at least one, and its score or None."""
        raise NotImplementedError


class HighestScore(Choice):
    """The scan with the highest score; scans without one come last, in the order of their names.

    Args:
        name: the score.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"Highest first: {summary(SCORES[name])}", (name,))

    def choose(self, free: list[str], taken: list[str], datastore: Datastore) -> dict[str, Any]:
        """See `Choice`."""
        scores = {image: value_of(datastore, image, self.needs[0]).get("score", UNSCORED) for image in free}
        image = highest(scores)
        return {"id": image, "score": None if image is None or scores[image] == UNSCORED else scores[image]}


class Diverse(Choice):
    """The scan that is least like what is labeled, by the network's features; scans without features come last.

    Args:
        description: what clients are told.
        score: a score; then only scans that are high in it are considered.
    """

    def __init__(self, description: str, score: str | None = None) -> None:
        super().__init__(description, (FEATURES,) if score is None else (score, FEATURES))
        self.score = score

    def choose(self, free: list[str], taken: list[str], datastore: Datastore) -> dict[str, Any]:
        """See `Choice`."""
        features = features_of(datastore, [*free, *taken])
        known, chosen = ([image for image in images if image in features] for images in (free, taken))
        noted = {image: value_of(datastore, image, self.score) for image in known} if self.score else {}
        scores = {image: value["score"] for image, value in noted.items() if value}
        image = uncertain_and_far(scores, features, chosen) if scores else farthest(features, known, chosen)
        return {"id": image or free[0], "score": scores.get(image or "")}


def all_strategies() -> dict[str, Strategy]:
    """Name → strategy: MONAI Label's random and first, the highest of each score, and those for diversity."""
    far = "Least like what is labeled, by the network's features"
    return {
        "random": Random(),
        "first": First(),
        **{name: HighestScore(name) for name in SCORES},
        "diversity": Diverse(far),
        "uncertain_and_diverse": Diverse(f"{far}, among the quarter with the highest mean entropy", "mean_entropy"),
    }


def reserved(info: dict[str, Any], client: str | None) -> bool:
    """Whether another client was given this image a short while ago, by whatever strategy."""
    given = info.get("strategy") or {}
    return any(
        entry.get("client_id") != client and time.time() - entry.get("ts", 0) < RESERVED_SECONDS
        for entry in given.values()
    )
