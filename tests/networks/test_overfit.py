"""Each of the five papers' networks can learn four crops by heart: a test of wiring, not of quality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bonemets.networks import create_network

SIDE = 256


def crops(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Four crops with the look of a bone scan: a soft body, bright bones across it, and hotter, round lesions."""
    random = np.random.default_rng(4)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    images, masks = [], []
    for _ in range(4):
        expected = 3 * np.exp(-(((columns - 128) / 80.0) ** 4))
        for top in range(20, SIDE, 40):
            expected += 8 * np.exp(-(((rows - top - 0.002 * (columns - 128) ** 2) / 4.0) ** 2)) * (expected > 1)
        expected += 12 * np.exp(-(((columns - 128) / 10.0) ** 2))
        mask = np.zeros((SIDE, SIDE))
        for _ in range(4):
            row, column = random.uniform(40, SIDE - 40, size=2)
            radius = random.uniform(20, 40)
            distance = np.hypot(rows - row, columns - column)
            expected += 30 * np.exp(-((distance / radius) ** 4))
            mask[distance < 0.9 * radius] = 1
        images.append(np.sqrt(random.poisson(expected)) / 3 - 1)
        masks.append(mask)
    image = torch.from_numpy(np.stack(images)[:, None]).float()
    return image.expand(-1, channels, -1, -1).contiguous(), torch.from_numpy(np.stack(masks)[:, None]).float()


def lesion_logits(logits: torch.Tensor) -> torch.Tensor:
    """Of one channel, or of two with background."""
    return logits if logits.shape[1] == 1 else logits[:, 1:] - logits[:, :1]


def lesion_dice(lesion: torch.Tensor, mask: torch.Tensor) -> float:
    return float(2 * (lesion * mask).sum() / (lesion.sum() + mask.sum()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mfp_deeplabv3plus", {"dropout": 0.0}),
        ("multi_attention_unet", {"features": (8, 8, 16, 16), "dropout": 0.0}),
        ("dual_pooling_unet", {"features": (8, 16, 16, 32, 32)}),
        ("sc_unext", {}),
        ("msa_net", {"features": (8, 8, 16, 16, 16)}),
    ],
)
def test_learns_four_crops_by_heart(name, arguments):
    torch.manual_seed(0)
    network = create_network(name, **arguments)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            # A few dozen steps are too few for the usual average over tens of steps.
            layer.momentum = 0.5
    image, mask = crops(3 if name in ("mfp_deeplabv3plus", "sc_unext") else 1)
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
