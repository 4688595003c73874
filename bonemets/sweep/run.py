"""Run a sweep's trials side by side on Ray, here or on a cluster."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bonemets.bundle.folders import BUNDLES_VARIABLE
from bonemets.errors import InputError
from bonemets.sweep.spec import Sweep, Trial
from bonemets.sweep.training import TrialError
from bonemets.sweep.trial import RESULT, finished_result, measure_again, run_trial

# What a worker needs to know of this process: where MLflow writes, and where bundles are.
PASSED_ON = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", BUNDLES_VARIABLE)
LONGEST_FOLDER = 35

Report = Callable[[int, int, str], None]
Job = Callable[[Trial, Path, str, str, int], dict[str, Any]]


def run_sweep(
    sweep: Sweep,
    output: Path,
    tracking_uri: str,
    address: str | None = None,
    workers: int | None = None,
    report: Report = lambda done, total, message: None,
    again: bool = False,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Run every trial that is not finished yet.

    Ray's own checkpoints are not needed: a trial's folder says whether it is finished and how far its training came,
    also after this process, Ray or the machine was killed. On a cluster `output` and the data must be on storage that
    all nodes share.

    Args:
        sweep: the sweep.
        output: its folder; trials are in ``output/trials``.
        tracking_uri: MLflow store.
        address: address of a running Ray cluster; None starts Ray on this machine and stops it at the end.
        workers: processors that Ray may use on this machine; all by default. Not with `address`.
        report: called with trials done, all trials, and a line about the last one.
        again: measure the finished trials with the present code instead, and train nothing.

    Returns:
        Results of the finished trials in the sweep's order, and trial name → message of those that failed for good.

    Raises:
        InputError: Ray is not installed, cannot be reached, or has too little for one trial.
    """
    if again:
        return _measure_again(sweep, output, tracking_uri, address, workers, report)
    results = {
        trial.name: done
        for trial in sweep.trials
        if (done := finished_result(trial, _folder(output, trial))) is not None
    }
    pending = [trial for trial in sweep.trials if trial.name not in results]
    for number, name in enumerate(results, start=1):
        report(number, len(sweep.trials), f"{name}: done before")
    failures: dict[str, str] = {}
    if pending:
        found, failures = _run_on_ray(
            sweep, pending, output, tracking_uri, address, workers, report, run_trial, len(results)
        )
        results |= found
    return [results[trial.name] for trial in sweep.trials if trial.name in results], failures


def _measure_again(
    sweep: Sweep, output: Path, tracking_uri: str, address: str | None, workers: int | None, report: Report
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    finished = [trial for trial in sweep.trials if (_folder(output, trial) / RESULT).is_file()]
    if not finished:
        raise InputError(f"{output}: has no finished trial; run the sweep without --measure-again")
    found, failures = _run_on_ray(sweep, finished, output, tracking_uri, address, workers, report, measure_again)
    return [found[trial.name] for trial in finished if trial.name in found], failures


def _run_on_ray(
    sweep: Sweep,
    pending: list[Trial],
    output: Path,
    tracking_uri: str,
    address: str | None,
    workers: int | None,
    report: Report,
    job: Job,
    done: int = 0,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError("a sweep needs Ray; install it with: pip install 'bonemets[sweep]'") from error
    # No usage reports: nothing leaves the machine.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    environment = {"env_vars": {name: os.environ[name] for name in PASSED_ON if name in os.environ}}
    local: dict[str, Any] = {} if address else {"num_cpus": workers, "include_dashboard": False}
    folder = None if address else short_folder()
    if folder is not None:
        local["_temp_dir"] = folder.name
    try:
        ray.init(
            address=address or "local",
            runtime_env=environment,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **local,
        )
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        _remove(folder)
        raise InputError(f"Ray at {address or 'this machine'} cannot be used: {str(error).splitlines()[0]}") from error
    try:
        _check_resources(ray.cluster_resources(), sweep.resources)
        task = ray.remote(job).options(
            num_cpus=sweep.resources["cpus"],
            num_gpus=sweep.resources["gpus"],
            max_retries=sweep.retries,
            retry_exceptions=[TrialError],
        )
        threads = max(1, int(sweep.resources["cpus"]))
        futures = {
            task.remote(trial, _folder(output, trial), tracking_uri, sweep.name, threads): trial for trial in pending
        }
        results: dict[str, dict[str, Any]] = {}
        failures: dict[str, str] = {}
        waiting, total = list(futures), done + len(futures)
        while waiting:
            (ready, *_), waiting = ray.wait(waiting, num_returns=1)
            name = futures[ready].name
            try:
                results[name] = ray.get(ready)
                message = f"{name}: done in {results[name]['training_seconds'] / 60:.1f} min"
            except ray.exceptions.RayError as error:
                failures[name] = message = f"{name}: {_cause(error)}"
            done += 1
            report(done, total, message)
    finally:
        ray.shutdown()
        _remove(folder)
    return results, failures


def short_folder() -> tempfile.TemporaryDirectory[str] | None:
    """A folder for Ray's sockets where that of temporary files has too long a name; None where it has not.

    The name of a socket may have 107 bytes, of which Ray takes 70 below $RAY_TMPDIR or $TMPDIR.

    Raises:
        InputError: there is none.
    """
    usual = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108
    if len(os.fsencode(usual)) <= LONGEST_FOLDER:
        return None
    for place in ("/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108
        if os.access(place, os.W_OK | os.X_OK):
            return tempfile.TemporaryDirectory(prefix="ray-", dir=place, ignore_cleanup_errors=True)
    raise InputError(
        f"Ray cannot use {usual}: its sockets need a folder of at most {LONGEST_FOLDER} characters; set RAY_TMPDIR to "
        "one that you can write to"
    )


def _remove(folder: tempfile.TemporaryDirectory[str] | None) -> None:
    if folder is not None:
        folder.cleanup()


def _folder(output: Path, trial: Trial) -> Path:
    return output.resolve() / "trials" / trial.name


def _check_resources(there: dict[str, float], wanted: dict[str, float]) -> None:
    for key, name in (("cpus", "CPU"), ("gpus", "GPU")):
        if wanted[key] > there.get(name, 0):
            raise InputError(
                f"a trial wants {wanted[key]:g} {name}s and Ray has {there.get(name, 0):g}; lower resources: {key}"
            )


def _cause(error: Exception) -> str:
    """The trial's own message, in one line; Ray's where the trial could say nothing."""
    cause = getattr(error, "cause", None)
    text = str(cause if isinstance(cause, (TrialError, InputError)) else error).strip()
    return text.splitlines()[-1] if text else type(error).__name__
