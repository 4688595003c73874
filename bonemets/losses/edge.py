"""A region loss and a loss of its boundary, together: SC-UNeXt's joint loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from bonemets.metrics.lesions import IGNORE, LESION


def soft_boundary(probability: torch.Tensor, ignored: torch.Tensor, width: int = 3) -> torch.Tensor:
    """How much of a boundary each pixel is: the range of the probabilities around it.

    ``B(p) = maxpool(p) - minpool(p)``, a morphological gradient. For a binary mask and width 3 these are the pixels
    that touch the outline from inside or outside; for probabilities it is differentiable. Pixels to ignore take no
    part in their neighbors' ranges, and are 0 themselves.

    Args:
        probability: (B, C, H, W), 0 to 1.
        ignored: (B, C, H, W) or (B, 1, H, W), bool.
        width: odd size of the pools, in pixels.
    """
    highest = F.max_pool2d(torch.where(ignored, 0.0, probability), width, stride=1, padding=width // 2)
    lowest = -F.max_pool2d(-torch.where(ignored, 1.0, probability), width, stride=1, padding=width // 2)
    return torch.where(ignored, 0.0, highest - lowest)


class EdgeLoss(nn.Module):
    """Soft Dice loss between the boundaries of prediction and truth.

    SC-UNeXt, section 5.2, "edge_loss". The paper gives no formula; ours, for each image::

        1 - (2 sum B(p) B(y) + s) / (sum B(p) + sum B(y) + s),    B = soft_boundary, p = sigmoid(logits)

    Dice and not cross-entropy, since boundaries are a few pixels in a hundred, and since it stays finite where B(p) is
    0 or 1. Pixels labelled 2 have no influence.

    Args:
        width: odd size of the boundary's pools, in pixels; 3 makes boundaries two pixels wide.
        smooth: s, for images without boundaries.

    Raises:
        ValueError: if an argument is not allowed.
    """

    def __init__(self, width: int = 3, smooth: float = 1e-5) -> None:
        super().__init__()
        if width < 3 or width % 2 == 0:
            raise ValueError(f"width={width!r} is not valid; allowed: odd numbers from 3.")
        if smooth <= 0:
            raise ValueError(f"smooth={smooth!r} is not valid; allowed: numbers above 0.")
        self.width = width
        self.smooth = smooth

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Compute the mean loss of the images.

        Args:
            input: logits, (B, 1, H, W); half precision is computed in single.
            target: labels, (B, 1, H, W): 0, 1, or 2 to ignore.

        Raises:
            ValueError: if the shapes are others.
        """
        if input.shape != target.shape or input.shape[1] != 1:
            raise ValueError(
                f"input and target must both be (B, 1, H, W), got {tuple(input.shape)} and {tuple(target.shape)}"
            )
        ignored = target == IGNORE
        predicted = soft_boundary(torch.sigmoid(input.float()), ignored, self.width).flatten(1)
        true = soft_boundary((target == LESION).to(predicted), ignored, self.width).flatten(1)
        shared = 2 * (predicted * true).sum(dim=1) + self.smooth
        return (1 - shared / (predicted.sum(dim=1) + true.sum(dim=1) + self.smooth)).mean()


class JointEdgeLoss(nn.Module):
    """``loss + edge_weight * EdgeLoss``: SC-UNeXt's joint loss function (abstract and section 5.2).

    Deviations:
        - The paper gives neither the parts nor their weights.

    Args:
        loss: loss of the region, from logits and labels; it must leave out label 2 itself (`IgnoreLabelLoss`).
        edge_weight: weight of the boundary's loss; 0 leaves it out, as in table 2's rows without "edge_loss".
        width: see `EdgeLoss`.

    Raises:
        ValueError: if an argument is not allowed.
    """

    def __init__(self, loss: nn.Module, edge_weight: float = 1.0, width: int = 3) -> None:
        super().__init__()
        if edge_weight < 0:
            raise ValueError(f"edge_weight={edge_weight!r} is not valid; allowed: numbers from 0.")
        self.loss = loss
        self.edge_weight = edge_weight
        self.edge = EdgeLoss(width)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Compute the loss of logits (B, 1, H, W) and labels (B, 1, H, W)."""
        region: torch.Tensor = self.loss(input, target)
        if self.edge_weight == 0:
            return region
        return region + self.edge_weight * self.edge(input, target)
