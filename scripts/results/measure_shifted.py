"""Free-response ROC of networks and of simple image processing on a shifted cohort, by view.

::

    python scripts/simulation/make_cohort.py results/cohorts/shifted_faint_30.yaml runs/faint
    python scripts/results/measure_shifted.py runs/faint --bundle spect_msa_net_segmentation -o faint.yaml

Every view is measured as it is, and once more as a picture: thinned to 0.95 million counts, cut off at 255, 97×385
pixels of 8 bit, brought back to 1024×256. A finding at or above a level finds the lesions that it overlaps if a tenth
of it is lesion (else the whole body, as one finding, would find them all); other findings are false positives, unless
they lie mostly on ignored pixels. ``--weights BUNDLE=FILE`` measures other weights than the bundle's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from bonemets.bundle.folders import file_sha256
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_planar
from bonemets.engines.predictor import BundlePredictor
from bonemets.inferers.baselines import BASELINES
from bonemets.metrics.froc import THRESHOLDS, sensitivity_at
from bonemets.metrics.lesions import IGNORE, LESION, lesion_components

ROOT = Path(__file__).resolve().parents[2]
RATES = (1.0, 2.0, 4.0)
# Scores of baselines are not pushed to 0 or 1 as a network's are: even steps beside those of the networks.
LEVELS = np.unique(np.concatenate([THRESHOLDS[::2], np.linspace(0.02, 0.9, 24)]))
Detector = Callable[[PlanarScan], NDArray[np.float32]]


def as_picture(counts: NDArray, rng: np.random.Generator, total: float = 0.95e6) -> NDArray[np.float32]:
    """A view as an 8-bit picture of 97×385 pixels, brought back to its own size."""
    height, width = counts.shape
    kept = min(1.0, total / counts.sum())
    thinned = rng.binomial(counts.astype(np.int64), kept) * (total / (counts.sum() * kept))
    halved = np.minimum(thinned, 255).reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)).astype(np.float32)
    small = Image.fromarray(halved).resize((97, 385), Image.Resampling.HAMMING)
    gray = np.clip(np.round(np.asarray(small)), 0, 255).astype(np.float32)
    return np.maximum(np.asarray(Image.fromarray(gray).resize((width, height), Image.Resampling.BICUBIC)), 0)


def _baseline(find: Callable[[NDArray], NDArray[np.float32]]) -> Detector:
    return lambda scan: find(scan.pixels[..., 0])


def _network(predictor: BundlePredictor) -> Detector:
    return lambda scan: predictor.predict(scan).probability[..., 0]


def count(score: NDArray, label: NDArray, levels: NDArray) -> tuple[int, NDArray, NDArray]:
    """Number of lesions, and lesions found and false positives at every level."""
    lesions, number = lesion_components(label == LESION)
    found, false = np.zeros(len(levels)), np.zeros(len(levels))
    for i, level in enumerate(levels):
        findings, several = lesion_components(score >= level)
        if not several:
            break  # none at higher levels either
        areas = np.bincount(findings.ravel(), minlength=several + 1)[1:]
        ignored = np.bincount(findings[label == IGNORE], minlength=several + 1)[1:]
        hits = np.bincount(findings[label == LESION], minlength=several + 1)[1:]
        right = hits >= 0.1 * areas
        found[i] = len(np.unique(lesions[np.append(False, right)[findings] & (lesions > 0)]))
        false[i] = (~right & (ignored <= areas / 2)).sum()
    return number, found, false


def views(cohort: Path, patients: int | None) -> Iterator[tuple[str, PlanarScan, NDArray]]:
    """Every view as it is and as a picture, with its label map."""
    rng = np.random.default_rng(0)
    for folder in sorted(cohort.glob("patient_*"))[:patients]:
        for view in ("anterior", "posterior"):
            scan, truth = read_planar(folder / f"{view}.nii.gz"), read_planar(folder / f"{view}_label.nii.gz")
            label = truth.pixels[..., 0]
            yield "counts", scan, label
            picture = as_picture(scan.pixels[..., 0], rng)[..., None]
            yield "picture", scan.__class__(**{**vars(scan), "pixels": picture}), label


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--bundle", action="append", default=[], help="measure the bundle's shipped weights")
    parser.add_argument("--weights", action="append", default=[], metavar="BUNDLE=FILE")
    parser.add_argument("--patients", type=int, help="only the first so many")
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    detectors: dict[str, Detector] = {name: _baseline(find) for name, find in BASELINES.items()}
    about: dict[str, dict] = {name: {} for name in BASELINES}
    thresholds: dict[str, float] = {}
    for name in [*options.bundle, *options.weights]:
        bundle, _, file = name.partition("=")
        predictor = BundlePredictor(ROOT / "bundles" / bundle, weights=file or None)
        key = bundle if not file else f"{bundle}, {file_sha256(Path(file))[:8]}"
        detectors[key] = _network(predictor)
        about[key] = {"weights_sha256": file_sha256(predictor.weights), "threshold": predictor.threshold}
        thresholds[key] = predictor.threshold
    sums: dict[tuple[str, str], list] = {}
    at_default: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for guise, scan, label in views(options.cohort, options.patients):
        for name, detect in detectors.items():
            score = detect(scan)
            number, found, false = count(score, label, LEVELS)
            total = sums.setdefault((name, guise), [0, 0, 0.0, 0.0])
            for i, value in enumerate((1, number, found, false)):
                total[i] = total[i] + value
            if name in thresholds:
                _, _, here = count(score, label, np.array([thresholds[name]]))
                at_default.setdefault((name, guise), []).append((number, float(here[0])))
    record: dict = {"cohort": options.cohort.name, "rates": list(RATES), "detectors": about}
    for (name, guise), (images, number, found, false) in sums.items():
        reached = sensitivity_at(found / max(number, 1), false / images, RATES)
        entry = {"views": images, "lesions": number, "sensitivity": [round(float(x), 3) for x in reached]}
        if (name, guise) in at_default:
            empty = [false for lesions, false in at_default[name, guise] if lesions == 0]
            entry["false_positives_without_lesions"] = round(float(np.mean(empty)), 3) if empty else None
        about[name][guise] = entry
        print(f"{name:60s} {guise:8s} {entry}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("# Made by scripts/results/measure_shifted.py.\n" + yaml.safe_dump(record, sort_keys=False))


if __name__ == "__main__":
    main()
