"""``bonemets datalist``: a MONAI data list with patient-level folds from a real data set, and back to nnU-Net."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bonemets.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from bonemets.data.adapters import Problem


class Duplicates(StrEnum):
    """What to do about images that are the same or nearly so."""

    error = "error"
    group = "group"
    ignore = "ignore"


def datalist(
    source: Annotated[Path, typer.Argument(help="The data set's folder; with --export-nnunet, a data list.")],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="bm-seg, isic2018, cxr-lung, nm-itksnap, labelme, bs80k, monailabel(-ct, -picture), nnunet or pairs;"
            " docs/reference/data-formats.md has each layout.",
        ),
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The data list to write.")] = Path("datalist.json"),
    folds: Annotated[
        int | None, typer.Option(min=1, help="Number of folds; by default 5, or the source's own.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds.")] = 0,
    test_share: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of the patients that becomes the test part; 1: no training part."),
    ] = 0.0,
    name: Annotated[str | None, typer.Option(help="Name of the data set; by default the folder's.")] = None,
    patient_pattern: Annotated[
        str | None, typer.Option(help="Regular expression that finds the patient in an image's path.")
    ] = None,
    patient_table: Annotated[
        Path | None, typer.Option(help="CSV file with the columns file (or id) and patient.")
    ] = None,
    lesion_label: Annotated[
        list[str] | None, typer.Option(help="LabelMe: a shape's name that means lesion; may be repeated.")
    ] = None,
    duplicates: Annotated[
        Duplicates, typer.Option(help="Images that are nearly the same: group makes one patient of their patients.")
    ] = Duplicates.error,
    salt: Annotated[
        str, typer.Option(envvar="BONEMETS_SALT", help="Secret text that makes pseudonyms impossible to guess.")
    ] = "",
    export_nnunet: Annotated[
        Path | None, typer.Option(help="Write the data list SOURCE as a data set of nnU-Net into this folder.")
    ] = None,
    dataset_id: Annotated[int | None, typer.Option(help="nnU-Net's number of the data set.")] = None,
) -> None:
    """Make a data list with patient-level folds from a real data set.

    Everything that is wrong with the data set is shown at once, before anything is written.
    """
    from rich.console import Console

    errors = Console(stderr=True)
    if export_nnunet is not None:
        _export(source, export_nnunet, dataset_id, name)
        return
    if format_ is None:
        raise InputError("datalist: --format is missing; for instance --format pairs")
    from rich.progress import track

    from bonemets.data.adapters import Options, ProblemsError, build_datalist, get_adapter

    options = Options(patient_pattern, patient_table, tuple(lesion_label or ()), salt)
    try:
        built = build_datalist(
            source,
            get_adapter(format_),
            output,
            folds=folds,
            seed=seed,
            test_share=test_share,
            options=options,
            duplicates=duplicates.value,
            name=name,
            track=lambda cases: track(cases, "Reading", console=errors, transient=True, disable=not errors.is_terminal),
        )
    except ProblemsError as error:
        _show_problems(error.problems, errors)
        raise
    for note in built.notes:
        errors.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    document = built.document
    items = [*document["training"], *document["testing"]]
    patients = len({item["patient"] for item in items})
    converted = f", {built.written} converted files in {output.stem}_files" if built.written else ""
    print(
        f"{output}: {len(items)} images of {patients} patients, {document['numFolds']} folds,"
        f" {document['numTest']} images for testing{converted}"
    )


def _export(source: Path, folder: Path, dataset_id: int | None, name: str | None) -> None:
    from bonemets.data.adapters import export_nnunet

    if dataset_id is None:
        raise InputError("datalist: --export-nnunet needs --dataset-id, a number from 1 to 999")
    target = export_nnunet(source, folder, dataset_id, name)
    number = f"{dataset_id:03d}"
    print(f"{target}: written; then, with nnUNet_raw={folder}:")
    print(f"  nnUNetv2_plan_and_preprocess -d {number} -c 2d --verify_dataset_integrity")
    print(f"  cp {target}/splits_final.json $nnUNet_preprocessed/{target.name}/")
    print(f"  nnUNetv2_train {number} 2d FOLD")


def _show_problems(problems: tuple[Problem, ...], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Problems", show_lines=False)
    for column in ("kind", "file", "problem"):
        table.add_column(column, overflow="fold")
    for problem in problems:
        table.add_row(problem.kind, Text(problem.file), Text(problem.text))
    console.print(table)
