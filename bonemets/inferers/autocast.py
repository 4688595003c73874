"""Forward passes with 16-bit arithmetic on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import SimpleInferer

CPU_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


class AutocastInferer(SimpleInferer):
    """`monai.inferers.SimpleInferer` under ``torch.autocast``; the outputs are float32.

    MONAI's ``amp`` casts on CUDA only. On a CPU with instructions for bfloat16 (AVX-512 BF16, AMX) a step of the
    bone-scan networks takes about half the time (0.5 to 0.65 of it, AMD EPYC, one core). On other CPUs 16 bits would be
    slower than 32, and nothing is cast.

    Args:
        device_type: device of the network, as ``torch.autocast`` names it.
        dtype: what arithmetic is done in.
    """

    def __init__(self, device_type: str = "cpu", dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.device_type = device_type
        self.dtype = dtype
        capabilities = torch.cpu.get_capabilities() if device_type == "cpu" else {}
        self.enabled = device_type != "cpu" or any(capabilities.get(name) for name in CPU_INSTRUCTIONS)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The network's output, or list of outputs, of a batch."""
        with torch.autocast(self.device_type, dtype=self.dtype, enabled=self.enabled):
            outputs = super().__call__(inputs, network, *args, **kwargs)
        if isinstance(outputs, torch.Tensor):
            return outputs.float()
        return [output.float() for output in outputs]
