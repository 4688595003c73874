"""`bonemets.inferers.AutocastInferer`: 16-bit arithmetic inside, float32 outside."""

import pytest
import torch

from bonemets.inferers import AutocastInferer


class TwoHeads(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.seen = None

    def forward(self, image):
        features = self.layer(image)
        self.seen = features.dtype
        return [features, features[:, :1]]


@pytest.fixture(autouse=True)
def instructions(monkeypatch):
    """Of a CPU that has them: without, PyTorch computes the same more slowly."""
    has = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    return has


@pytest.fixture
def image():
    return torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def test_arithmetic_is_16_bit_and_outputs_are_32(image):
    torch.manual_seed(0)
    network = TwoHeads()
    outputs = AutocastInferer()(image, network)
    assert network.seen == torch.bfloat16
    assert [output.dtype for output in outputs] == [torch.float32, torch.float32]
    expected = network(image)[0]
    assert network.seen == torch.float32
    assert 0 < (outputs[0] - expected).abs().max() < 0.02  # 8 bits of mantissa


def test_gradients_reach_32_bit_weights(image):
    torch.manual_seed(0)
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    AutocastInferer()(image, network).square().mean().backward()
    assert network.weight.grad.dtype == torch.float32
    gradient = network.weight.grad.clone()
    network.zero_grad()
    network(image).square().mean().backward()
    torch.testing.assert_close(gradient, network.weight.grad, rtol=0.05, atol=0.01)


def test_other_cpus_use_32_bits(image, instructions):
    instructions["avx512_bf16"] = False
    network = TwoHeads()
    AutocastInferer()(image, network)
    assert network.seen == torch.float32
