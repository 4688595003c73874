from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from monai.handlers import CheckpointLoader

from bonemets.bundle.folders import file_sha256
from bonemets.errors import InputError
from bonemets.handlers import WeightsCheck


def save(network: torch.nn.Module, folder: Path) -> Path:
    weights = folder / "model.pt"
    torch.save(network.state_dict(), weights)
    weights.with_suffix(".json").write_text(json.dumps({"sha256": file_sha256(weights)}))
    return weights


def run(evaluator: Callable, network: torch.nn.Module, weights: Path) -> float:
    handlers = [WeightsCheck(weights, network), CheckpointLoader(str(weights), {"model": network})]
    engine = evaluator(network, handlers)
    engine.run()
    return engine.state.metrics["error"]


def test_sound_weights_are_used(evaluator, network, tmp_path: Path) -> None:
    with torch.no_grad():
        network[2].weight.zero_()
        network[2].bias.fill_(1.0)
    weights = save(network, tmp_path)
    with torch.no_grad():
        network[2].bias.fill_(5.0)
    assert run(evaluator, network, weights) == pytest.approx(1.0)  # labels 0 and 2, predictions 1
    weights.with_suffix(".json").write_text("{}")  # as before records had it
    assert run(evaluator, network, weights) == pytest.approx(1.0)


def test_another_file_than_the_recorded_one_is_refused(evaluator, network, tmp_path: Path) -> None:
    weights = save(network, tmp_path)
    with torch.no_grad():
        network[2].bias.fill_(5.0)
    torch.save(network.state_dict(), weights)
    with pytest.raises(InputError, match=r"model\.pt: is not the file that model\.json beside it describes"):
        run(evaluator, network, weights)


def test_weights_that_are_not_finite_are_refused(evaluator, network, tmp_path: Path) -> None:
    with torch.no_grad():
        network[2].bias.fill_(math.inf)
    with pytest.raises(InputError, match=r"2\.bias has values that are not finite"):
        run(evaluator, network, save(network, tmp_path))


def test_outputs_that_are_not_finite_are_refused(evaluator, network, tmp_path: Path) -> None:
    with torch.no_grad():
        network[0].weight.fill_(3e38)
        network[2].weight.fill_(3e38)
    with pytest.raises(InputError, match="computes values that are not finite"):
        run(evaluator, network, save(network, tmp_path))
