"""Numbers of unlabeled scans that strategies choose by; the greater, the more is to be learned from the scan's label.

A score takes predictors and a scan. The first predictor has the present weights; others, if there are any, make a
committee with it. The label server and the study of active learning use the same functions; MONAI Label is not needed.
A new score is one function in `SCORES`: the app then has a scoring method and a strategy of that name.

Some scores act on the predictors' networks while they run, so no other thread may predict with the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bonemets.data.ct.scan import CTScan
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.prediction import Prediction
from bonemets.metrics import uncertainty

# What a network without dropout gets for Monte Carlo dropout, and how often it predicts then. More passes cost as much
# again each and make the estimate less noisy.
DROPOUT, PASSES = 0.1, 6
# The image as it is, its mirror image, and both moved by some columns, which no network's stride divides.
VARIATIONS = ((False, 0), (True, 0), (False, 3), (True, 3))
# Pixels of a bone scan whose file does not say; the usual matrix of 1024 × 256 for a whole body.
USUAL_SPACING = (2.26, 2.26)
# Longer feature vectors are projected, so that thousands of scans stay small in the datastore.
FEATURES = 64


class Predictor(Protocol):
    """What scores need of a network: `bonemets.engines.BundlePredictor` has it."""

    network: nn.Module

    def predict(self, scan: Any) -> Prediction:
        """Segment a scan of the kind that the network is for."""


Scan = PlanarScan | CTScan
Score = Callable[[Sequence[Predictor], Scan], float]


def mean_entropy(predictors: Sequence[Predictor], scan: Scan) -> float:
    """Mean binary entropy of the lesion probability, in bits a pixel, over all views."""
    return uncertainty.mean_entropy(np.mean([each.predict(scan).probability for each in predictors], axis=0))


def test_time_disagreement(predictors: Sequence[Predictor], scan: Scan) -> float:
    """Mean variance of the lesion probability over mirrored and moved images, and over a committee's weights."""

    def samples() -> Iterator[NDArray]:
        for predictor in predictors:
            for mirror, columns in VARIATIONS:
                with varied_images(predictor.network, mirror, columns):
                    yield predictor.predict(scan).probability

    return uncertainty.mean_variance(samples())


def mutual_information(predictors: Sequence[Predictor], scan: Scan) -> float:
    """Mutual information of label and weights under Monte Carlo dropout (BALD), in bits a pixel."""

    def samples() -> Iterator[NDArray]:
        for predictor in predictors:
            with dropout_switched_on(predictor.network):
                for _ in range(PASSES):
                    yield predictor.predict(scan).probability

    # The same masks for every scan: scans are compared with each other.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return uncertainty.mutual_information(samples())


def view_disagreement(predictors: Sequence[Predictor], scan: Scan) -> float:
    """Lesions found in one view without a counterpart at the mirrored place of the other.

    0 where there are not both views. Many true lesions are seen from one side only, so this is a hint, not a mistake.
    """
    if not isinstance(scan, PlanarScan) or tuple(scan.views) != ("anterior", "posterior"):
        return 0.0
    mask = predictors[0].predict(scan).mask
    spacing = scan.spacing if tuple(scan.spacing) != (1, 1) else USUAL_SPACING
    return float(sum(uncertainty.unmatched_findings(mask[..., 0], mask[..., 1], spacing)))


# Name → score; a new one is added here.
SCORES: dict[str, Score] = {
    "mean_entropy": mean_entropy,
    "test_time_disagreement": test_time_disagreement,
    "mutual_information": mutual_information,
    "view_disagreement": view_disagreement,
}


def bottleneck_features(predictors: Sequence[Predictor], scan: Scan) -> NDArray[np.float32]:
    """What the network makes of a scan: the mean of each channel of its widest map, over places and views.

    The image descriptor of Yang et al., "Suggestive annotation", MICCAI 2017, section 2.2. In U-shaped networks the
    widest map is the bottom one; the last of several equally wide ones is taken.

    Args:
        predictors: the first one's network is used.
        scan: the scan.

    Returns:
        (C,), or (`FEATURES`,) by a fixed random projection where C is greater, which nearly keeps distances (Johnson
        and Lindenstrauss 1984).
    """
    means: dict[nn.Module, list[torch.Tensor]] = {}

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4:
            widest = max((values[0].shape[0] for values in means.values()), default=0)
            if output.shape[1] >= widest:
                means.setdefault(module, []).append(output.float().mean(dim=(0, 2, 3)))

    network = predictors[0].network
    leaves = [module for module in network.modules() if not any(module.children())]
    hooks = [module.register_forward_hook(keep) for module in leaves]
    try:
        predictors[0].predict(scan)
    finally:
        for hook in hooks:
            hook.remove()
    widest = max(values[0].shape[0] for values in means.values())
    last = [values for values in means.values() if values[0].shape[0] == widest][-1]
    vector = torch.stack(last).mean(dim=0).cpu().numpy()
    if len(vector) > FEATURES:
        projection = np.random.default_rng(0).standard_normal((FEATURES, len(vector))) / np.sqrt(FEATURES)
        vector = projection @ vector
    return vector.astype(np.float32)


@contextmanager
def varied_images(network: nn.Module, mirror: bool, columns: int) -> Iterator[None]:
    """Let a network see mirrored and moved images, and turn back what it says of them.

    Columns that leave on one side come in on the other: air on both sides of a patient.

    Args:
        network: maps (B, C, H, W) to the same height and width.
        mirror: whether left and right are exchanged.
        columns: how far the image is moved, in pixels.
    """

    def vary(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        image = inputs[0].flip(-1) if mirror else inputs[0]
        return (image.roll(columns, -1), *inputs[1:])

    def turn_back(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.roll(-columns, -1)
        return output.flip(-1) if mirror else output

    hooks = [network.register_forward_pre_hook(vary), network.register_forward_hook(turn_back)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def dropout_switched_on(network: nn.Module) -> Iterator[None]:
    """Let a network's dropout act although it is not in training; everything else stays as it is.

    Gal and Ghahramani, "Dropout as a Bayesian approximation", ICML 2016. Each layer keeps the rate that the network was
    built with; where that is 0, it is `DROPOUT`. Weights that were trained without dropout then meet a noise that they
    never saw: the result tells how much the prediction hangs on single features, and is no sample of a posterior.

    Args:
        network: with dropout layers; all of ours have them.

    Raises:
        ValueError: the network has none.
    """
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    layers = [module for module in network.modules() if isinstance(module, kinds)]
    if not layers:
        raise ValueError(f"{type(network).__name__} has no dropout layer")
    before = [(layer.p, layer.training) for layer in layers]
    try:
        for layer in layers:
            layer.p = layer.p or DROPOUT
            layer.train()
        yield
    finally:
        for layer, (rate, training) in zip(layers, before, strict=True):
            layer.p = rate
            layer.train(training)
