"""Free-response ROC of networks and of simple image processing on shifted cohorts, by view.

::

    python scripts/simulation/make_cohort.py results/cohorts/shifted_faint_30.yaml runs/shifted_faint
    python scripts/simulation/make_cohort.py results/cohorts/shifted_sharp_30.yaml runs/shifted_sharp
    python scripts/results/measure_shifted.py runs/shifted_faint runs/shifted_sharp

Every view is measured as it is, and once more as a picture: thinned to 0.95 million counts, cut off at 255, 97×385
pixels of 8 bit, brought back to 1024×256. A finding at or above a level finds the lesions that it overlaps if a tenth
of it is lesion (else the whole body, as one finding, would find them all); other findings are false positives, unless
they lie mostly on ignored pixels. Intervals are of 1,000 bootstrap samples of the patients. The real scan is NEMA's
NM1, which comes with pydicom: what is marked there at the level of two false positives a view.
``--weights BUNDLE=FILE`` measures other weights than the bundle's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file

from bonemets.bundle.folders import file_sha256
from bonemets.data import write_bytes
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_planar
from bonemets.engines.predictor import BundlePredictor
from bonemets.inferers.baselines import BASELINES
from bonemets.metrics.froc import THRESHOLDS, sensitivity_at
from bonemets.metrics.lesions import IGNORE, LESION, lesion_components

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "results" / "shifted_bone_scans.yaml"
BUNDLES = ("spect_dual_pooling_segmentation", "spect_msa_net_segmentation", "spect_multi_attention_segmentation")
RATES = (1.0, 2.0, 4.0)
SAMPLES = 1000
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


@dataclass(frozen=True)
class View:
    """What a detector did in one view.

    Args:
        patient: whose view; cohort and folder.
        lesions: true lesions.
        found: (levels,) those that are found.
        false: (levels,) false positives.
        false_at_threshold: false positives at the weights' own threshold; None for a baseline, which has none.
    """

    patient: str
    lesions: int
    found: NDArray
    false: NDArray
    false_at_threshold: float | None


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


def views(cohort: Path, patients: int | None) -> Iterator[tuple[str, str, PlanarScan, NDArray]]:
    """Every view as it is and as a picture: patient, guise, scan and label map."""
    rng = np.random.default_rng(0)
    for folder in sorted(cohort.glob("patient_*"))[:patients]:
        for view in ("anterior", "posterior"):
            scan, truth = read_planar(folder / f"{view}.nii.gz"), read_planar(folder / f"{view}_label.nii.gz")
            label = truth.pixels[..., 0]
            yield folder.name, "counts", scan, label
            picture = as_picture(scan.pixels[..., 0], rng)[..., None]
            yield folder.name, "picture", replace(scan, pixels=picture), label


def load_detectors(named: Sequence[str]) -> tuple[dict[str, Detector], dict[str, dict[str, Any]]]:
    """Baselines, and networks by ``BUNDLE`` or ``BUNDLE=FILE``, with what the record says of them."""
    detectors: dict[str, Detector] = {name: _baseline(find) for name, find in BASELINES.items()}
    about: dict[str, dict[str, Any]] = {name: {} for name in BASELINES}
    for name in named:
        bundle, _, file = name.partition("=")
        predictor = BundlePredictor(ROOT / "bundles" / bundle, weights=file or None)
        detectors[bundle] = _network(predictor)
        about[bundle] = {"weights_sha256": file_sha256(predictor.weights), "threshold": predictor.threshold}
    return detectors, about


def measure_cohort(cohort: Path, named: Sequence[str], patients: int | None) -> dict[tuple[str, str], list[View]]:
    """Views by detector and guise."""
    torch.set_num_threads(1)  # cohorts are measured side by side
    detectors, about = load_detectors(named)
    seen: dict[tuple[str, str], list[View]] = {}
    for patient, guise, scan, label in views(cohort, patients):
        for name, detect in detectors.items():
            score = detect(scan)
            number, found, false = count(score, label, LEVELS)
            here = None
            if "threshold" in about[name]:
                here = float(count(score, label, np.array([about[name]["threshold"]]))[2][0])
            seen.setdefault((name, guise), []).append(View(f"{cohort.name}/{patient}", number, found, false, here))
    return seen


def summarize(seen: Sequence[View], rng: np.random.Generator) -> dict[str, Any]:
    """Sensitivity at each rate, and false positives of views without a lesion, with bootstrap intervals."""
    patients = sorted({view.patient for view in seen})
    of_patient = {patient: [i for i, view in enumerate(seen) if view.patient == patient] for patient in patients}

    def values(index: Sequence[int]) -> list[float]:
        chosen = [seen[i] for i in index]
        found = sum((view.found for view in chosen), np.zeros(len(LEVELS)))
        false = sum((view.false for view in chosen), np.zeros(len(LEVELS)))
        lesions = max(sum(view.lesions for view in chosen), 1)
        empty = [view.false_at_threshold for view in chosen if not view.lesions and view.false_at_threshold is not None]
        return [*sensitivity_at(found / lesions, false / len(chosen), RATES), np.mean(empty) if empty else np.nan]

    samples = []
    for _ in range(SAMPLES):
        drawn = rng.choice(patients, len(patients))
        samples.append(values([i for patient in drawn for i in of_patient[patient]]))
    names = [*(f"sensitivity_at_{rate:g}" for rate in RATES), "false_positives_without_lesions"]
    low, high = np.nanpercentile(np.array(samples, float), (2.5, 97.5), axis=0)
    return {
        name: {"value": round(float(value), 3), "low": round(float(low[i]), 3), "high": round(float(high[i]), 3)}
        for i, (name, value) in enumerate(zip(names, values(range(len(seen))), strict=True))
        if np.isfinite(value)
    }


def level_of_two(seen: Sequence[View]) -> float:
    """The lowest level with at most two false positives a view."""
    false = np.mean([view.false for view in seen], axis=0)
    return float(LEVELS[np.flatnonzero(false <= 2)[0]])


def findings(scan: PlanarScan, detect: Detector, level: float) -> int:
    """Findings of all views of a scan."""
    total = 0
    for i in range(scan.pixels.shape[-1]):
        view = replace(scan, pixels=scan.pixels[..., i : i + 1], views=scan.views[i : i + 1], dataset=None, frames=())
        total += lesion_components(detect(view) >= level)[1]
    return total


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohorts", type=Path, nargs="+")
    parser.add_argument("--weights", action="append", default=[], metavar="BUNDLE=FILE")
    parser.add_argument("--patients", type=int, help="only the first so many of each cohort")
    parser.add_argument("-o", "--out", type=Path, default=RECORD)
    options = parser.parse_args()
    other = {name.partition("=")[0]: name for name in options.weights}
    named = [other.get(bundle, bundle) for bundle in BUNDLES]
    seen: dict[tuple[str, str], list[View]] = {}
    with ProcessPoolExecutor(len(options.cohorts)) as pool:
        jobs = [pool.submit(measure_cohort, cohort, named, options.patients) for cohort in options.cohorts]
        for job in jobs:
            for key, several in job.result().items():
                seen.setdefault(key, []).extend(several)
    detectors, about = load_detectors(named)
    nema = read_planar(Path(str(get_testdata_file("JPEG-LL.dcm"))))
    first = next(iter(seen.values()))
    record: dict[str, Any] = {
        "what": "shifted cohorts, for testing only: sensitivity at 1, 2 and 4 false positives a view",
        "cohorts": [cohort.name for cohort in options.cohorts],
        "patients": len({view.patient for view in first}),
        "views": len(first),
        "lesions": sum(view.lesions for view in first),
        "detectors": about,
    }
    for (name, guise), several in seen.items():
        about[name][guise] = summarize(several, np.random.default_rng(0))
        print(f"{name:40s} {guise:8s}", {key: entry["value"] for key, entry in about[name][guise].items()})
    for name, detect in detectors.items():
        about[name]["findings_in_the_nema_scan"] = findings(nema, detect, level_of_two(seen[name, "counts"]))
    write_bytes(
        options.out,
        ("# Made by scripts/results/measure_shifted.py.\n" + yaml.safe_dump(record, sort_keys=False)).encode(),
    )


if __name__ == "__main__":
    main()
