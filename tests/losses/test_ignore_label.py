from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss, DiceFocalLoss, DiceLoss, FocalLoss, TverskyLoss
from torch import nn

from bonemets.losses import IgnoreLabelLoss

LOSSES = [
    DiceCELoss(sigmoid=True, batch=True),
    DiceCELoss(sigmoid=True),
    DiceLoss(sigmoid=True),
    FocalLoss(),
    DiceFocalLoss(sigmoid=True),
    TverskyLoss(sigmoid=True),
]


def example(channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, channels, 8, 8, generator=generator)
    label = torch.randint(0, 3, (2, 1, 8, 8), generator=generator)
    return logits, label


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_ignored_pixels_have_no_influence(loss: nn.Module) -> None:
    logits, label = example()
    logits.requires_grad_()
    value = IgnoreLabelLoss(loss)(logits, label)
    value.backward()
    ignored = label == 2
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].abs().min() > 0
    for replacement in (-50.0, 0.0, 50.0):
        other = torch.where(ignored, torch.tensor(replacement), logits.detach())
        assert torch.equal(IgnoreLabelLoss(loss)(other, label), value.detach())


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_without_ignored_pixels_it_is_the_loss(loss: nn.Module) -> None:
    logits, label = example()
    label = label.clamp(max=1)
    assert torch.equal(IgnoreLabelLoss(loss)(logits, label), loss(logits, label))


def test_equals_dice_and_cross_entropy_of_the_other_pixels() -> None:
    logits, label = example()
    kept = label != 2
    probability, truth = torch.sigmoid(logits[kept]), label[kept].float()
    dice = 1 - (2 * (probability * truth).sum() + 1e-5) / (probability.sum() + truth.sum() + 1e-5)
    cross_entropy = -(truth * probability.log() + (1 - truth) * (1 - probability).log()).sum() / label.numel()
    value = IgnoreLabelLoss(DiceCELoss(sigmoid=True, batch=True))(logits, label)
    assert value.item() == pytest.approx((dice + cross_entropy).item(), rel=1e-5)


def test_several_channels() -> None:
    logits, label = example(channels=2)
    logits.requires_grad_()
    loss = IgnoreLabelLoss(DiceCELoss(softmax=True, to_onehot_y=True))
    loss(logits, label).backward()
    assert not logits.grad[(label == 2).expand_as(logits)].any()


def test_half_precision_is_summed_in_single() -> None:
    logits, label = torch.zeros(4, 1, 256, 256, dtype=torch.float16), torch.zeros(4, 1, 256, 256)
    value = IgnoreLabelLoss(DiceLoss(sigmoid=True, batch=True))(logits, label)
    assert value.dtype == torch.float32
    assert torch.isfinite(value)


def test_one_channel_of_labels_is_asked_for() -> None:
    with pytest.raises(ValueError, match="one channel"):
        IgnoreLabelLoss(DiceLoss())(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4))
