"""A cohort's images as sums per patient, which a bootstrap over patients can re-weigh.

Nearly every metric is a ratio of sums over patients. With the sums as columns, a resample is a row of weights (how
often each patient was drawn), and a thousand resamples of a metric are one matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bonemets.metrics import pixel
from bonemets.metrics.image import CRITERIA, ImageResult, bears_lesion

NAN = float("nan")


class Cohort:
    """The images of a cohort as sums per patient.

    Args:
        results: what was measured on each image.

    Attributes:
        patients: the patients, in order of appearance.
        patient_of: (I,) index of each image's patient.
        columns: name → sums per patient, (P,) or (P, K).
        images: name → one value per image, (I,); NaN where it is not defined.
        has_probability: whether the predictions are probabilities.
    """

    def __init__(self, results: Sequence[ImageResult]) -> None:
        if not results:
            raise ValueError("results must hold at least one image")
        self.results = list(results)
        self.patients = list(dict.fromkeys(result.patient for result in results))
        places = {patient: index for index, patient in enumerate(self.patients)}
        self.patient_of = np.array([places[result.patient] for result in results])
        self.has_probability = results[0].froc is not None
        self.columns: dict[str, NDArray[np.float64]] = {"scans": np.ones(len(self.patients))}
        self._add_pixels()
        self._add_images()
        self._add_lesions()
        self._add_patients()
        if self.has_probability:
            self._add_probabilities()

    def per_patient(self, values: NDArray) -> NDArray[np.float64]:
        """Sums per patient, (P, ...), of values per image, (I, ...)."""
        values = np.asarray(values, dtype=float)
        sums = np.zeros((len(self.patients), *values.shape[1:]))
        np.add.at(sums, self.patient_of, values)
        return sums

    def _add_pixels(self) -> None:
        names = ("tp", "fp", "fn", "tn")
        counts = {name: np.array([getattr(r.pixels, name) for r in self.results], dtype=float) for name in names}
        self.bearing = np.array([bears_lesion(result) for result in self.results])
        self.columns["images"] = self.per_patient(np.ones(len(self.results)))
        self.columns["images_bearing"] = self.per_patient(self.bearing)
        for key, values in counts.items():
            self.columns[key] = self.per_patient(values)
            self.columns[f"{key}_bearing"] = self.per_patient(values * self.bearing)
        tp, fp, fn, tn = counts.values()
        self.images = {
            "dice": pixel.dice(tp, fp, fn),
            "macro_dice": pixel.macro_dice(tp, fp, fn, tn),
            "iou": pixel.iou(tp, fp, fn),
            "mean_iou": pixel.mean_iou(tp, fp, fn, tn),
            "precision": pixel.precision(tp, fp),
            "recall": pixel.recall(tp, fn),
            "hausdorff_95": np.array([result.hausdorff_95 for result in self.results]),
            "surface_dice": np.array([result.surface_dice for result in self.results]),
        }

    def _add_images(self) -> None:
        for key, values in self.images.items():
            for ending, use in (("", np.isfinite(values)), ("_bearing", np.isfinite(values) & self.bearing)):
                self.columns[f"{key}_sum{ending}"] = self.per_patient(np.where(use, values, 0))
                self.columns[f"{key}_number{ending}"] = self.per_patient(use)

    def _add_lesions(self) -> None:
        for criterion in CRITERIA:
            counts = [result.matches[criterion].counts for result in self.results]
            for key in ("lesions", "detected", "findings", "false_positives"):
                self.columns[f"{key}_{criterion}"] = self.per_patient(np.array([getattr(c, key) for c in counts]))
        self.columns["pair_iou_sum"] = self.per_patient(np.array([r.matches["iou50"].iou_sum for r in self.results]))

    def _add_patients(self) -> None:
        def add_up(values: list[float]) -> NDArray[np.float64]:
            return self.per_patient(np.array(values, dtype=float))

        self.area_true = add_up([result.area_true for result in self.results])
        self.area_predicted = add_up([result.area_predicted for result in self.results])
        self.positive = self.columns["lesions_any"] > 0
        # Whether the patient has metastases is not known where all there is are lesions that count neither way.
        self.certain = self.positive | (add_up([result.ignored_pixels for result in self.results]) == 0)
        if self.has_probability:
            self.score = np.zeros(len(self.patients))
            np.maximum.at(self.score, self.patient_of, [result.score for result in self.results])
        else:
            self.score = self.area_predicted
        self.columns["certain"] = self.certain.astype(float)
        called = self.columns["findings_any"] > 0
        for key, group, right in (("sick", self.positive, called), ("healthy", ~self.positive, ~called)):
            self.columns[key] = (group & self.certain).astype(float)
            self.columns[f"{key}_right"] = (group & self.certain & right).astype(float)

    def _add_probabilities(self) -> None:
        curves = [result.froc for result in self.results if result.froc is not None]
        self.columns["froc_detected"] = self.per_patient(np.array([curve.detected for curve in curves]))
        self.columns["froc_false"] = self.per_patient(np.array([curve.false_positives for curve in curves]))
        for key, attribute in (("all", "calibration"), ("suspicious", "calibration_suspicious")):
            bins = [getattr(result, attribute) for result in self.results]
            for part in ("pixels", "probability", "lesion", "squared_error"):
                values = np.array([getattr(counts, part) for counts in bins])
                self.columns[f"{part}_{key}"] = self.per_patient(values)


class Totals:
    """The sums of a cohort over weighted patients.

    Args:
        cohort: the cohort.
        weights: (B, P), how often each patient counts in each resample; None: each once, B = 1.
    """

    def __init__(self, cohort: Cohort, weights: NDArray[np.float64] | None = None) -> None:
        self.cohort = cohort
        self.weights = np.ones((1, len(cohort.patients))) if weights is None else weights
        self._sums: dict[str, NDArray[np.float64]] = {}

    def __getitem__(self, column: str) -> NDArray[np.float64]:
        if column not in self._sums:
            self._sums[column] = self.weights @ self.cohort.columns[column]
        return self._sums[column]

    def median(self, key: str) -> NDArray[np.float64]:
        """Median over the images that have the value, (B,)."""
        values = self.cohort.images[key]
        places = np.flatnonzero(np.isfinite(values))
        if not len(places):
            return np.full(len(self.weights), NAN)
        order = places[np.argsort(values[places])]
        reached = np.cumsum(self.weights[:, self.cohort.patient_of[order]], axis=1)
        half = reached[:, -1:] / 2
        # The middle one, or the mean of the two in the middle, as the median of the drawn list would be.
        lower = values[order][np.minimum((reached < half).sum(axis=1), len(order) - 1)]
        upper = values[order][np.minimum((reached <= half).sum(axis=1), len(order) - 1)]
        return np.where(half[:, 0] > 0, (lower + upper) / 2, NAN)
