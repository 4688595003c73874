"""Training of a segmentation network against a critic that compares its masks with the truth (SegAN, MSA-Net)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from ignite.metrics import Metric
from monai.engines import Trainer, Workflow
from monai.engines.utils import IterationEvents, default_prepare_batch
from monai.inferers import Inferer, SimpleInferer
from monai.utils.enums import CommonKeys as Keys
from torch.optim import Optimizer

from bonemets.handlers.training_state import unwrapped
from bonemets.losses import clip_weights

Outputs = torch.Tensor | Sequence[torch.Tensor]


class AdversarialSegmentationTrainer(Trainer):
    """Alternate one step of the critic and one of the segmentation network, for every batch.

    MSA-Net, "Loss function", with the order and the clipping of SegAN (Xue et al., Neuroinformatics 2018)::

        critic:               minimize 1 - L_adv, then clip its weights
        segmentation network: minimize segmentation_weight * L_seg + adversarial_weight * L_adv

    The second step meets the critic after the first one. Both see the same outputs of the segmentation network: it is
    passed through once, since the critic's step does not change it.

    MONAI's ``AdversarialTrainer`` does not fit: it updates the generator first, its discriminator sees the prediction
    without image and truth, it cannot take a list of outputs, and it fires no event after which predictions are
    post-processed and metrics computed. This one fires the events of ``SupervisedTrainer``, whose arguments it shares.

    Every iteration's output has ``image``, ``label``, ``pred`` (logits of the last, finest output), ``loss`` (of the
    segmentation network), ``segmentation_loss``, ``adversarial_loss`` and ``critic_loss``. Without a critic the last
    two are NaN, which averages to NaN: undefined.

    Mixed precision holds for the segmentation network and its gradient scaler, ``scaler``; the critic computes in
    single precision. L_adv is a mean over 2,072,576 numbers an image, so its gradients lie near the smallest numbers
    of half precision: those of the critic's parameters were off by up to 6 % in float16 and 18 % in bfloat16. A pass
    through the critic is a small part of one through the network.

    Deviations:
        - The paper's rows without "GAN" are ``adversarial_weight=0``: the critic is then neither asked nor trained.

    Args:
        device: device to train on.
        max_epochs: number of epochs.
        train_data_loader: gives batches with ``image`` and ``label``.
        network: segmentation network: images to logits, or to a list of logits with deep supervision, the finest
            last. May be inside ``DistributedDataParallel``.
        optimizer: its optimizer.
        loss_function: L_seg of the network's output, as it comes, and the labels.
        adversarial_loss: L_adv of output, labels and images; a module whose parameters are the critic's, such as
            `bonemets.losses.MultiScaleL1Loss`. May be inside ``DistributedDataParallel``.
        critic_optimizer: the critic's optimizer.
        segmentation_weight: the paper's alpha (table 10).
        adversarial_weight: the paper's beta (table 10); 0 trains without a critic.
        clip: largest absolute value of the critic's weights after each of its steps; 0 for no limit.
        accumulation_steps: the batch is passed through in so many parts, whose gradients are averaged, before each
            step; for batches larger than memory holds. All parts are passed for the critic's step, then again for the
            network's, so that the order of the steps stays; batch normalization sees the parts.
        epoch_length: iterations in an epoch; by default all batches.
        non_blocking: whether copies to the device may be asynchronous.
        prepare_batch: batch to images and labels on the device.
        inferer: passes images through the network.
        postprocessing: transform of every item, before the metrics.
        key_train_metric: name and metric that says how good an epoch was.
        additional_metrics: further metrics.
        train_handlers: handlers, attached in this order.
        amp: whether to use mixed precision, on any device that has it.
        amp_kwargs: arguments of ``torch.autocast``.

    Raises:
        ValueError: if a weight, `clip` or `accumulation_steps` is not allowed, or `critic_optimizer` does not hold the
            critic's parameters.
    """

    scaler: Any

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable[Any],
        network: torch.nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[[Outputs, torch.Tensor], torch.Tensor],
        adversarial_loss: torch.nn.Module,
        critic_optimizer: Optimizer,
        segmentation_weight: float = 1.0,
        adversarial_weight: float = 1.0,
        clip: float = 0.05,
        accumulation_steps: int = 1,
        epoch_length: int | None = None,
        non_blocking: bool = False,
        prepare_batch: Callable[..., Any] = default_prepare_batch,
        inferer: Inferer | None = None,
        postprocessing: Callable[..., Any] | None = None,
        key_train_metric: dict[str, Metric] | None = None,
        additional_metrics: dict[str, Metric] | None = None,
        train_handlers: Sequence[Any] | None = None,
        amp: bool = False,
        amp_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        for name, weight in (("segmentation_weight", segmentation_weight), ("adversarial_weight", adversarial_weight)):
            if weight < 0:
                raise ValueError(f"{name}={weight!r} is not valid; allowed: a number of at least 0.")
        if segmentation_weight + adversarial_weight == 0:
            raise ValueError("segmentation_weight=0 is not valid with adversarial_weight=0; allowed: one of the two.")
        if clip < 0:
            raise ValueError(f"clip={clip!r} is not valid; allowed: a number of at least 0.")
        if accumulation_steps < 1:
            raise ValueError(
                f"accumulation_steps={accumulation_steps!r} is not valid; allowed: an integer of at least 1."
            )
        stepped = {id(parameter) for group in critic_optimizer.param_groups for parameter in group["params"]}
        if stepped != {id(parameter) for parameter in adversarial_loss.parameters()}:
            raise ValueError("critic_optimizer does not fit; allowed: the parameters of adversarial_loss's critic.")
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            prepare_batch=prepare_batch,
            postprocessing=postprocessing,
            key_metric=key_train_metric,
            additional_metrics=additional_metrics,
            handlers=train_handlers,
            amp=amp,
            amp_kwargs=None if amp_kwargs is None else dict(amp_kwargs),
        )
        self.network = network
        self.optimizer = optimizer
        self.loss_function = loss_function
        self.adversarial_loss = adversarial_loss
        self.critic_optimizer = critic_optimizer
        self.segmentation_weight = segmentation_weight
        self.adversarial_weight = adversarial_weight
        self.clip = clip
        self.accumulation_steps = accumulation_steps
        self.inferer = SimpleInferer() if inferer is None else inferer

    def run(self) -> None:  # type: ignore[override]
        """Train, from the epoch that the state is at; a second call goes on."""
        # MONAI's Trainer makes a scaler for CUDA whatever the device is, and none without mixed precision. One that is
        # switched off passes everything through.
        self.scaler = torch.amp.GradScaler(self.state.device.type, enabled=self.amp)
        Workflow.run(self)

    def _iteration(self, engine: Any, batchdata: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Take both steps with one batch."""
        image, label, *_ = self.prepare_batch(batchdata, self.state.device, self.non_blocking)
        if label is None:
            raise ValueError("the batch has no label; allowed: items with the keys 'image' and 'label'.")
        self.state.output = {Keys.IMAGE: image, Keys.LABEL: label}
        # Meta data would be carried through every layer of both networks.
        images = image.as_subclass(torch.Tensor).chunk(self.accumulation_steps)
        labels = label.as_subclass(torch.Tensor).chunk(self.accumulation_steps)
        parts = list(zip(images, labels, strict=True))
        self.network.train()
        self.adversarial_loss.train()
        outputs, critic_loss = None, torch.full((), torch.nan, device=self.state.device)
        if self.adversarial_weight > 0:
            outputs, critic_loss = self._critic_step(parts)
        self.state.output |= {**self._segmentation_step(parts, outputs), "critic_loss": critic_loss}
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _forward(self, image: torch.Tensor) -> Outputs:
        with torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs):
            return self.inferer(image, self.network)

    def _critic_step(self, parts: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[Outputs | None, torch.Tensor]:
        """Step the critic; return the network's outputs with their graph if there is only one part, and the loss."""
        self.critic_optimizer.zero_grad()
        total = torch.zeros((), device=self.state.device)
        for image, label in parts:
            # Of several parts only one graph fits into memory at a time: the network's step passes them again.
            with torch.set_grad_enabled(len(parts) == 1):
                outputs = self._forward(image)
            detached = [output.detach().float() for output in _listed(outputs)]
            loss = (1 - self.adversarial_loss(detached, label, image)) * _share(image, parts)
            loss.backward()
            total += loss.detach()
        self.critic_optimizer.step()
        clip_weights(self.adversarial_loss, self.clip)
        return outputs if len(parts) == 1 else None, total

    def _segmentation_step(
        self, parts: list[tuple[torch.Tensor, torch.Tensor]], outputs: Outputs | None
    ) -> dict[str, torch.Tensor]:
        """Step the segmentation network; return its losses and the logits of its finest output."""
        # Without the wrapper of distributed training, which would wait for gradients that the critic does not get here.
        adversarial_loss = unwrapped(self.adversarial_loss)
        adversarial_loss.requires_grad_(False)
        self.optimizer.zero_grad()
        finest = []
        totals = torch.zeros(3, device=self.state.device)
        for image, label in parts:
            if outputs is None or len(parts) > 1:
                outputs = self._forward(image)
            finest.append(_listed(outputs)[-1].detach())
            self.fire_event(IterationEvents.FORWARD_COMPLETED)
            segmentation = self.loss_function(outputs, label)
            loss, adversarial = self.segmentation_weight * segmentation, torch.full_like(segmentation, torch.nan)
            if self.adversarial_weight > 0:
                adversarial = adversarial_loss([output.float() for output in _listed(outputs)], label, image)
                loss = loss + self.adversarial_weight * adversarial
            self.state.output[Keys.LOSS] = loss.detach()
            self.fire_event(IterationEvents.LOSS_COMPLETED)
            share = _share(image, parts)
            self.scaler.scale(loss * share).backward()
            totals += share * torch.stack([loss, segmentation, adversarial]).detach()
            self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        adversarial_loss.requires_grad_(True)
        loss, segmentation, adversarial = totals
        losses = {Keys.LOSS: loss, "segmentation_loss": segmentation, "adversarial_loss": adversarial}
        return {Keys.PRED: torch.cat(finest), **losses}


def _listed(outputs: Outputs) -> list[torch.Tensor]:
    """The outputs as a list, also where there is only one."""
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


def _share(image: torch.Tensor, parts: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """The fraction of the batch's images that a part holds."""
    return image.shape[0] / sum(part.shape[0] for part, _ in parts)
