"""``bonemets info``: what is installed, and which bundles and weights there are."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from bonemets import __version__
from bonemets.bundle.folders import bundle_folders, bundle_metadata, file_sha256, list_bundles, read_provenance
from bonemets.bundle.weights import describe_weights, trained_on_simulated

PACKAGES = (
    "torch", "monai", "pytorch-ignite", "numpy", "scipy", "nibabel", "pydicom", "highdicom", "itk-io", "mlflow",
    "matplotlib", "typer", "myo-sim", "mujoco", "onnxruntime", "openvino", "ray", "monailabel",
)  # fmt: skip


def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show versions, bundles and weights."""
    facts = collect()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    typer.echo(f"bonemets {facts['bonemets']}, Python {facts['python']}, {facts['platform']}")
    typer.echo(", ".join(f"{name} {number}" for name, number in facts["packages"].items() if number))
    missing = [name for name, number in facts["packages"].items() if not number]
    if missing:
        typer.echo(f"not installed: {', '.join(missing)} (bonemets doctor says which commands need them)")
    typer.echo("\nBundles" if facts["bundles"] else "\nNo bundles found; bonemets doctor says what to do.")
    for bundle in facts["bundles"]:
        typer.echo(f"  {bundle['name']} {bundle['version'] or ''}  {bundle['folder']}")
        weights = bundle["weights"]
        typer.echo(f"    weights: {describe_weights(Path(weights['file']))}" if weights else "    no weights")


def collect() -> dict[str, Any]:
    """All of it as plain JSON values; imports none of the heavy packages."""
    return {
        "bonemets": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed(name) for name in PACKAGES},
        "bundle_folders": [str(folder) for folder in bundle_folders()],
        "bundles": [_bundle(name, folder) for name, folder in list_bundles().items()],
    }


def installed(package: str) -> str | None:
    """The installed version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _bundle(name: str, folder: Path) -> dict[str, Any]:
    metadata, weights = bundle_metadata(folder), folder / "models" / "model.pt"
    found = None
    if weights.is_file():
        record = read_provenance(weights)
        found = {"file": str(weights), **record, "sha256": file_sha256(weights)}
        found["simulated_patients_only"] = trained_on_simulated(record)
    return {
        "name": name,
        "folder": str(folder),
        "version": metadata.get("version"),
        "description": metadata.get("description"),
        "weights": found,
    }
