"""The last optimizer step of an epoch, when gradients are accumulated and batches do not divide evenly."""

from __future__ import annotations

from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents

from bonemets.moved import passed_on


class PartialAccumulation:
    """Average the gradients of an epoch's last batches over their own number.

    MONAI's ``SupervisedTrainer(accumulation_steps=k)`` divides the loss of every batch by k, also of the r < k batches
    that are left at the end of an epoch, and so takes a last step whose gradient is too small by r/k. This multiplies
    by k/r, which makes it the gradient of one batch of all their images, as the other steps' are.

    A last batch with fewer images than the others counts as a whole batch.
    """

    def attach(self, engine: SupervisedTrainer) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: SupervisedTrainer) -> None:
        """Correct the gradients if this is the last batch of the epoch and its group is not full."""
        steps, length = engine.accumulation_steps, engine.state.epoch_length
        if length is None or engine.state.iteration % length or not length % steps:
            return
        for group in engine.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad.mul_(steps / (length % steps))


__getattr__ = passed_on(__name__)
