"""A trained network in MLflow's own model format."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import torch
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

from bonemets.bundle.folders import file_sha256
from bonemets.handlers.best_model import BestModel
from bonemets.handlers.mlflow.store import MLflowStore
from bonemets.handlers.training_state import unwrapped

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Small, but at least twice 80, the coarsest pooling of the networks here: PyTorch takes a map of a single pixel for
# constant, and would export a graph that holds for that size alone.
EXAMPLE_SIZE = 192


def log_best_model(best_model: BestModel, store: MLflowStore, run_id: str) -> str:
    """Log the best weights as an MLflow model of a run.

    The format is ``pt2``, PyTorch's exported graph with its weights: it holds no pickled Python object, so loading it
    runs no code of whoever made it, and it needs nothing but PyTorch, not even this package. Batch, height and width
    are free, from the example's size on; the output is the network's own, logits. The example is noise, not an image
    of a patient.

    ::

        network = mlflow.pytorch.load_model("models:/MODEL_ID")     # the model's page has the address
        logits = network(torch.rand(1, 1, 1024, 256))

    Args:
        best_model: which weights, of which network.
        store: the MLflow store.
        run_id: the run.

    Returns:
        The model's identifier.

    Raises:
        RuntimeError: if PyTorch cannot export the network.
        ValueError: if the network has no two-dimensional convolution, and so no known number of channels.
    """
    network = best_network(best_model)
    example = example_input(network)
    with torch.no_grad():
        output = network(torch.from_numpy(example))
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("float32"), (-1, example.shape[1], -1, -1))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, output.shape[1], -1, -1))]),
    )
    run = store.client.get_run(run_id)
    model = store.client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
    )
    with _fluent_store(store.uri):
        mlflow.pytorch.log_model(
            network,
            name="model",
            model_id=model.model_id,
            run_id=run_id,
            step=best_model.epoch,
            serialization_format="pt2",
            signature=signature,
            input_example=example,
            # Given, not inferred: for that MLflow would load the model in a process of its own.
            pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"numpy=={np.__version__}"],
            metadata={"weights_sha256": file_sha256(best_model.path)},
            validate_serving_input=False,
        )
    return str(model.model_id)


def best_network(best_model: BestModel) -> torch.nn.Module:
    """A copy of the network with the best weights, on the CPU, for evaluation."""
    network: torch.nn.Module = copy.deepcopy(unwrapped(best_model.network)).cpu()
    network.load_state_dict(torch.load(best_model.path, map_location="cpu", weights_only=True))
    return network.requires_grad_(False).eval()


def example_input(network: torch.nn.Module) -> NDArray[np.float32]:
    """Noise of the shape that the network takes: two images, since PyTorch would export a batch of one as constant.

    Quarters, because they are short as text, and MLflow keeps the example as JSON.
    """
    channels = next((m.in_channels for m in network.modules() if isinstance(m, torch.nn.Conv2d)), None)
    if channels is None:
        raise ValueError(f"{type(network).__name__} has no two-dimensional convolution")
    quarters = np.random.default_rng(0).integers(0, 5, (2, channels, EXAMPLE_SIZE, EXAMPLE_SIZE))
    return (quarters / 4).astype(np.float32)


@contextmanager
def _fluent_store(uri: str) -> Iterator[None]:
    """Lend the store to ``mlflow.pytorch.log_model``, which takes no client, and put back what was set."""
    before: Any = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
