"""Pictures of fixed scans with the outlines of truth and prediction, taken at every validation."""

from __future__ import annotations

import io

import numpy as np
from ignite.engine import Events
from monai.engines import Evaluator
from numpy.typing import NDArray
from PIL import Image

from bonemets.metrics.lesions import IGNORE
from bonemets.reporting.figures import figure_png, overlay_figure


class ScanOverlays:
    """Collect the first scans of an evaluation and draw them.

    The loader does not shuffle, so they are the same scans every time. Pictures are named by number, not by file: a
    file name may tell who the patient is.

    Args:
        count: number of scans.
        power: power that turns normalized pixels back into something proportional to counts: 2 after a square root.
        height_px: height of a picture.
    """

    def __init__(self, count: int = 4, power: float = 2.0, height_px: int = 768) -> None:
        if count < 0:
            raise ValueError(f"count must be at least 0, got {count}")
        self.count = count
        self.power = power
        self.height_px = height_px
        self._scans: list[tuple[str, NDArray, NDArray, NDArray]] = []

    def attach(self, engine: Evaluator) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._scans.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)

    def iteration_completed(self, engine: Evaluator) -> None:
        """Keep the scans of a batch that are still wanted."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            if len(self._scans) >= self.count:
                return
            image, mask, label = (np.asarray(output[key].cpu())[0] for key in ("image", "pred", "label"))
            truth = label.astype(np.uint8)
            if "ignored" in output:
                truth[np.asarray(output["ignored"].cpu())[0].astype(bool)] = IGNORE
            self._scans.append((str(item.get("view", "unknown")), image, mask, truth))

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """Name to picture, (rows, columns, 3) uint8."""
        result = {}
        for number, (view, image, mask, truth) in enumerate(self._scans, start=1):
            scan = (a[..., None] if a.ndim == 2 else a for a in (image**self.power, mask, truth))
            pixels, found, labels = scan
            names = (view,) if pixels.shape[2] == 1 else ("anterior", "posterior")
            height = min(self.height_px, max(3 * pixels.shape[0] // 2, 256))
            png = figure_png(overlay_figure(pixels, names, found, labels, height_px=height))
            result[f"scan_{number:02d}"] = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        return result
