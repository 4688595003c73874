"""``bonemets labels``: labels to ITK-SNAP and LabelMe, and back as new versions."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bonemets.errors import InputError

if TYPE_CHECKING:
    from bonemets.labeling.store.workspace import Workspace


class Format(str, Enum):
    """A program that labels are exported for."""

    itk_snap = "itk-snap"
    labelme = "labelme"


labels = typer.Typer(help="Take labels to ITK-SNAP or LabelMe, and back.", no_args_is_help=True)
Project = Annotated[
    Path, typer.Argument(metavar="PROJECT", help="The annotation project, SCANS-labels, or the studies' folder SCANS.")
]


@labels.command("export")
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


@labels.command("import")
def import_(
    project: Project,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `bonemets labels export` has written.")],
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
        arguments = ["labels", "import", str(project), str(folder), "--user", user, *options]
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
