"""Scores of scans, with networks of which the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom, entropy
from torch import nn

from bonemets.data import PlanarScan
from bonemets.data.prediction import Prediction
from bonemets.labeling import scores  # one of its functions is named like a test
from bonemets.labeling.tasks.scores import PASSES, bottleneck_features, dropout_switched_on, mutual_information
from bonemets.networks.nets import DualPoolingUNet


class Direct:
    """A predictor that gives the network both views as they are."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()

    def predict(self, scan: PlanarScan) -> Prediction:
        with torch.inference_mode():
            logits = self.network(torch.from_numpy(scan.pixels).permute(2, 0, 1)[:, None])
        probability = torch.sigmoid(logits)[:, 0].permute(1, 2, 0).numpy()
        return Prediction(probability, (probability >= 0.5).astype(np.uint8), 0.5)


class Pointwise(nn.Module):
    """Any function of a tensor as a network."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def scan_of(pixels: np.ndarray, views: tuple[str, ...] = ("anterior", "posterior")) -> PlanarScan:
    return PlanarScan(np.float32(pixels), views, (2.0, 2.0), Path("scan"), "nifti")


@pytest.fixture
def scan() -> PlanarScan:
    return scan_of(np.random.default_rng(0).standard_normal((96, 80, 2)))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return DualPoolingUNet(features=(4, 8, 8, 8), dropout=0.0)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values.astype(float)))


class TestDisagreement:
    def test_none_where_left_and_right_make_no_difference(self, scan: PlanarScan) -> None:
        assert scores.test_time_disagreement([Direct(Pointwise(lambda x: 3 * x))], scan) == pytest.approx(0, abs=1e-12)

    def test_of_a_network_that_looks_at_the_column(self, scan: PlanarScan) -> None:
        slope = torch.linspace(-2, 2, 80)
        samples = []
        for mirror in (False, True):
            for columns in (0, 3):
                image = scan.pixels[:, ::-1] if mirror else scan.pixels
                seen = sigmoid(np.roll(image, columns, axis=1) * slope.numpy()[:, None])
                seen = np.roll(seen, -columns, axis=1)
                samples.append(seen[:, ::-1] if mirror else seen)
        predictor = Direct(Pointwise(lambda x: x * slope))
        before = predictor.predict(scan).probability
        assert scores.test_time_disagreement([predictor], scan) == pytest.approx(
            np.var(samples, axis=0).mean(), rel=1e-5
        )
        np.testing.assert_array_equal(predictor.predict(scan).probability, before)

    def test_of_a_committee(self, scan: PlanarScan) -> None:
        committee = [Direct(Pointwise(lambda x, logit=logit: 0 * x + logit)) for logit in (-1.0, 2.0)]
        low, high = sigmoid(np.array([-1.0, 2.0]))
        assert scores.test_time_disagreement(committee, scan) == pytest.approx(((high - low) / 2) ** 2, rel=1e-5)
        mean = (low + high) / 2
        assert scores.mean_entropy(committee, scan) == pytest.approx(entropy([mean, 1 - mean], base=2), rel=1e-5)


class TestDropout:
    def test_mutual_information_of_a_known_dropout(self) -> None:
        """Each pixel is 0 or 1 with even chances, so its information is the entropy of k ones among the passes."""
        coin = nn.Sequential(nn.Dropout(0.5), Pointwise(lambda x: 50 * (x - 1)))
        ones = np.arange(PASSES + 1)
        expected = sum(binom.pmf(ones, PASSES, 0.5) * entropy([ones / PASSES, 1 - ones / PASSES], base=2))
        found = mutual_information([Direct(coin)], scan_of(np.ones((100, 100, 2))))
        assert found == pytest.approx(expected, abs=0.01)

    def test_twice_the_same_and_nothing_left_behind(self, network: nn.Module, scan: PlanarScan) -> None:
        predictor, state = Direct(network), torch.get_rng_state()
        before = predictor.predict(scan).probability
        first = mutual_information([predictor], scan)
        assert 0 < first < 1
        assert mutual_information([predictor], scan) == first
        np.testing.assert_array_equal(predictor.predict(scan).probability, before)
        assert torch.equal(torch.get_rng_state(), state)

    def test_only_dropout_acts_and_keeps_its_rate(self) -> None:
        network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.3), nn.Dropout2d(0.0)).eval()
        with dropout_switched_on(network):
            assert [layer.training for layer in network] == [False, True, True]
            assert [layer.p for layer in network[1:]] == [0.3, 0.1]
        assert [layer.training for layer in network] == [False] * 3
        assert [layer.p for layer in network[1:]] == [0.3, 0.0]

    def test_a_network_without(self, scan: PlanarScan) -> None:
        with pytest.raises(ValueError, match="no dropout layer"):
            mutual_information([Direct(Pointwise(lambda x: x))], scan)


class TestViews:
    def test_findings_without_counterpart(self) -> None:
        pixels = np.full((60, 40, 2), -5.0)
        pixels[10:13, 9:12, 0] = pixels[10:13, 28:31, 1] = 5  # seen from both sides
        pixels[40:43, 9:12, 0] = pixels[50:53, 9:12, 1] = pixels[25:28, 9:12, 1] = 5
        predictor = Direct(Pointwise(lambda x: x))
        assert scores.view_disagreement([predictor], scan_of(pixels)) == 3
        assert scores.view_disagreement([predictor], scan_of(pixels[..., :1], ("anterior",))) == 0


class TestFeatures:
    def test_are_the_means_of_the_bottom_map(self, network: nn.Module, scan: PlanarScan) -> None:
        seen = []
        hook = network.bottom_dropout.register_forward_hook(lambda module, inputs, output: seen.append(output))
        predictor = Direct(network)
        features = bottleneck_features([predictor], scan)
        hook.remove()
        assert features.shape == (12,)
        np.testing.assert_allclose(features, seen[0].mean(dim=(0, 2, 3)).numpy(), rtol=1e-5)
        assert not any(module._forward_hooks for module in network.modules())

    def test_long_ones_are_projected_and_keep_their_distances(self) -> None:
        torch.manual_seed(1)
        predictor = Direct(nn.Sequential(nn.Conv2d(1, 500, 3), nn.Conv2d(500, 1, 1)))
        scans = [scan_of(np.random.default_rng(seed).random((12, 12, 2)) * seed) for seed in (1, 2, 5)]
        short = [bottleneck_features([predictor], scan) for scan in scans]
        with torch.inference_mode():
            maps = [predictor.network[0](torch.from_numpy(scan.pixels).permute(2, 0, 1)[:, None]) for scan in scans]
        long = [one.mean(dim=(0, 2, 3)).numpy() for one in maps]
        assert short[0].shape == (64,)
        for one, other in ((0, 1), (0, 2), (1, 2)):
            kept = np.linalg.norm(short[one] - short[other]) / np.linalg.norm(long[one] - long[other])
            assert 0.7 < kept < 1.3
