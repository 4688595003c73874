r"""Make the highest probability of a finding the probability that it is a lesion, by scaling the network's last layer.

Networks that learn with Dice are sure of nearly all that they mark. On the fold that the epoch was chosen on, every
finding at a probability of 0.5 is a lesion (IoU >= 0.1) or not; logistic regression of that on the finding's highest
logit (Platt, "Probabilistic outputs for support vector machines", 1999) gives a slope and an intercept, and the weights
and the bias of the last layer are changed so that the logits follow them. The order of findings stays, so the
free-response ROC does; the decision threshold is chosen afterwards (measure_thresholds.py)::

    python scripts/bundles/calibrate_weights.py runs/msa_net spect_msa_net_segmentation runs/hospital/datalist.json

The folder is what a training left: ``model.pt`` and ``model.json``, in it or in its ``models``. Both are changed;
``model.json`` keeps slope, intercept, number of findings, and the sha256 from before. Calibrated weights are refused.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import logit
from sklearn.linear_model import LogisticRegression

from bonemets.bundle.folders import file_sha256, find_bundle
from bonemets.data import load_datalist, write_bytes
from bonemets.engines.predictor import BundlePredictor, on_file_grid
from bonemets.errors import InputError
from bonemets.metrics.evaluation.predictions import read_label
from bonemets.metrics.image import CRITERIA
from bonemets.metrics.lesions import overlap_lesions

HEADS = ("head", "heads.3", "heads.0")
"""Names of the last layer: of one head, of the finest of four (deep supervision), of the only one without."""
MARKING = 0.5
"""Probability, before calibration, from which pixels are a finding."""


def findings(probability: NDArray, truth: NDArray) -> list[tuple[float, bool]]:
    """Highest logit of every finding at 0.5, and whether it is a lesion; those that are mostly ignored are left out."""
    overlap = overlap_lesions(probability >= MARKING, truth)
    match = overlap.match(CRITERIA["iou10"])
    highest = np.asarray(ndimage.maximum(probability, overlap.findings, np.arange(1, len(match.matched) + 1)))
    logits = logit(np.clip(highest.astype(np.float64), 1e-7, 1 - 1e-7))
    return [
        (float(value), bool(lesion))
        for value, lesion, ignored in zip(logits, match.matched, match.ignored, strict=True)
        if not ignored
    ]


def fit(pairs: list[tuple[float, bool]]) -> tuple[float, float]:
    """Slope and intercept of the logit of being a lesion against the highest logit.

    Raises:
        InputError: there are too few findings, or higher logits do not mean more lesions.
    """
    highest = np.array([value for value, _ in pairs]).reshape(-1, 1)
    lesion = np.array([is_lesion for _, is_lesion in pairs])
    if min(lesion.sum(), (~lesion).sum()) < 10:
        raise InputError(f"{len(pairs)} findings, {lesion.sum()} of them lesions, are too few: 10 of each are needed")
    model = LogisticRegression(C=1e6).fit(highest, lesion)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0:
        raise InputError(
            f"higher logits do not mean more lesions (slope {slope:.3f}); these weights cannot be calibrated"
        )
    return slope, intercept


def scaled(state: dict[str, torch.Tensor], slope: float, intercept: float) -> dict[str, torch.Tensor]:
    """A network's weights with logits of slope · logit + intercept.

    Raises:
        InputError: the last layer has another name, or more than one output.
    """
    head = next((name for name in HEADS if f"{name}.bias" in state), None)
    if head is None or len(state[f"{head}.bias"]) != 1:
        raise InputError(f"the last layer is not one of {', '.join(HEADS)} with one output; add its name to HEADS")
    changed = {
        f"{head}.weight": state[f"{head}.weight"] * slope,
        f"{head}.bias": state[f"{head}.bias"] * slope + intercept,
    }
    return {**state, **changed}


def calibrate(weights: Path, bundle: Path, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Change the weights and their record.

    Returns:
        What the record says of it.

    Raises:
        InputError: the record says that they are calibrated already, or see `fit` and `scaled`.
    """
    path = weights.with_suffix(".json")
    record = json.loads(path.read_text("utf-8"))
    if "calibration" in record:
        raise InputError(f"{path}: these weights are calibrated already")
    predictor = BundlePredictor(bundle, "auto", weights)
    pairs: list[tuple[float, bool]] = []
    for item in items:
        truth, _, _ = read_label(Path(item["label"]))
        prediction = predictor.predict(predictor.read(item["image"]))
        probability, _ = on_file_grid(predictor.read(item["label"]), prediction.probability)
        pairs += findings(probability.reshape(truth.shape), truth)
    slope, intercept = fit(pairs)
    state = torch.load(weights, map_location="cpu", weights_only=True)
    buffer = io.BytesIO()
    torch.save(scaled(state, slope, intercept), buffer)
    about = {
        "slope": round(slope, 4),
        "intercept": round(intercept, 4),
        "findings": len(pairs),
        "lesions": sum(lesion for _, lesion in pairs),
        "sha256_before": file_sha256(weights),
    }
    write_bytes(weights, buffer.getvalue())
    write_bytes(
        path, (json.dumps(record | {"sha256": file_sha256(weights), "calibration": about}, indent=2) + "\n").encode()
    )
    return about


def main() -> None:
    """Calibrate the weights of a training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("bundle", help="name or folder")
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--fold", type=int, default=0)
    arguments = parser.parse_args()
    try:
        weights = next((path for path in arguments.folder.glob("**/model.pt")), None)
        if weights is None:
            raise InputError(f"{arguments.folder}: holds no model.pt")
        items = load_datalist(arguments.datalist, fold=arguments.fold, section="validation")
        print(json.dumps(calibrate(weights, find_bundle(arguments.bundle), items)))
    except InputError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
