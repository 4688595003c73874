"""``bonemets simulate``: a cohort of simulated bone scans, CT slices or dermoscopic pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bonemets.cli.progress import counting, progress


class Modality(StrEnum):
    """What to simulate."""

    nm = "nm"
    ct = "ct"
    both = "both"
    skin = "skin"


class World(StrEnum):
    """What a bone scan's patients are drawn from: `bonemets.simulation.patient.world`."""

    nema = "nema"
    hospital = "hospital"
    shifted_faint = "shifted_faint"
    shifted_sharp = "shifted_sharp"


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write the cohort to.", show_default=False)],
    patients: Annotated[int, typer.Option("--patients", "-n", min=1, help="Number of patients.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same bytes.")] = 0,
    modality: Annotated[
        Modality,
        typer.Option(
            help="nm: whole-body bone scans. ct: axial CT slices of the same patients. skin: dermoscopic pictures."
        ),
    ] = Modality.nm,
    world: Annotated[
        World | None,
        typer.Option(
            help="What the scans' patients are drawn from: hospital (default), nema (default with CT slices), or one "
            "of those for testing.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    folds: Annotated[int, typer.Option(min=1, help="Number of cross-validation folds.")] = 5,
    test_share: Annotated[float, typer.Option(min=0.0, max=0.9, help="Share of patients kept for testing.")] = 0.2,
) -> None:
    """Simulate a cohort of bone scans or CT slices: DICOM, NIfTI images and masks, cohort.json and datalist.json.

    CT slices have a data list of their own, datalist_ct.json, with the same folds. They take about 10 s and 20 MB a
    patient. Dermoscopic pictures (skin) are JPEG with PNG masks, one a patient.

    Stop it with Ctrl-C and run it again with the same options: it goes on where it stopped. With more --patients and
    the same --seed it extends the cohort. The first run prepares the skeleton, once, for up to a minute.
    """
    from bonemets.simulation.simulate import simulate as simulate_patients

    try:
        with progress("Pictures" if modality is Modality.skin else "Patients") as report:
            cohort = simulate_patients(
                out,
                patients,
                seed,
                modality=modality.value,
                world=None if world is None else world.value,
                workers=workers,
                folds=folds,
                test_share=test_share,
                progress=counting(report),
                skeleton_progress=lambda message, share: report(f"skeleton, {message}", share),
            )
    except KeyboardInterrupt:
        raise _stopped(out) from None
    if modality is Modality.skin:
        typer.echo(f"{patients} simulated dermoscopic images: {out / 'datalist.json'}")
        return
    positive = sum(any(study["lesion_pixels"].values()) for study in cohort["studies"])
    lists = {Modality.nm: "datalist.json", Modality.ct: "datalist_ct.json"}.get(
        modality, "datalist.json, datalist_ct.json"
    )
    typer.echo(f"{patients} simulated patients, {positive} with lesions visible in the scan: {out / lists}")


def _stopped(out: Path) -> typer.Exit:
    typer.echo(f"bonemets: stopped; run the same command again to go on where it stopped ({out})", err=True)
    return typer.Exit(130)
