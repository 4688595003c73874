"""Each of the five papers' networks can learn four crops by heart: a test of wiring, not of quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import nn

from bonemets.data import read_planar
from bonemets.networks import create_network

WINDOW = 48


def crops(cohort: Path, channels: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Four windows of 48×48 pixels of simulated scans around the largest lesions, enlarged to side × side.

    Enlarged, since MFP-DeepLabv3+ and its peers decide on a grid of 4×4 pixels and lesions are 6 to 16 pixels long.
    """
    windows = []
    for path in sorted(cohort.glob("patient_*/*_label.nii.gz")):
        mask = read_planar(path).pixels[..., 0] == 1
        counts = read_planar(path.with_name(path.name.replace("_label", ""))).pixels[..., 0]
        parts, count = ndimage.label(mask)
        for part in range(1, count + 1):
            center = ndimage.center_of_mass(parts == part)
            top, left = (int(np.clip(c - WINDOW / 2, 0, n - WINDOW)) for c, n in zip(center, mask.shape, strict=True))
            window = np.s_[top : top + WINDOW, left : left + WINDOW]
            image = np.sqrt(counts[window] / np.percentile(counts[window], 90))
            windows.append((int((parts == part).sum()), image, mask[window]))
    assert len(windows) >= 4
    chosen = sorted(windows, key=lambda window: -window[0])[:4]
    image = torch.from_numpy(np.stack([image for _, image, _ in chosen])[:, None]).float()
    mask = torch.from_numpy(np.stack([mask for _, _, mask in chosen])[:, None]).float()
    image = F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)
    mask = F.interpolate(mask, size=(side, side), mode="nearest")
    return image.expand(-1, channels, -1, -1).contiguous(), mask


def lesion_logits(logits: torch.Tensor) -> torch.Tensor:
    """Of one channel, or of two with background."""
    return logits if logits.shape[1] == 1 else logits[:, 1:] - logits[:, :1]


def lesion_dice(lesion: torch.Tensor, mask: torch.Tensor) -> float:
    return float(2 * (lesion * mask).sum() / (lesion.sum() + mask.sum()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "side"),
    [
        ("mfp_deeplabv3plus", {"dropout": 0.0}, 256),
        ("multi_attention_unet", {"features": (8, 8, 16, 16), "dropout": 0.0}, 128),
        ("dual_pooling_unet", {"features": (8, 16, 16, 32, 32)}, 128),
        ("sc_unext", {}, 256),
        ("msa_net", {"features": (8, 8, 16, 16, 16)}, 128),
    ],
)
def test_learns_four_crops_by_heart(name, arguments, side, cohort):
    torch.manual_seed(0)
    network = create_network(name, **arguments)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            # A few dozen steps are too few for the usual average over tens of steps.
            layer.momentum = 0.5
    image, mask = crops(cohort, 3 if name in ("mfp_deeplabv3plus", "sc_unext") else 1, side)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003 if name == "mfp_deeplabv3plus" else 0.005)
    dice = 0.0
    for step in range(1, 151):
        outputs = network.train()(image)
        losses = []
        for logits in outputs if isinstance(outputs, list) else [outputs]:
            lesion = lesion_logits(logits)
            probability = torch.sigmoid(lesion)
            overlap = 1 - 2 * (probability * mask).sum() / (probability.sum() + mask.sum())
            losses.append(F.binary_cross_entropy_with_logits(lesion, mask) + overlap)
        optimizer.zero_grad()
        torch.stack(losses).mean().backward()
        optimizer.step()
        if step >= 12 and step % 4 == 0:
            with torch.no_grad():
                lesion = lesion_logits(network.eval()(image)) > 0
            dice = lesion_dice(lesion.float(), mask)
            if dice > 0.95:
                break
    assert dice > 0.95, f"lesion Dice {dice:.3f} after {step} steps"
