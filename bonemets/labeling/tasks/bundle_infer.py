"""A bundle as MONAI Label's inference task: proposing labels."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from bonemets.data.modalities import CT, read_item
from bonemets.labeling.store.masks import mask_bytes
from bonemets.labeling.tasks.bundle_model import BundleModel, devices, first_choice
from bonemets.labeling.tasks.proposed import proposed_lesions


class BundleInfer(InferTask):
    """Propose a label with a bundle: for all views of a scan, or all slices of a CT, at once.

    Args:
        model: the bundle.
    """

    def __init__(self, model: BundleModel) -> None:
        super().__init__(
            InferType.SEGMENTATION, model.labels, 3 if model.modality == CT else 2,
            str(model.metadata.get("description", model.name)), {"device": devices()},
        )  # fmt: skip
        self.model = model

    def is_valid(self) -> bool:
        """Whether there are weights: shipped ones, or those of the first training here."""
        return self.model.weights.is_file()

    def info(self) -> dict[str, Any]:
        """What clients are told, the bundle's version and modality included."""
        return {**super().info(), "version": self.model.metadata.get("version"), "modality": self.model.modality}

    def get_path(self, validate: bool = True) -> str:
        """The weights' file."""
        return str(self.model.weights)

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Infer.

        Args:
            request: MONAI Label's, with ``image`` (a file), ``device`` and, if wished, ``threshold``.

        Returns:
            The label's file, for the caller to remove, and what is known of it: lesions with place and probability.
        """
        start = time.perf_counter()
        predictor = self.model.predictor(first_choice(request.get("device")))
        scan = read_item(request["image"], self.model.modality)
        loaded = time.perf_counter()
        prediction = predictor.predict(scan, request.get("threshold"))
        inferred = time.perf_counter()
        handle, name = tempfile.mkstemp(suffix=".nii.gz")
        with os.fdopen(handle, "wb") as file:
            file.write(mask_bytes(scan, prediction.mask))
        seconds = {"pre": loaded - start, "infer": inferred - loaded, "total": time.perf_counter() - start}
        return name, {
            "label_names": self.model.labels,
            "latencies": {key: round(value, 3) for key, value in seconds.items()},
            "threshold": prediction.threshold,
            "weights_sha256": self.model.weights_sha256(),
            "lesions": proposed_lesions(scan, prediction, self.model.modality),
        }
