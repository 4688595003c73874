"""``bonemets segment``: from a bone scan, a CT or a dermoscopic image to outlined lesion candidates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from bonemets.bundle.folders import DEFAULT_BUNDLE, find_bundle
from bonemets.bundle.trust import check_trust
from bonemets.cli.progress import counting, progress
from bonemets.data.intake import Skipped, SkippedError
from bonemets.data.planar.nuclear import UnsuitableError
from bonemets.engines.segmentation import BUNDLES, CT, PICTURE, CountSlices
from bonemets.engines.segmentation import segment as segment_source
from bonemets.errors import InputError


def segment(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="DICOM file, folder or zip; or a NIfTI, NRRD or PNG file.", show_default=False
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="Folder for the results; one sub-folder per study."),
    ],
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_DIR",
            help="Bundle: its name, or a folder with a slash in it. Default: that of --weights, "
            f"{BUNDLES[CT]} for CT, {BUNDLES[PICTURE]} for pictures in color, {DEFAULT_BUNDLE}.",
            show_default=False,
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights; the bundle's own by default.")] = None,
    device: Annotated[
        str, typer.Option(metavar="D", help="cpu, cuda, cuda:1 or auto (a GPU if there is one).")
    ] = "auto",
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Lesion probability to mark; the bundle's own by default.")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust", help="Run the code of a --bundle that is not installed; remembered until its files change."
        ),
    ] = False,
) -> None:
    """Outline lesion candidates in bone scans and CT, and lesions in dermoscopic images.

    Writes per study: mask.nii.gz, overlay.png, report.html and result.json; for DICOM input also seg.dcm (DICOM SEG)
    and sr.dcm (DICOM SR). A study that cannot be segmented does not stop the others: it is listed at the end, with the
    reason, and the exit status is 2. Research use only, not for diagnosis.
    """
    if bundle is not None and (note := check_trust(find_bundle(bundle), trust)) is not None:
        typer.echo(note)
    problems: list[InputError] = []
    done = segment_source(
        source,
        output,
        bundle=bundle,
        weights=weights,
        device=device,
        threshold=threshold,
        message=typer.echo,
        slices=_bar,
        report=problems.append,
    )
    failed = [problem for problem in problems if not isinstance(problem, UnsuitableError)]
    if not done and len(failed) < 2:
        # One line says it all.
        raise (failed or problems)[0]
    if problems:
        typer.echo(f"Done {len(done)}, failed {len(failed)}, skipped {len(problems) - len(failed)}:")
    for result in done if problems else ():
        typer.echo(f"  done         {result.name}")
    skipped = Skipped()
    for problem in sorted(problems, key=lambda each: isinstance(each, UnsuitableError)):
        if isinstance(problem, SkippedError):
            skipped(problem)
        else:
            typer.echo(f"  {'skipped' if isinstance(problem, UnsuitableError) else 'failed':12} {problem}")
    for line in skipped.lines():
        typer.echo(f"  {line}")
    if failed:
        count = f"{len(failed)} of {len(done) + len(failed)}"
        raise InputError(f"{source}: {count} could not be segmented, as listed above; the first: {failed[0]}")


@contextmanager
def _bar() -> Iterator[CountSlices]:
    """A bar over the slices of a CT on a terminal: a whole one takes minutes."""
    with progress("Slices", without_terminal=False) as report:
        yield counting(report)
