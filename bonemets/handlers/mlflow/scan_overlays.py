"""Pictures of fixed scans with the outlines of prediction and, where it is known, truth."""

from __future__ import annotations

import io
from collections.abc import Sequence

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
    file name may tell who the patient is. An image of three channels is drawn in its colors,
    and of a volume of such (a CT) one slice.

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
        self._scans: list[tuple[str, NDArray, NDArray, NDArray | None]] = []

    def attach(self, engine: Evaluator) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._scans.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration_completed)

    def iteration_completed(self, engine: Evaluator) -> None:
        """Keep the scans of a batch that are still wanted."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            if len(self._scans) >= self.count:
                return
            image, mask = np.asarray(output["image"].cpu()), np.asarray(output["pred"].cpu())[0]
            truth = None
            if output.get("label") is not None:
                truth = np.asarray(output["label"].cpu())[0].astype(np.uint8)
                if "ignored" in output:
                    truth[np.asarray(output["ignored"].cpu())[0].astype(bool)] = IGNORE
            if image.ndim == 4 and len(image) == 3:
                # Slices of a CT: the one where most was found.
                slice_ = int(mask.sum(axis=(0, 1)).argmax())
                image, mask = image[..., slice_], mask[..., slice_]
                truth = None if truth is None else truth[..., slice_]
            view = str(item.get("view", "unknown"))
            self._scans.append((view, colors(image) if image.shape[0] == image.ndim == 3 else image[0], mask, truth))

    def pictures(self, truth_alone: bool = False) -> dict[str, NDArray[np.uint8]]:
        """Name to picture, (rows, columns, 3) uint8; "scans" is all of them side by side, for one slider over epochs.

        Args:
            truth_alone: draw the truth and no prediction.
        """
        result = {}
        for number, (view, image, mask, truth) in enumerate(self._scans, start=1):
            in_color = image.dtype == np.uint8
            pixels, found = (a[..., None] if a.ndim == 2 else a for a in (image, mask))
            labels = None if truth is None else truth.reshape(found.shape)
            names = (view,) if found.shape[2] == 1 else ("anterior", "posterior")
            height = min(self.height_px, max(3 * pixels.shape[0] // 2, 256))
            shown = pixels if in_color else pixels**self.power
            drawn = None if truth_alone else found
            figure = overlay_figure(shown, names, drawn, labels, height_px=height, in_color=in_color)
            png = figure_png(figure)
            result[f"scan_{number:02d}"] = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        if result:
            result["scans"] = side_by_side(list(result.values()))
        return result


def side_by_side(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures (rows, columns, 3) in a row, on white where they differ in height."""
    height = max(len(picture) for picture in pictures)
    padded = [np.pad(p, ((0, height - len(p)), (0, 0), (0, 0)), constant_values=255) for p in pictures]
    return np.concatenate(padded, axis=1)


def colors(image: NDArray) -> NDArray[np.uint8]:
    """A normalized picture, (3, H, W), as colors (H, W, 3), from its lowest value to its highest."""
    lowest, highest = image.min(), image.max()
    return np.rint(255 * (np.moveaxis(image, 0, 2) - lowest) / max(highest - lowest, 1e-6)).astype(np.uint8)
