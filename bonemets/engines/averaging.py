"""A running average of a network's weights, to validate, save and ship in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from bonemets.handlers.training_state import unwrapped


class ExponentialAverage(AveragedModel):
    """Exponential moving average of the weights after every step of the optimizer.

    Averaged weights move less from step to step, and often generalize better, than those of the last step (Polyak and
    Juditsky 1992; Tarvainen and Valpola 2017, "Mean teachers", section 3). After step n the average is ``d · average +
    (1 − d) · weights`` with ``d = min(decay, (1 + n) / (10 + n))``, so that it forgets the random start within the
    first steps. Batch normalization's statistics are averaged in the same way.

    It follows the optimizer, not an engine: gradient accumulation, steps that mixed precision skips, and engines with
    several networks need nothing more. Everything that a resumed run must know is in ``state_dict()``.

    Args:
        network: the network that is trained, also inside ``DistributedDataParallel``.
        optimizer: the optimizer that trains it.
        decay: weight of the past, 0 to 1; 0.999 averages over about the last thousand steps.

    Attributes:
        module: the network with the averaged weights.

    Raises:
        ValueError: if `decay` is not between 0 and 1.
    """

    def __init__(self, network: torch.nn.Module, optimizer: torch.optim.Optimizer, decay: float = 0.999) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}")

        def average(averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], count: Any) -> None:
            past = min(decay, (1 + int(count)) / (10 + int(count)))
            for old, new in zip(averaged, current, strict=True):
                if old.is_floating_point():
                    old.lerp_(new, 1 - past)
                else:
                    old.copy_(new)

        super().__init__(unwrapped(network), multi_avg_fn=average, use_buffers=True)

        def stepped(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
            self.update_parameters(unwrapped(network))

        optimizer.register_step_post_hook(stepped)
