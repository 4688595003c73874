"""Predictions against labels: what `bonemets evaluate` and `bonemets.evaluate` do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bonemets.data.files import check_writable

if TYPE_CHECKING:
    from bonemets.metrics.evaluation.evaluation import Evaluation, Row


@dataclass(frozen=True)
class EvaluationTables:
    """What an evaluation found, as tables; ``pandas.DataFrame(tables.images)`` takes them as they are.

    Args:
        images: one row per image.
        lesions: one row per lesion, numbered lesion and finding.
        patients: one row per patient.
        summary: data, settings and every measure with its interval, as in ``summary.json``.
        evaluation: the same as objects, for figures and further statistics.
        notes: which part was chosen, and what was left out.
    """

    images: list[Row]
    lesions: list[Row]
    patients: list[Row]
    summary: dict[str, Any]
    evaluation: Evaluation
    notes: tuple[str, ...] = ()


def evaluate(
    predictions: str | Path,
    datalist: str | Path,
    output: str | Path | None = None,
    *,
    section: Literal["test", "validation", "all"] | None = None,
    fold: int | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    threshold: float = 0.5,
    tolerance: float = 5.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EvaluationTables:
    """Measure predictions against labels; docs/reference/metrics.md defines every number.

    Pixels with label 2 count neither for nor against.

    Args:
        predictions: folder with a NIfTI mask or probability per item, or what `bonemets.segment` wrote; see
            `bonemets.metrics.evaluation.predictions`.
        datalist: the data list with the labels.
        output: folder for images.csv, lesions.csv, patients.csv, summary.json and index.html; nothing is written by
            default.
        section: which part of the data list; by default the one that the predictions are of, see
            `bonemets.metrics.evaluation.parts`.
        fold: which fold, for the validation section; by default 0.
        bootstrap: resamples of the patients for 95 % intervals; 0: none.
        seed: seed of the resampling.
        threshold: probability from which a pixel counts as lesion; a mask is the same at any.
        tolerance: how far outlines may be apart and agree (surface Dice), in mm.
        progress: called with how many images are done and how many there are.

    Returns:
        The tables.

    Raises:
        InputError: a file cannot be read or does not fit its label, or nothing can be written to `output`.
    """
    from bonemets.metrics.evaluation.evaluation import evaluate_cases, image_rows, lesion_rows, patient_rows, summary
    from bonemets.metrics.evaluation.parts import part_with_predictions

    if output is not None:
        check_writable(Path(output))
    part = part_with_predictions(Path(predictions), Path(datalist), section, fold)
    found = evaluate_cases(
        part.cases, threshold=threshold, tolerance=tolerance, resamples=bootstrap, seed=seed, progress=progress
    )
    tables = EvaluationTables(
        image_rows(found), lesion_rows(found), patient_rows(found), summary(found, part.data), found, part.notes
    )
    if output is not None:
        from bonemets.reporting.evaluation.page import write_evaluation

        write_evaluation(Path(output), found, tables.summary)
    return tables
