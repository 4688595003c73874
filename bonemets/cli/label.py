"""``bonemets label``: the MONAI Label server with our app."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bonemets.bundle.folders import bundle_of, find_bundle, find_weights
from bonemets.errors import InputError


class Modality(str, Enum):
    """What can be labeled."""

    nm = "nm"
    ct = "ct"
    picture = "picture"


def label(
    studies: Annotated[
        str,
        typer.Option(
            metavar="DIR|DICOMWEB_URL",
            help="Folder of DICOM (NM, CT), NIfTI, JPEG or PNG, or a DICOMweb address.",
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
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Bundle that --weights is for; found by its network by default.", show_default=False
        ),
    ] = None,
    modality: Annotated[
        Modality | None,
        typer.Option(help="What the files are that are not DICOM; by default they are looked at.", show_default=False),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Serve bone scans, CT and color pictures to annotators: proposals, corrections, training.

    Runs MONAI Label in its own environment (make label). The studies are never changed.
    Research use only, not for diagnosis.
    """
    from bonemets.labeling.server import environment

    address = studies.startswith(("http://", "https://"))
    if not address and not Path(studies).is_dir():
        raise InputError(f"{studies}: no such folder; give a folder of studies or a DICOMweb address")
    if weights is not None:
        bundle = find_bundle(bundle or bundle_of(weights)).name
        find_weights(find_bundle(bundle), weights)
    if not environment.is_here():
        python = str(environment.find_python())
        options = ["--studies", studies, "--host", host, "--port", str(port)]
        options += ["--bundle", bundle] if bundle else []
        options += ["--work", str(work)] if work else []
        options += ["--weights", str(weights)] if weights else []
        options += ["--modality", modality.value] if modality else []
        sys.stdout.flush()
        os.execv(python, [python, "-m", "bonemets.cli.main", "label", *options])

    from bonemets.data.modalities import CT, NM, PICTURE
    from bonemets.labeling.server.launch import default_work, serve
    from bonemets.labeling.store.workspace import Workspace

    place = studies if address else str(Path(studies).resolve())
    project, first = Workspace(work or default_work(place)), {bundle: weights} if bundle and weights else {}
    files_are = {Modality.nm: NM, Modality.ct: CT, Modality.picture: PICTURE, None: None}[modality]
    serve(place, project, host, port, first, files_are)
