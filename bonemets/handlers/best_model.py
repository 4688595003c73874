"""Keep the weights of the best validation, with a record of where they come from."""

from __future__ import annotations

import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from bonemets.bundle.loading import not_finite
from bonemets.bundle.provenance import RunningConfig, datalist_record, git_commit, versions
from bonemets.data.files import write_together
from bonemets.errors import InputError
from bonemets.handlers.training_state import unwrapped


class BestModel:
    """Save ``model.pt`` whenever the key metric is the best so far, and ``model.json`` beside it.

    ``model.pt`` is the network's plain state dict. ``model.json`` says what it is: network definition, settings,
    overlays and fingerprint of the configuration, name and SHA-256 of the data list, epoch, metric, versions, commit,
    and the SHA-256 of ``model.pt``. It holds no paths and no names of machines. Both are replaced whole, and at once.

    Args:
        path: ``…/model.pt``.
        network: the network that is trained.
        metric: name of the key metric in the evaluator's ``state.metrics``; the greater the better. Undefined (NaN)
            counts as worse than any number. None keeps the newest weights instead, for training without validation.
        config: the running configuration.
        datalist: the data list; None, or a file that does not exist, where the data came from elsewhere.
    """

    def __init__(
        self,
        path: str | Path,
        network: torch.nn.Module,
        metric: str | None,
        config: RunningConfig,
        datalist: str | Path | None = None,
    ) -> None:
        self.path = Path(path)
        self.network = network
        self.metric = metric
        self.config = config
        self.datalist = datalist
        self.best = -math.inf
        self.epoch = 0

    def attach(self, engine: Engine) -> None:
        """Attach to the evaluator that computes the metric (its epoch is the trainer's), or to the trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save the network if it is the best so far.

        Raises:
            InputError: if its weights are not finite numbers; those that were saved before stay.
        """
        value = None if self.metric is None else float(engine.state.metrics[self.metric])
        score = -math.inf if value is None else -1.0 if math.isnan(value) else value
        if value is not None and score <= self.best:
            return
        self.best, self.epoch = score, engine.state.epoch
        state = {key: tensor.cpu() for key, tensor in unwrapped(self.network).state_dict().items()}
        if (name := not_finite(state)) is not None:
            raise InputError(
                f"epoch {self.epoch}: {name} has values that are not finite numbers; {self.path} is not written; "
                "lower the learning rate, then go on with resume=true"
            )
        buffer = io.BytesIO()
        torch.save(state, buffer)
        weights = buffer.getvalue()
        record = json.dumps(self.record(value, hashlib.sha256(weights).hexdigest()), indent=2) + "\n"
        # A pair that does not fit is refused, and a run may be killed between the two.
        write_together({self.path: weights, self.path.with_suffix(".json"): record.encode()})

    def record(self, value: float | None, sha256: str) -> dict[str, Any]:
        """The content of ``model.json``, for weights of that SHA-256."""
        return {
            "weights": self.path.name,
            "sha256": sha256,
            "bundle_version": self.config.version,
            "network_def": self.config.network_def,
            "settings": self.config.portable_settings,
            "config_sha256": self.config.sha256,
            "datalist": datalist_record(self.datalist),
            "epoch": self.epoch,
            "metric": {"name": self.metric, "value": None if value is None or math.isnan(value) else value},
            "versions": versions(),
            "commit": git_commit(),
        }

    def state_dict(self) -> dict[str, float]:
        """What a resumed run must know."""
        return {"best": self.best, "epoch": self.epoch}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what `state_dict` returned."""
        self.best, self.epoch = float(state["best"]), int(state["epoch"])
