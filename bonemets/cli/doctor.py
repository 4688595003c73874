"""``bonemets doctor``: what is missing, and the command that fixes it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bonemets.bundle.folders import BUNDLES_VARIABLE, DEFAULT_BUNDLE, file_sha256, list_bundles, read_provenance
from bonemets.bundle.weights import describe_weights
from bonemets.errors import InputError
from bonemets.labeling.server import environment

if TYPE_CHECKING:
    from packaging.requirements import Requirement

# What each extra is for, in the order of pyproject.toml.
EXTRAS = {
    "sim": "bonemets simulate",
    "export": "exporting networks to ONNX and OpenVINO",
    "sweep": "runs over many folds and seeds",
    "dev": "the tests and make demo",
}


@dataclass(frozen=True)
class Check:
    """One line of the doctor's.

    Args:
        subject: what was looked at.
        problem: what is wrong; empty if nothing is.
        fix: the command or step that fixes it.
        optional: whether only some commands need it.
    """

    subject: str
    problem: str = ""
    fix: str = ""
    optional: bool = False


def doctor() -> None:
    """Check the installation and say how to fix what is missing."""
    checks = [*check_packages(), check_labeling(), check_torch(), *check_bundles()]
    for check in checks:
        status = "ok" if not check.problem else "optional" if check.optional else "missing"
        typer.echo(f"{status:9}{check.subject}{f': {check.problem}' if check.problem else ''}")
        if check.fix:
            typer.echo(f"{'':9}-> {check.fix}")
    problems = sum(bool(check.problem) and not check.optional for check in checks)
    typer.echo(f"\n{problems} of {len(checks)} need something." if problems else "\nNothing that is needed is missing.")


def check_packages() -> list[Check]:
    """One check for what every command needs and one for each extra, from the installed package's own metadata."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in requires("bonemets") or []]
    checks = []
    for extra in ("", *EXTRAS):
        chosen = [requirement for requirement in wanted if _belongs(requirement, extra)]
        lacking = [_plain(requirement) for requirement in chosen if not _satisfied(requirement)]
        subject = f"extra {extra}, for {EXTRAS[extra]}" if extra else f"core packages ({len(chosen)})"
        fix = f"{sys.executable} -m pip install {shlex.join(lacking)}" if lacking else ""
        checks.append(Check(subject, ", ".join(lacking), fix, optional=bool(extra)))
    return checks


def check_labeling() -> Check:
    """Whether MONAI Label's environment is there."""
    subject = "environment of MONAI Label, for bonemets label"
    if environment.is_here():
        return Check(subject)
    try:
        environment.find_python()
    except InputError as error:
        problem, _, fix = str(error).partition("; make it with: ")
        return Check(subject, problem, fix, optional=True)
    return Check(subject)


def check_torch() -> Check:
    """Whether PyTorch works, and what it can run on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check("PyTorch", f"cannot be loaded ({' '.join(str(error).split())[:200]})", "reinstall torch")
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check(
        f"PyTorch {torch.__version__}, runs on {', '.join(gpus) or f'the CPU ({torch.get_num_threads()} threads)'}"
    )


def check_bundles() -> list[Check]:
    """Whether there are bundles, and weights in each."""
    bundles = list_bundles()
    if not bundles:
        return [Check("bundles", "none found", f"set {BUNDLES_VARIABLE} to the folder that holds them")]
    return [_check_weights(name, folder) for name, folder in bundles.items()]


def _check_weights(name: str, folder: Path) -> Check:
    weights = folder / "models" / "model.pt"
    if not weights.is_file():
        fix = f"train it as {folder / 'docs' / 'README.md'} says"
        return Check(f"bundle {name}", "no weights", fix, optional=name != DEFAULT_BUNDLE)
    try:
        record = read_provenance(weights)
    except InputError as error:
        return Check(f"bundle {name}", str(error), f"git checkout {folder / 'models'}")
    if record.get("sha256", file_sha256(weights)) != file_sha256(weights):
        return Check(
            f"bundle {name}",
            "model.json describes other weights than models/model.pt",
            f"git checkout {folder / 'models'}, or put the .json file beside the weights that training wrote with them",
        )
    return Check(f"bundle {name}, weights {describe_weights(weights)}")


def _belongs(requirement: Requirement, extra: str) -> bool:
    """Whether the requirement is one of this extra's ("" for those of every installation)."""
    if requirement.marker is None:
        return not extra
    always = requirement.marker.evaluate({"extra": ""})
    return always if not extra else not always and requirement.marker.evaluate({"extra": extra})


def _plain(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _satisfied(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False
