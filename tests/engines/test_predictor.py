"""The predictor on a tiny bundle made here: what the YAML says is what runs."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from bonemets.bundle.folders import find_weights, read_provenance
from bonemets.data.planar.scan import PlanarScan
from bonemets.engines import BundlePredictor
from bonemets.engines.predictor import checked_provenance, find_device
from bonemets.errors import InputError
from bonemets.networks.nets import DualPoolingUNet
from bonemets.networks.registry import NETWORKS, list_networks

NETWORK = {"_target_": "bonemets.networks.nets.DualPoolingUNet", "features": [2, 3, 4]}

INFERENCE = {
    "bundle_root": ".",
    "device": "cpu",
    "network_def": {"_target_": "bonemets.networks.nets.DualPoolingUNet", "features": [4, 6, 8]},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image", "channel_dim": "no_channel"},
            {"_target_": "ScaleIntensityd", "keys": "image"},
        ],
    },
    "inferer": {"_target_": "SliceInferer", "roi_size": [64, 32], "spatial_dim": 2, "sw_batch_size": 2},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "must-not-appear"},
        ],
    },
}


def make_bundle(folder: Path, config: dict = INFERENCE) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.yaml").write_text(yaml.safe_dump(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps({"version": "0.0.1"}))
    torch.manual_seed(0)
    torch.save(DualPoolingUNet(features=(2, 3, 4)).state_dict(), folder / "models" / "model.pt")
    (folder / "models" / "model.json").write_text(json.dumps({"network_def": NETWORK}))
    return folder


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "tiny_segmentation")


@pytest.fixture
def scan():
    pixels = np.random.default_rng(0).poisson(4, (64, 32, 2)).astype(np.float32)
    return PlanarScan(pixels, ("anterior", "posterior"), (2.26, 2.26), Path("nowhere.dcm"), "dicom")


def test_equals_the_network_run_by_hand(bundle, scan, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = scan.pixels.copy()
    prediction = BundlePredictor(bundle).predict(scan)

    network = DualPoolingUNet(features=(2, 3, 4)).eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    scaled = (scan.pixels - scan.pixels.min()) / np.ptp(scan.pixels)
    with torch.inference_mode():
        logits = [network(torch.from_numpy(scaled[None, None, ..., v])) for v in (0, 1)]
    expected = torch.sigmoid(torch.stack([x[0, 0] for x in logits], dim=-1)).numpy()

    np.testing.assert_allclose(prediction.probability, expected, atol=1e-5)
    np.testing.assert_array_equal(prediction.mask, prediction.probability >= 0.5)
    assert prediction.probability.dtype == np.float32
    assert prediction.mask.dtype == np.uint8
    np.testing.assert_array_equal(scan.pixels, before)
    assert not Path("must-not-appear").exists()


def test_threshold_is_the_callers_when_given(bundle, scan):
    predictor = BundlePredictor(bundle)
    cut = float(np.median(predictor.predict(scan).probability))
    prediction = predictor.predict(scan, threshold=cut)
    assert prediction.threshold == cut
    assert 0.45 < prediction.mask.mean() < 0.55
    assert predictor.predict(scan).threshold == 0.5


def test_same_scan_same_answer(bundle, scan):
    first, second = (BundlePredictor(bundle).predict(scan).probability for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_weights_with_model_key_and_elsewhere(bundle, scan, tmp_path):
    elsewhere = tmp_path / "other.pt"
    torch.save({"model": torch.load(bundle / "models" / "model.pt", weights_only=True)}, elsewhere)
    elsewhere.with_suffix(".json").write_text(json.dumps({"network_def": NETWORK}))
    predictor = BundlePredictor(bundle, weights=elsewhere)
    np.testing.assert_array_equal(predictor.predict(scan).mask, BundlePredictor(bundle).predict(scan).mask)
    assert predictor.weights == elsewhere


def test_without_provenance_the_configuration_decides(bundle):
    (bundle / "models" / "model.json").unlink()
    with pytest.raises(InputError, match="does not fit DualPoolingUNet"):
        BundlePredictor(bundle)


def test_not_a_bundle(tmp_path):
    with pytest.raises(InputError, match="not a bundle"):
        BundlePredictor(tmp_path)


def test_missing_weights_say_what_to_do(bundle, tmp_path):
    (bundle / "models" / "model.pt").unlink()
    with pytest.raises(InputError, match="--weights FILE"):
        BundlePredictor(bundle)
    with pytest.raises(InputError, match="no such weights file"):
        find_weights(bundle, tmp_path / "nothing.pt")


def test_weights_cannot_run_code(bundle, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (bundle / "models" / "model.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="not a weights file"):
        BundlePredictor(bundle)
    torch.save(Evil(), bundle / "models" / "model.pt")
    with pytest.raises(InputError, match="not a weights file"):
        BundlePredictor(bundle)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"text, not tensors", b"PK\x03\x04 cut"])
def test_unreadable_weights(bundle, content):
    (bundle / "models" / "model.pt").write_bytes(content)
    with pytest.raises(InputError, match="not a weights file"):
        BundlePredictor(bundle)


@pytest.mark.parametrize(
    "network",
    [
        {"_target_": "os.system", "command": "true"},
        {"_target_": "bonemets.networks.registry.list_networks"},
        {"_target_": "bonemets.networks.registry.nn.Linear", "in_features": 1, "out_features": 1},
        {"_target_": "bonemets.networks.nets.MSANetCritic", "in_channels": 1},
        {"_target_": "monai.networks.utils.torch.load", "f": "x"},
        {"_target_": "monai.networks.nets.UNet", "spatial_dims": 2},
        {"_target_": ["bonemets.networks.nets.DualPoolingUNet"]},
        {**NETWORK, "_mode_": "debug"},
        {**NETWORK, "features": [2, 3, "@device"]},
        {**NETWORK, "features": [2, ["%network"], 4]},
        {**NETWORK, "dropout": {"rate": 0.1}},
        {},
        None,
        {**NETWORK, "dropout": "$__import__('os').system('true')"},
        {**NETWORK, "dropout": {"_target_": "os.getcwd"}},
        "bonemets.networks.nets.DualPoolingUNet",
    ],
)
def test_provenance_builds_networks_only(bundle, network):
    (bundle / "models" / "model.json").write_text(json.dumps({"network_def": network}))
    with pytest.raises(InputError, match="network_def") as caught:
        BundlePredictor(bundle)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", list_networks())
def test_provenance_may_name_every_network_of_the_registry(bundle, name):
    network = NETWORKS[name]
    target = getattr(network, "func", network)
    path = bundle / "models" / "model.json"
    definition = {"_target_": f"bonemets.networks.nets.{target.__name__}", "features": [1, 2], "norm": None, "x": True}
    path.write_text(json.dumps({"network_def": definition}))
    assert checked_provenance(bundle / "models" / "model.pt") == {"network_def": definition}


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_broken_provenance(bundle, text):
    (bundle / "models" / "model.json").write_text(text)
    with pytest.raises(InputError, match=r"model\.json"):
        read_provenance(bundle / "models" / "model.pt")


def test_devices():
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in {"cpu", "cuda"}
    for name in ("toaster", "cuda:77"):
        with pytest.raises(InputError, match="--device cpu"):
            find_device(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inferer": {"_target_": "no.such.Inferer"}}, "no.such.Inferer"),
        ({"network": "$1 / 0"}, "ZeroDivisionError"),
        ({"postprocessing": {"_target_": "Compose", "transforms": []}}, "AsDiscreted"),
    ],
)
def test_broken_configuration_is_told_in_one_line(tmp_path, change, message):
    bundle = make_bundle(tmp_path / "tiny_segmentation", {**INFERENCE, **change})
    with pytest.raises(InputError, match=message) as caught:
        BundlePredictor(bundle)
    assert "\n" not in str(caught.value)


def test_configuration_that_is_no_yaml(bundle):
    (bundle / "configs" / "inference.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"inference\.yaml cannot be built"):
        BundlePredictor(bundle)


def flip_bits(path: Path, count: int = 200) -> None:
    """Flip one bit in each of some bytes in the middle of a file, where the numbers are."""
    content = bytearray(path.read_bytes())
    for at in np.random.default_rng(0).integers(len(content) // 4, len(content) // 2, count):
        content[at] ^= 1
    path.write_bytes(content)


def test_damaged_weights_are_refused(bundle):
    weights = bundle / "models" / "model.pt"
    record = {"network_def": NETWORK, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    weights.with_suffix(".json").write_text(json.dumps(record))
    assert BundlePredictor(bundle).record(0.5)["weights_sha256"] == record["sha256"]
    flip_bits(weights)
    with pytest.raises(InputError, match=r"model\.pt: is not the file that model\.json beside it describes"):
        BundlePredictor(bundle)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(bundle, number):
    weights = bundle / "models" / "model.pt"
    state = torch.load(weights, weights_only=True)
    name = list(state)[-2]
    state[name].view(-1)[0] = number
    torch.save(state, weights)
    with pytest.raises(InputError, match=rf"model\.pt: {name} has values that are not finite"):
        BundlePredictor(bundle)


def test_logits_that_are_not_finite_are_refused(bundle, scan):
    weights = bundle / "models" / "model.pt"
    # Finite numbers whose products are not.
    torch.save({k: v * 1e30 if v.is_floating_point() else v for k, v in torch.load(weights).items()}, weights)
    predictor = BundlePredictor(bundle)
    with pytest.raises(InputError, match="computes values that are not finite numbers"):
        predictor.predict(scan)
