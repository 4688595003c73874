"""Which scan to label next.

A strategy is a `monailabel.interfaces.tasks.strategy.Strategy`: it gets the request and the datastore and returns the
item's name. Strategies that go by a score are made by `HighestScore`; one that looks at many scans at once (for
diversity) is a class of its own here.
"""

from __future__ import annotations

import time
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from bonemets.labeling.scoring import score_of

# A scan that another annotator was given is not given out again for this long.
RESERVED_SECONDS = 30 * 60
UNSCORED = float("-inf")


class HighestScore(Strategy):
    """The unlabeled scan with the highest score, as long as no other annotator has it before them.

    Scans without a score come last, in the order of their names.

    Args:
        name: key of the score in the image's information.
        description: what it measures.
    """

    def __init__(self, name: str, description: str) -> None:
        super().__init__(f"Highest first: {description}")
        self.name = name

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose; None when everything is labeled."""
        images = sorted(datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")))
        if not images:
            return None
        client = request.get("client_id")
        free = [image for image in images if not reserved(datastore.get_image_info(image), client)] or images
        scores = {image: score_of(datastore, image, self.name).get("score", UNSCORED) for image in free}
        image = max(free, key=lambda item: scores[item])
        return {"id": image, "score": None if scores[image] == UNSCORED else scores[image]}


def reserved(info: dict[str, Any], client: str | None) -> bool:
    """Whether another client was given this image a short while ago, by whatever strategy."""
    given = info.get("strategy") or {}
    return any(
        entry.get("client_id") != client and time.time() - entry.get("ts", 0) < RESERVED_SECONDS
        for entry in given.values()
    )
