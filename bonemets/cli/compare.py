"""``bonemets compare``: two tracked runs, patient by patient."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Part(StrEnum):
    """Which patients two runs are compared on."""

    test = "test"
    validation = "validation"


def compare(
    run_a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="Name or identifier of a run in MLflow.", show_default=False)
    ],
    run_b: Annotated[
        str, typer.Argument(metavar="RUN_B", help="The run that is compared with it.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="Folder for page and tables.", show_default=False)
    ],
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="MLflow store: an mlruns.db, sqlite:///…, or a server; $MLFLOW_TRACKING_URI.",
            show_default=False,
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="Experiment of the runs, where names repeat.", show_default=False)
    ] = None,
    section: Annotated[
        Part | None, typer.Option(help="Which patients; test if both runs have it.", show_default=False)
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the patients for 95 % intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
) -> None:
    """Compare two runs of MLflow's store: trainings (best validation), evaluations, or trials of a sweep.

    Writes index.html, comparison.json, comparisons.csv and patients.csv: which is better and how surely, for which
    patients, and what differs in configuration, curves and pictures. Differences are RUN_B minus RUN_A.
    """
    from bonemets.data.files import check_writable
    from bonemets.errors import InputError
    from bonemets.reporting.comparison.tracked_runs import RunStore

    check_writable(output)
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise InputError("say where the runs are: --tracking-uri eval/mlruns.db, or set MLFLOW_TRACKING_URI")
    store = RunStore(uri)
    first, second = store.read(run_a, experiment), store.read(run_b, experiment)
    if first.run_id == second.run_id:
        raise InputError(f"{run_a} and {run_b} are one run; give two")

    from bonemets.reporting.comparison.page import p_value, write_comparison
    from bonemets.reporting.comparison.runs import compare_runs

    document = compare_runs(first, second, None if section is None else section.value, resamples=bootstrap, seed=seed)
    write_comparison(output, document, store, first, second)
    for metric in document["metrics"]:
        if metric["difference"] is not None:
            interval = "" if metric["low"] is None else f" ({metric['low']:+.3f} to {metric['high']:+.3f})"
            typer.echo(
                f"{metric['label']}: {metric['difference']:+.3f}{interval}, corrected p {p_value(metric['p_holm'])}"
            )
    data = document["data"]
    typer.echo(f"{data['patients']} patients of the {data['section']} part → {output / 'index.html'}")
