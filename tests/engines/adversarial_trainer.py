"""A small adversarial trainer, its networks and its images."""

from __future__ import annotations

from typing import Any

import torch
from monai.data import DataLoader, Dataset
from monai.losses import DeepSupervisionLoss, DiceLoss
from torch import nn

from bonemets.engines.adversarial import AdversarialSegmentationTrainer
from bonemets.losses import IgnoreLabelLoss, MultiScaleL1Loss
from bonemets.networks import MSANet, MSANetCritic

EQUAL = (0.25, 0.25, 0.25, 0.25)


def make_items(count: int, ignored: bool = False, size: int = 32) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    items = []
    for _ in range(count):
        image = torch.rand(1, size, size, generator=generator)
        label = (image > 0.8).to(torch.uint8)
        if ignored:
            label[:, 4:12, 4:20] = 2
        items.append({"image": image, "label": label})
    return items


def pixelwise() -> nn.Module:
    """A network without batch normalization, whose every pixel depends on that pixel alone."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 1), nn.Tanh(), nn.Conv2d(4, 1, 1))


def plain_critic() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.LeakyReLU(0.2), nn.Flatten())


def paper_networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return MSANet(1, 1, features=(2, 2, 4, 4, 4)), MSANetCritic(1, (2, 2, 4, 4, 4, 4))


def dice_loss() -> nn.Module:
    return DeepSupervisionLoss(IgnoreLabelLoss(DiceLoss(sigmoid=True, batch=True)), weights=list(EQUAL))


def make_trainer(network: nn.Module, critic: nn.Module, **arguments: Any) -> AdversarialSegmentationTrainer:
    items = arguments.pop("items", None) or make_items(6)
    optimizer = arguments.pop("make_optimizer", lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    defaults: dict[str, Any] = {
        "device": "cpu",
        "max_epochs": 1,
        "train_data_loader": DataLoader(Dataset(items), batch_size=arguments.pop("batch_size", 3)),
        "network": network,
        "optimizer": optimizer(network.parameters()),
        "loss_function": dice_loss(),
        "adversarial_loss": MultiScaleL1Loss(critic),
        "critic_optimizer": optimizer(critic.parameters()),
    }
    return AdversarialSegmentationTrainer(**{**defaults, **arguments})


def assert_same(first: nn.Module, second: nn.Module, exact: bool = True) -> None:
    for (name, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other) if exact else torch.allclose(one, other, atol=1e-6), name
