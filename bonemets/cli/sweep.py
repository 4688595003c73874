"""``bonemets sweep``: many trainings from one small file, side by side, and one table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def sweep(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="YAML file that says what to train.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="Folder for the trials, tables and page.")
    ],
    dataset_dir: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="The images' folder, in place of SPEC's dataset_dir.", show_default=False
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="RAY", help="A running Ray cluster (auto, HOST:PORT); this machine by default."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processors to use on this machine; all by default.", show_default=False)
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="MLflow store; $MLFLOW_TRACKING_URI, or mlruns.db in OUT.", show_default=False
        ),
    ] = None,
    again: Annotated[
        bool,
        typer.Option("--measure-again", help="Train nothing: measure the finished trials with the present code."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the trials and what is done; train nothing.")
    ] = False,
) -> None:
    """Train and evaluate folds × ablation rows × seeds × networks on Ray.

    Stop it and run it again with the same OUT: finished trials stay, a training that was stopped goes on after its
    last epoch. Writes trials.csv, models.csv, comparisons.csv, sweep.json and index.html.
    """
    from bonemets.data.files import check_writable
    from bonemets.sweep.spec import read_sweep

    check_writable(output)
    found = read_sweep(spec, dataset_dir)
    if dry_run:
        from bonemets.sweep.trial import finished_result

        for trial in found.trials:
            done = finished_result(trial, output.resolve() / "trials" / trial.name)
            typer.echo(f"{'done' if done else 'to do':6} {trial.name}")
        return

    from bonemets.errors import InputError
    from bonemets.sweep.page import write_sweep
    from bonemets.sweep.run import run_sweep

    output.mkdir(parents=True, exist_ok=True)
    store = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{output.resolve() / 'mlruns.db'}"
    results, failures = run_sweep(
        found,
        output,
        store,
        address,
        workers,
        report=lambda done, total, message: typer.echo(f"[{done}/{total}] {message}"),
        again=again,
    )
    if results:
        write_sweep(output, found, results, failures)
        typer.echo(f"{len(results)} of {len(found.trials)} trials → {output / 'index.html'}")
    if failures:
        raise InputError(f"{len(failures)} trials failed: {'; '.join(failures.values())}. Run the same command again")
