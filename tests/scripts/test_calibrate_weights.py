"""scripts/bundles/calibrate_weights.py: the last layer is scaled so that findings' probabilities are right."""

import json

import numpy as np
import pytest
import torch
from scipy.special import expit

from bonemets.bundle.folders import file_sha256
from bonemets.errors import InputError
from bonemets.metrics.lesions import IGNORE, LESION
from bonemets.networks.nets import DualPoolingUNet, MSANet, MultiAttentionUNet
from calibrate_weights import calibrate, findings, fit, scaled


def test_a_finding_has_its_highest_logit_and_is_a_lesion_or_not():
    truth = np.zeros((40, 40), np.uint8)
    truth[2:8, 2:8] = LESION
    truth[20:30, 20:30] = IGNORE
    probability = np.full((40, 40), 0.01, np.float32)
    probability[2:8, 2:8] = 0.9
    probability[4, 4] = 0.99
    probability[21:25, 21:25] = 0.8  # ignored
    probability[34:38, 2:6] = 0.6
    pairs = sorted(findings(probability, truth))
    assert [lesion for _, lesion in pairs] == [False, True]
    assert [value for value, _ in pairs] == pytest.approx([np.log(0.6 / 0.4), np.log(99)], rel=1e-4)
    assert findings(np.zeros((40, 40), np.float32), truth) == []


def test_slope_and_intercept_are_those_that_made_the_findings():
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 15, 20_000)
    lesion = rng.random(values.size) < expit(0.3 * values - 3.5)
    slope, intercept = fit(list(zip(values.tolist(), lesion.tolist(), strict=True)))
    assert (slope, intercept) == pytest.approx((0.3, -3.5), rel=0.05)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(1.0, True)] * 30, "too few"),
        ([(1.0, True), (5.0, False)] * 20, "higher logits do not mean more lesions"),
    ],
)
def test_what_cannot_be_fitted_is_refused(pairs, message):
    with pytest.raises(InputError, match=message):
        fit(pairs)


@pytest.mark.parametrize(
    "network",
    [
        DualPoolingUNet(1, 1, features=[4, 4, 8, 8, 8]),
        MSANet(features=[4, 4, 8, 8, 8]),
        MSANet(features=[4, 4, 8, 8, 8], deep_supervision=False),
        MultiAttentionUNet(features=[8, 8, 8, 8]),
    ],
    ids=["dual_pooling", "msa_net", "msa_net_one_head", "multi_attention"],
)
def test_the_logits_of_every_network_follow(network):
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    network.eval()
    with torch.inference_mode():
        before = network(image)
        network.load_state_dict(scaled(network.state_dict(), 0.3, -2.5))
        after = network(image)
    torch.testing.assert_close(after, 0.3 * before - 2.5, rtol=1e-4, atol=1e-4)


def test_a_network_with_other_layers_is_refused():
    with pytest.raises(InputError, match="last layer is not one of"):
        scaled(torch.nn.Conv2d(1, 1, 1).state_dict(), 1.0, 0.0)


def test_weights_are_calibrated_once(tmp_path):
    weights = tmp_path / "model.pt"
    torch.save(torch.nn.Conv2d(1, 1, 1).state_dict(), weights)
    before = file_sha256(weights)
    (tmp_path / "model.json").write_text(json.dumps({"sha256": before, "calibration": {"slope": 0.3}}))
    with pytest.raises(InputError, match="calibrated already"):
        calibrate(weights, tmp_path, [])
    assert file_sha256(weights) == before
