"""Segmentation of bone metastases in bone scans and CT.

The Python API: `segment`, `load_predictor`, `evaluate`, `simulate` and `create_network`. Each is imported on first use,
since PyTorch and MONAI take seconds to load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bonemets import moved

if TYPE_CHECKING:
    from bonemets.engines.evaluation import evaluate
    from bonemets.engines.segmentation import load_predictor, segment
    from bonemets.networks.registry import create_network
    from bonemets.simulation.simulate import simulate

__version__ = "0.2.0"
__all__ = ["__version__", "create_network", "evaluate", "load_predictor", "segment", "simulate"]

_MODULES = {
    "create_network": "bonemets.networks.registry",
    "evaluate": "bonemets.engines.evaluation",
    "load_predictor": "bonemets.engines.segmentation",
    "segment": "bonemets.engines.segmentation",
    "simulate": "bonemets.simulation.simulate",
}

moved.install()


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
