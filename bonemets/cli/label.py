"""``bonemets label``: the MONAI Label server with our app."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bonemets.engines.bundles import DEFAULT_BUNDLE, find_bundle, find_weights
from bonemets.errors import InputError


def label(
    studies: Annotated[
        str,
        typer.Option(
            metavar="DIR|DICOMWEB_URL",
            help="Folder of NM DICOM, NIfTI or PNG, or a DICOMweb address.",
            show_default=False,
        ),
    ],
    work: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where labels and models are kept; DIR-labels beside DIR by default."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights to begin with, if the project has none of the bundle.")
    ] = None,
    bundle: Annotated[str, typer.Option(metavar="NAME", help="Bundle that --weights is for.")] = DEFAULT_BUNDLE,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Serve scans to annotators: proposals, corrections, training.

    Runs MONAI Label in its own environment (make label). The studies are never changed.
    Research use only, not for diagnosis.
    """
    from bonemets.labeling import environment

    address = studies.startswith(("http://", "https://"))
    if not address and not Path(studies).is_dir():
        raise InputError(f"{studies}: no such folder; give a folder of studies or a DICOMweb address")
    if weights is not None:
        bundle = find_bundle(bundle).name
        find_weights(find_bundle(bundle), weights)
    if not environment.is_here():
        python = str(environment.find_python())
        options = ["--studies", studies, "--bundle", bundle, "--host", host, "--port", str(port)]
        options += ["--work", str(work)] if work else []
        options += ["--weights", str(weights)] if weights else []
        sys.stdout.flush()
        os.execv(python, [python, "-m", "bonemets.cli.main", "label", *options])

    from bonemets.labeling.launch import default_work, serve
    from bonemets.labeling.workspace import Workspace

    place = studies if address else str(Path(studies).resolve())
    serve(place, Workspace(work or default_work(place)), host, port, {bundle: weights} if weights else {})
