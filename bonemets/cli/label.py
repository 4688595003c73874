"""``bonemets label``: the MONAI Label server with our app, and labels to and from other programs."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bonemets.bundle.folders import bundle_of, find_bundle, find_weights
from bonemets.errors import InputError

if TYPE_CHECKING:
    from bonemets.labeling.store.workspace import Workspace


class Modality(StrEnum):
    """What can be labeled."""

    nm = "nm"
    ct = "ct"
    picture = "picture"


class Format(StrEnum):
    """A program that labels are exported for."""

    itk_snap = "itk-snap"
    labelme = "labelme"


label = typer.Typer(
    help="Serve studies to annotators with MONAI Label; take labels to other programs and back.",
    invoke_without_command=True,
)
Project = Annotated[
    Path, typer.Argument(metavar="PROJECT", help="The annotation project, SCANS-labels, or the studies' folder SCANS.")
]


@label.callback()
def serve(
    context: typer.Context,
    studies: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|DICOMWEB_URL",
            help="Folder of DICOM (NM, CT), NIfTI, JPEG or PNG, or a DICOMweb address.",
            show_default=False,
        ),
    ] = None,
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
        typer.Option(help="What files other than DICOM are; detected by default.", show_default=False),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines too.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
) -> None:
    """Serve bone scans, CT and color pictures to annotators: proposals, corrections, training.

    Runs MONAI Label in its own environment (make label). The studies are never changed.
    Research use only, not for diagnosis.
    """
    if context.invoked_subcommand is not None:
        return
    if studies is None:
        raise typer.BadParameter("Missing option '--studies': a folder of studies or a DICOMweb address", context)
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
    from bonemets.labeling.server.launch import default_work
    from bonemets.labeling.server.launch import serve as serve_studies
    from bonemets.labeling.store.workspace import Workspace

    place = studies if address else str(Path(studies).resolve())
    project, first = Workspace(work or default_work(place)), {bundle: weights} if bundle and weights else {}
    files_are = {Modality.nm: NM, Modality.ct: CT, Modality.picture: PICTURE, None: None}[modality]
    serve_studies(place, project, host, port, first, files_are)


@label.command("export")
def export(
    project: Project,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="A new folder.")],
    format_: Annotated[Format, typer.Option("--format", help="The program.")] = Format.itk_snap,
    item: Annotated[list[str] | None, typer.Option(help="Only this item; may be repeated.")] = None,
) -> None:
    """Write images and labels for another program: final labels, else proposals, else nothing drawn yet."""
    from bonemets.labeling.exchange.exchange import export_labels

    done = export_labels(_workspace(project), output, format_.value, item or ())
    kinds = [exported.label for exported in done.items]
    counts = f"{kinds.count('final')} with final labels, {kinds.count('original')} with proposals"
    print(f"{output}: {len(kinds)} items, {counts}, {kinds.count('none')} with nothing drawn yet")
    if done.left_out:
        print(f"left out, since they have slices: {', '.join(done.left_out)}; export them for itk-snap")


@label.command("import")
def import_(
    project: Project,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `bonemets label export` has written.")],
    user: Annotated[str, typer.Option(metavar="NAME", help="Who has corrected the labels.")],
    unchanged: Annotated[
        bool, typer.Option("--unchanged", help="Save those too that are as they were exported: they are right so.")
    ] = False,
    over_newer: Annotated[
        bool,
        typer.Option("--over-newer", help="Save also over what others have saved since; theirs stays in the history."),
    ] = False,
) -> None:
    """Save what was corrected in an exported folder as new versions.

    The server may run meanwhile.
    """
    from bonemets.labeling.server import environment

    work = _workspace(project)
    if not environment.is_here():
        python = str(environment.find_python())
        options = ["--unchanged"] * unchanged + ["--over-newer"] * over_newer
        sys.stdout.flush()
        arguments = ["label", "import", str(project), str(folder), "--user", user, *options]
        os.execv(python, [python, "-m", "bonemets.cli.main", *arguments])

    from bonemets.labeling.exchange.importing import import_labels

    done = import_labels(folder, work, user, unchanged=unchanged, over_newer=over_newer)
    for name, version in done.saved.items():
        print(f"{name}: saved as version {version}")
    for line in done.refused:
        sys.stderr.write(f"bonemets: {line}\n")
    print(f"{len(done.saved)} saved, {len(done.unchanged)} unchanged, {len(done.refused)} refused")
    if done.refused:
        raise typer.Exit(2)


def _workspace(project: Path) -> Workspace:
    from bonemets.labeling.server.launch import default_work
    from bonemets.labeling.store.workspace import Workspace

    for folder in (project, default_work(str(project))):
        work = Workspace(folder)
        if work.links_path.is_file():
            return work
    raise InputError(f"{project}: is no annotation project; give the folder that `bonemets label` has as --work")
