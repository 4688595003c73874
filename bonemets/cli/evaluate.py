"""``bonemets evaluate``: how good predictions are, per image, lesion, patient and cohort."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bonemets.cli.progress import counting, progress
from bonemets.engines.evaluation import evaluate as evaluate_predictions


class Section(StrEnum):
    """Which part of a data list is evaluated."""

    test = "test"
    validation = "validation"
    all = "all"


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTIONS",
            help="Folder with a NIfTI mask or probability per item: PATIENT_VIEW.nii.gz, or named as the image; PNG "
            "masks for pictures; or what `bonemets segment` wrote.",
            show_default=False,
        ),
    ],
    datalist: Annotated[
        Path, typer.Option("--datalist", metavar="FILE", help="The data list with the labels.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="Folder for tables and page. Default: PREDICTIONS/evaluation.",
            show_default=False,
        ),
    ] = None,
    section: Annotated[
        Section | None,
        typer.Option(
            help="Which part of the data list. Default: test; without one all, or the fold that PREDICTIONS are of.",
            show_default=False,
        ),
    ] = None,
    fold: Annotated[
        int | None, typer.Option(min=0, help="Which fold, for --section validation. Default: 0.", show_default=False)
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamples of the patients for 95 % intervals; 0: none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Probability from which a pixel counts as marked.")
    ] = 0.5,
    tolerance: Annotated[
        float, typer.Option(min=0.0, metavar="MM", help="How far outlines may be apart and agree (surface Dice).")
    ] = 5.0,
) -> None:
    """Measure predictions against labels.

    Writes images.csv, lesions.csv, patients.csv, summary.json and index.html. docs/reference/metrics.md defines every
    number. Pixels with label 2 count neither for nor against.
    """
    output = predictions / "evaluation" if output is None else output
    with progress("Images", without_terminal=False) as report:
        tables = evaluate_predictions(
            predictions,
            datalist,
            output,
            section=None if section is None else section.value,
            fold=fold,
            bootstrap=bootstrap,
            seed=seed,
            threshold=threshold,
            tolerance=tolerance,
            progress=counting(report),
        )
    for note in tables.notes:
        typer.echo(f"note: {note}")
    for key in ("dice_per_image_bearing", "sensitivity_iou10", "false_positives_per_scan_iou10", "patient_auc"):
        found = tables.evaluation[key]
        interval = f" ({found.low:.3f} to {found.high:.3f})" if math.isfinite(found.low) else ""
        typer.echo(f"{found.measure.label}: {found.value:.3f}{interval}")
    typer.echo(f"{len(tables.images)} images of {len(tables.patients)} patients → {output / 'index.html'}")
