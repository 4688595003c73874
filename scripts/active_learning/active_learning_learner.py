"""The patients of the study of active learning, the network that learns from them, and how it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from numpy.typing import NDArray

from bonemets.data import PlanarScan, load_datalist, read_planar
from bonemets.engines.predictor import Prediction
from bonemets.losses import IgnoreLabelLoss
from bonemets.metrics import count_pixels, lesion_components
from bonemets.metrics.froc import froc_counts, sensitivity_at
from bonemets.networks import create_network
from bonemets.transforms import NormalizeCounts, body_mask

Recipe = dict[str, Any]
# Sizes that views are cut to are multiples of it, so that the network need not pad them.
STRIDE = 16
# After so little training, with a Dice loss, most findings are surer than the last step below 1 in single precision. So
# that they can be ranked, their logits are divided by 4 before the sigmoid; 0.5 stays 0.5. Levels: logits of -6 to 100.
SOFTENED = 4.0
LEVELS = 1 / (1 + np.exp(-np.arange(-6, 102, 2) / SOFTENED))


class Patient:
    """A patient's scan as the network sees it, and its true labels.

    Args:
        name: the patient.
        pixels: (H, W, 2) float32, normalized; the anterior view first, as displayed.
        labels: (H, W, 2) uint8: 0, 1, or 2 to ignore.
        spacing: mm a pixel.
    """

    def __init__(self, name: str, pixels: NDArray[np.float32], labels: NDArray[np.uint8], spacing: float) -> None:
        self.name, self.labels = name, labels
        self.scan = PlanarScan(pixels, ("anterior", "posterior"), (spacing, spacing), Path(name), "nifti")
        self.lesions = sum(lesion_components(labels[..., view] == 1)[1] for view in range(2))


class Learner:
    """A network that learns from the patients that are labeled so far, and a predictor for scores.

    Args:
        recipe: the study's.
        state: weights to begin with.
    """

    def __init__(self, recipe: Recipe, state: dict[str, Any] | None = None) -> None:
        self.recipe = recipe
        arguments = {key: value for key, value in recipe["network"].items() if key != "_target_"}
        network: Any = create_network(recipe["network"]["_target_"], in_channels=1, out_channels=1, **arguments)
        # About one pixel in a hundred is lesion: the bundles' compact recipe begins with that too.
        torch.nn.init.constant_(network.head.bias, -4.6)
        if state is not None:
            network.load_state_dict(state)
        self.network: torch.nn.Module = network.to(memory_format=torch.channels_last).eval()

    def logits(self, scan: PlanarScan) -> NDArray[np.float32]:
        """(H, W, 2); both views at once."""
        with torch.inference_mode():
            views = torch.from_numpy(np.moveaxis(scan.pixels, -1, 0)[:, None].copy(order="C"))
            logits = self.network(views.to(memory_format=torch.channels_last))
        return np.moveaxis(logits[:, 0].numpy(), 0, -1)

    def predict(self, scan: PlanarScan) -> Prediction:
        """Segment both views."""
        logits = self.logits(scan)
        return Prediction(torch.sigmoid(torch.from_numpy(logits)).numpy(), (logits >= 0).astype(np.uint8), 0.5)

    def train(self, patients: list[Patient], steps: int, rng: np.random.Generator) -> None:
        """Train on windows, half of them around a lesion pixel, as the bundles' overlay ``whole_body`` does."""
        loss = IgnoreLabelLoss(DiceCELoss(sigmoid=True, batch=True))
        optimizer = torch.optim.Adam(self.network.parameters(), self.recipe["learning_rate"])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        views = [(p.scan.pixels[..., view], p.labels[..., view]) for p in patients for view in range(2)]
        bearing = [view for view in views if (view[1] == 1).any()]
        torch.manual_seed(int(rng.integers(2**31)))
        self.network.train()
        for _ in range(steps):
            windows = []
            for number in range(self.recipe["batch"]):
                around_lesion = number % 2 == 0 and len(bearing) > 0
                image, label = (bearing if around_lesion else views)[
                    rng.integers(len(bearing if around_lesion else views))
                ]
                places = np.argwhere(label == 1 if around_lesion else image > 0)
                windows.append(cut((image, label), places[rng.integers(len(places))], self.recipe["window"], rng))
            images, labels = (torch.from_numpy(np.stack(part)[:, None]) for part in zip(*windows, strict=True))
            optimizer.zero_grad()
            loss(self.network(images.to(memory_format=torch.channels_last)), labels.float()).backward()
            optimizer.step()
            schedule.step()
        self.network.eval()


