"""What runs a bundle. `BundlePredictor` is imported on first use, since it needs MONAI and therefore torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bonemets.bundle.folders import DEFAULT_BUNDLE, find_bundle, find_weights, list_bundles

if TYPE_CHECKING:
    from bonemets.data.prediction import Prediction
    from bonemets.engines.predictor import BundlePredictor

__all__ = ["DEFAULT_BUNDLE", "BundlePredictor", "Prediction", "find_bundle", "find_weights", "list_bundles"]


def __getattr__(name: str) -> Any:
    if name in ("BundlePredictor", "Prediction"):
        from bonemets.engines import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
