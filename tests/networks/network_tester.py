"""What every network of the registry must do; inherited by one class per name in test_every_network.py."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bonemets.networks import create_network

SNAPSHOT = Path(__file__).with_name("state_dict_keys.json")


def first(output):
    """The tensor that evaluation would return: the last of a deeply supervised list."""
    return output[-1] if isinstance(output, list) else output


def describe_state(name: str) -> dict[str, object]:
    """Number of tensors, number of parameters, and a digest of every key with its shape, of the default model."""
    with torch.device("meta"):
        network = create_network(name)
    lines = [f"{key} {list(value.shape)}" for key, value in network.state_dict().items()]
    return {
        "tensors": len(lines),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


class NetworkTester:
    """Subclasses set the name, and widths that keep the test fast."""

    name: str
    narrow: dict[str, object] = {}
    channels = (1, 1)
    side = 64
    # Parameters whose gradient is zero by construction, and why, next to the subclass that has them.
    frozen: tuple[str, ...] = ()

    def build(self, **kwargs) -> nn.Module:
        torch.manual_seed(0)
        given, wanted = self.channels
        return create_network(self.name, **{"in_channels": given, "out_channels": wanted, **self.narrow, **kwargs})

    def images(self, batch: int = 2, height: int | None = None, width: int | None = None, seed: int = 1):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, self.channels[0], height or self.side, width or self.side, generator=generator)

    @pytest.mark.parametrize("size", [(64, 64), (65, 47), (50, 97)])
    def test_answers_at_the_size_of_the_image(self, size):
        network = self.build().eval()
        with torch.no_grad():
            assert network(self.images(1, *size)).shape == (1, self.channels[1], *size)

    def test_takes_other_numbers_of_channels(self):
        network = self.build(in_channels=4, out_channels=3).eval()
        with torch.no_grad():
            assert network(torch.randn(1, 4, self.side, self.side)).shape == (1, 3, self.side, self.side)

    def test_gradients_reach_every_parameter(self):
        touched: dict[str, bool] = {}
        # Several seeds: the one or two hidden units of a narrow CBAM or squeeze-and-excitation may be dead.
        for seed in range(8):
            network = self.build(dropout=0.0).train()
            if seed:
                torch.manual_seed(seed)
                for parameter in network.parameters():
                    if parameter.requires_grad and parameter.ndim > 1:
                        nn.init.kaiming_normal_(parameter)
            output = network(self.images(seed=seed))
            outputs = output if isinstance(output, list) else [output]
            weights = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(seed))
            sum((logits * weights).sum() for logits in outputs).backward()
            for name, parameter in network.named_parameters():
                if parameter.requires_grad:
                    assert parameter.grad is not None, f"{name} has no part in the output"
                    touched[name] = touched.get(name, False) or bool(parameter.grad.abs().max() > 0)
                else:
                    assert any(part in name for part in self.frozen), f"{name} is frozen"
            if all(touched.values()):
                break
        untouched = [name for name, hit in touched.items() if not hit]
        assert untouched == [], f"no gradient reaches {untouched}"

    def test_dropout_makes_it_stochastic_and_keeps_the_weights_names(self):
        plain, dropped = self.build(dropout=0.0).eval(), self.build(dropout=0.4).eval()
        assert plain.state_dict().keys() == dropped.state_dict().keys()
        for network in (plain, dropped):
            for module in network.modules():
                if not isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.training = True
        images = self.images()
        with torch.no_grad():
            assert torch.equal(first(plain(images)), first(plain(images)))
            assert not torch.equal(first(dropped(images)), first(dropped(images)))

    def test_evaluation_is_deterministic_and_free_of_the_batch(self):
        network = self.build().eval()
        images = self.images()
        with torch.no_grad():
            together = network(images)
            assert torch.equal(together, network(images))
            torch.testing.assert_close(together[1:], network(images[1:]), rtol=1e-4, atol=1e-4)

    def test_channels_last_is_equal(self):
        network = self.build().eval()
        images = self.images()
        with torch.no_grad():
            usual = network(images)
            last = network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
        torch.testing.assert_close(last, usual, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_has_no_nan(self, dtype):
        network = self.build(dropout=0.0).train()
        with torch.autocast("cpu", dtype=dtype):
            logits = first(network(10 * self.images()))
        assert torch.isfinite(logits).all()
        if dtype == torch.bfloat16:
            logits.float().square().mean().backward()
            for name, parameter in network.named_parameters():
                assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name

    def test_state_dict_keys_are_stable(self):
        assert describe_state(self.name) == json.loads(SNAPSHOT.read_text())[self.name], (
            "keys or shapes changed, so published weights no longer load; "
            "if that is meant, run `python tests/networks/test_every_network.py`"
        )

    def test_torchscript_equals_eager(self):
        network = self.build().eval()
        buffer = io.BytesIO()
        torch.jit.save(torch.jit.script(network), buffer)
        buffer.seek(0)
        scripted = torch.jit.load(buffer)
        with torch.no_grad():
            for size in ((self.side, self.side), (self.side + 1, self.side - 7)):
                images = self.images(2, *size)
                torch.testing.assert_close(scripted(images), network(images), rtol=1e-5, atol=1e-5)

    @pytest.fixture(scope="class")
    def exported(self) -> tuple[nn.Module, torch.Tensor, torch.export.ExportedProgram]:
        """A network, an image, and PyTorch's exported program, which ONNX is made from too."""
        network, images = self.build().eval(), self.images(1)
        with torch.no_grad():
            return network, images, torch.export.export(network, (images,))

    def test_torch_export_equals_eager(self, exported):
        network, images, program = exported
        with torch.no_grad():
            torch.testing.assert_close(program.module()(images), network(images), rtol=1e-5, atol=1e-5)

    @pytest.mark.slow
    def test_onnx_equals_eager(self, exported, tmp_path):
        onnxruntime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        network, images, program = exported
        path = tmp_path / "network.onnx"
        torch.onnx.export(program, (images,), path, dynamo=True, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        answer = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
        with torch.no_grad():
            wanted = network(images).numpy()
        np.testing.assert_allclose(answer, wanted, rtol=1e-3, atol=1e-4 * max(1.0, float(np.abs(wanted).max())))

    @pytest.mark.parametrize(
        ("argument", "value"), [("in_channels", 0), ("out_channels", 1.5), ("dropout", 1.0), ("dropout", "high")]
    )
    def test_bad_arguments_are_named(self, argument, value):
        with pytest.raises(ValueError, match=f"^{argument}={value!r}.*allowed: [^\n]*$"):
            self.build(**{argument: value})