def cut(view: tuple[NDArray, NDArray], place: NDArray, size: int, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """A window of image and label that holds a place, anywhere in it; smaller images are padded with air."""
    image, label = (np.pad(part, [(0, max(0, size - length)) for length in part.shape]) for part in view)
    low = np.maximum(place - size + 1, 0)
    high = np.minimum(place, np.array(image.shape) - size)
    row, column = rng.integers(low, np.maximum(high, low) + 1)
    window = np.s_[row : row + size, column : column + size]
    return image[window], label[window]


def read_patients(cohort: Path, recipe: Recipe, section: str, limit: int | None = None) -> list[Patient]:
    """The patients of a part of the cohort, made smaller, normalized, and cut to their bodies."""
    items: dict[str, dict[str, Any]] = {}
    for item in load_datalist(cohort / "datalist.json", fold=None, section=section):  # type: ignore[arg-type]
        items.setdefault(item["patient"], {})[item["view"]] = item
    patients = []
    for name in sorted(items)[:limit]:
        both = [items[name][view] for view in ("anterior", "posterior")]
        scans = [read_planar(item["image"]) for item in both]
        counts = [blocks(scan.pixels[..., 0], recipe["reduce"]).sum(axis=(1, 3)) for scan in scans]
        labels = [reduced_label(read_planar(item["label"]).pixels[..., 0], recipe["reduce"]) for item in both]
        pixels = np.stack([NormalizeCounts()(view[None])[0] for view in counts], axis=-1)
        # The posterior view is the anterior one's mirror image: cut alike on both sides, it stays so.
        body = body_mask(counts[0]) | body_mask(counts[1])[:, ::-1]
        rows, columns = (np.flatnonzero(body.any(axis=axis)) for axis in (1, 0))
        margin = min(columns[0], body.shape[1] - 1 - columns[-1]) // STRIDE * (STRIDE // 2)
        top = rows[0] // STRIDE * STRIDE
        window = np.s_[top : -(-rows[-1] // STRIDE) * STRIDE, margin : body.shape[1] - margin]
        spacing = scans[0].spacing[0] * recipe["reduce"]
        patients.append(Patient(name, pixels[window].astype(np.float32), np.stack(labels, axis=-1)[window], spacing))
    return patients


def blocks(view: NDArray, size: int) -> NDArray:
    """(H, W) → (H / size, size, W / size, size)."""
    height, width = (length // size * size for length in view.shape)
    return view[:height, :width].reshape(height // size, size, width // size, size)


def reduced_label(label: NDArray, size: int) -> NDArray[np.uint8]:
    """A block is lesion where at least half of its pixels are, else to be ignored where at least half of them are."""
    lesion, ignored = ((blocks(label == value, size).mean(axis=(1, 3)) >= 0.5) for value in (1, 2))
    return np.where(lesion, 1, np.where(ignored, 2, 0)).astype(np.uint8)


def measure(learner: Learner, patients: list[Patient]) -> dict[str, Any]:
    """Lesion recall at an intersection over union of 0.1, and Dice of all pixels together, on test patients."""
    lesions, pixels = 0, np.zeros(3, dtype=np.int64)
    detected, false = np.zeros((2, len(LEVELS)), dtype=np.int64)
    for patient in patients:
        confidence = 1 / (1 + np.exp(-learner.logits(patient.scan).astype(np.float64) / SOFTENED))
        for view in range(2):
            label = patient.labels[..., view]
            found = froc_counts(confidence[..., view], label, thresholds=LEVELS)
            lesions, detected, false = lesions + found.lesions, detected + found.detected, false + found.false_positives
            counts = count_pixels(confidence[..., view] >= 0.5, label)
            pixels += (counts.tp, counts.fp, counts.fn)
    at_half = int(np.argmin(np.abs(LEVELS - 0.5)))
    recall, rate = detected / lesions, false / len(patients)
    return {
        "lesions": lesions,
        "sensitivity_iou10": float(recall[at_half]),
        "false_positives_per_scan_iou10": float(rate[at_half]),
        "froc_sensitivity_at_1": float(sensitivity_at(recall, rate, (1.0,))[0]),
        "dice_pooled": float(2 * pixels[0] / max(1, 2 * pixels[0] + pixels[1] + pixels[2])),
    }
