"""The edge loss against a formula written with loops, and what the joint loss adds to it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss

from bonemets.losses import EdgeLoss, IgnoreLabelLoss, JointEdgeLoss
from bonemets.losses.edge import soft_boundary


def example(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(batch, 1, 9, 7, generator=generator)
    label = torch.randint(0, 3, (batch, 1, 9, 7), generator=generator)
    return logits, label


def boundary_by_hand(values: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    rows, columns = values.shape
    result = np.zeros_like(values)
    for row in range(rows):
        for column in range(columns):
            around = [
                values[i, j]
                for i in range(max(row - 1, 0), min(row + 2, rows))
                for j in range(max(column - 1, 0), min(column + 2, columns))
                if not ignored[i, j]
            ]
            if not ignored[row, column]:
                result[row, column] = max(around) - min(around)
    return result


def test_equals_the_formula() -> None:
    logits, label = example()
    losses = []
    for image in range(2):
        ignored = label[image, 0].numpy() == 2
        probability = 1 / (1 + np.exp(-logits[image, 0].double().numpy()))
        predicted = boundary_by_hand(probability, ignored)
        true = boundary_by_hand((label[image, 0].numpy() == 1).astype(float), ignored)
        losses.append(1 - (2 * (predicted * true).sum() + 1e-5) / (predicted.sum() + true.sum() + 1e-5))
    assert EdgeLoss()(logits, label).item() == pytest.approx(np.mean(losses), abs=1e-6)


def test_a_boundary_is_two_pixels_wide() -> None:
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., 3:7, 3:7] = 1
    boundary = soft_boundary(mask, mask > 1)
    expected = torch.zeros(1, 1, 10, 10)
    expected[..., 2:8, 2:8] = 1
    expected[..., 4:6, 4:6] = 0
    assert torch.equal(boundary, expected)


def test_ignored_pixels_have_no_influence() -> None:
    logits, label = example()
    logits.requires_grad_()
    value = EdgeLoss()(logits, label)
    value.backward()
    ignored = label == 2
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].any()
    for replacement in (-50.0, 50.0):
        other = torch.where(ignored, torch.tensor(replacement), logits.detach())
        assert torch.equal(EdgeLoss()(other, label), value.detach())


def test_right_and_wrong_outlines() -> None:
    label = torch.zeros(1, 1, 16, 16)
    label[..., 4:10, 4:10] = 1
    right = EdgeLoss()(40 * label - 20, label)
    shifted = EdgeLoss()(40 * label.roll(2, -1) - 20, label)
    far = EdgeLoss()(40 * label.roll((6, 6), (2, 3)) - 20, label)
    assert right < 1e-4 < shifted < far
    # Nothing to find and nothing found.
    assert EdgeLoss()(torch.full((1, 1, 16, 16), -30.0), torch.zeros(1, 1, 16, 16)) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    logits, label = example()
    logits = logits.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        value = JointEdgeLoss(IgnoreLabelLoss(DiceCELoss(sigmoid=True)))(logits, label)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(logits.grad).all()
    exact = JointEdgeLoss(IgnoreLabelLoss(DiceCELoss(sigmoid=True)))(logits.detach().float(), label)
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)


def test_large_logits_keep_finite_gradients() -> None:
    _, label = example()
    logits = (1e4 * (label.float() - 0.5)).requires_grad_()
    EdgeLoss()(logits, label).backward()
    assert torch.isfinite(logits.grad).all()


def test_the_joint_loss_is_region_and_weighted_boundary() -> None:
    logits, label = example()
    region = IgnoreLabelLoss(DiceCELoss(sigmoid=True, lambda_ce=0.5))
    parts = region(logits, label), EdgeLoss()(logits, label)
    for weight in (0.0, 1.0, 0.3):
        assert JointEdgeLoss(region, weight)(logits, label).item() == pytest.approx(
            (parts[0] + weight * parts[1]).item()
        )


def test_the_region_part_is_unexts() -> None:
    logits, label = example()
    label = label.clamp(max=1)
    probability, truth = torch.sigmoid(logits).flatten(1), label.float().flatten(1)
    cross_entropy = -(truth * probability.log() + (1 - truth) * (1 - probability).log()).mean()
    shared = (2 * (probability * truth).sum(1) + 1e-5) / (probability.sum(1) + truth.sum(1) + 1e-5)
    expected = 0.5 * cross_entropy + 1 - shared.mean()
    value = JointEdgeLoss(IgnoreLabelLoss(DiceCELoss(sigmoid=True, lambda_ce=0.5)), 0.0)(logits, label)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"width": 4}, "width=4"), ({"width": 1}, "width=1"), ({"smooth": 0}, "smooth=0")]
)
def test_wrong_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EdgeLoss(**arguments)
    with pytest.raises(ValueError, match="edge_weight=-1"):
        JointEdgeLoss(DiceCELoss(sigmoid=True), -1)


def test_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="must both be"):
        EdgeLoss()(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8))
    with pytest.raises(ValueError, match="must both be"):
        EdgeLoss()(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 4))
