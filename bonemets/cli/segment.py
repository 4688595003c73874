"""``bonemets segment``: from a bone scan, a CT or a picture of skin to outlined lesion candidates."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bonemets.bundle.folders import DEFAULT_BUNDLE, bundle_metadata, bundle_of, find_bundle, find_weights
from bonemets.bundle.weights import describe_weights
from bonemets.cli.progress import counting, progress
from bonemets.errors import InputError

if TYPE_CHECKING:
    from bonemets.data import CTScan, PlanarScan
    from bonemets.engines.predictor import BundlePredictor, Prediction

CT_BUNDLE = "ct_mfp_deeplabv3plus_segmentation"
PICTURE_BUNDLE = "skin_sc_unext_segmentation"
# Channels of a gray picture that was saved as JPEG in color differ by less.
LEAST_COLOR, LEAST_COLORED_SHARE = 16, 0.05


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
            help=f"Bundle: its name or folder. Default: that of --weights, {CT_BUNDLE} for DICOM CT, {PICTURE_BUNDLE} "
            f"for pictures in color, {DEFAULT_BUNDLE}.",
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
) -> None:
    """Outline lesion candidates in bone scans and CT, and lesions in pictures of skin.

    Writes per study: mask.nii.gz, overlay.png, report.html and result.json; for DICOM input also seg.dcm (DICOM SEG)
    and sr.dcm (DICOM SR). Research use only, not for diagnosis.
    """
    if bundle is None and weights is not None:
        bundle = bundle_of(weights)
    bundle_dir = find_bundle(bundle or DEFAULT_BUNDLE)
    if bundle is not None:
        find_weights(bundle_dir, weights)
    check_writable(output)

    from bonemets.data import CTScan, read_ct_study, read_study

    scans: Iterable[PlanarScan | CTScan]
    if bundle is None:
        scans, name = read_any(source)
        bundle_dir = find_bundle(name)
    elif is_for_ct(bundle_dir):
        scans = read_ct_study(source)
    else:
        scans = read_study(source)
    weights_file = find_weights(bundle_dir, weights)

    # Only now, since torch and MONAI take seconds to load.
    typer.echo(f"Loading {bundle_dir.name}: {describe_weights(weights_file)} ...")
    from bonemets.engines.predictor import BundlePredictor
    from bonemets.reporting.study.ct_results import write_ct_study
    from bonemets.reporting.study.results import study_folder, write_study

    start = time.perf_counter()
    predictor = BundlePredictor(bundle_dir, device, weights_file)
    load_seconds = time.perf_counter() - start
    for scan in scans:
        folder = study_folder(output, scan)
        start = time.perf_counter()
        prediction = predict(predictor, scan, threshold)
        seconds = {"load_model": load_seconds, "segment": time.perf_counter() - start}
        if isinstance(scan, CTScan):
            result = write_ct_study(folder, scan, prediction, predictor, seconds)
        else:
            result = write_study(folder, scan, prediction, predictor, seconds)
        typer.echo(f"{folder.name}: {summary(result)} in {seconds['segment']:.1f} s -> {folder / 'report.html'}")
        for warning in result["warnings"]:
            typer.echo(f"  note: {warning}")


def predict(predictor: BundlePredictor, scan: PlanarScan | CTScan, threshold: float | None) -> Prediction:
    """Segment a scan, with a bar over the slices of a CT on a terminal: a whole one takes minutes."""
    from bonemets.data import CTScan

    if not isinstance(scan, CTScan):
        return predictor.predict(scan, threshold)
    with progress("Slices", without_terminal=False) as report:
        return predictor.predict(scan, threshold, counting(report))


def read_any(source: Path) -> tuple[Iterable[PlanarScan | CTScan], str]:
    """The scans of a source, and the bundle for them: bone scans, else a CT in DICOM, else pictures.

    Other formats than DICOM don't say what they hold: they are bone scans, unless they are pictures in color.

    Raises:
        InputError: nothing can be read, with the reason.
    """
    from bonemets.data import read_ct_study, read_study
    from bonemets.data.ct.study import holds_dicom_ct
    from bonemets.data.planar.nuclear import UnsuitableError

    try:
        scans = read_study(source)
    except UnsuitableError:
        if not (is_ct := holds_dicom_ct(source)):
            raise
    else:
        is_ct = all(scan.dataset is None for scan in scans) and holds_dicom_ct(source)
    if is_ct:
        typer.echo(f"CT, using {CT_BUNDLE}")
        return read_ct_study(source), CT_BUNDLE
    if all(is_in_color(scan) for scan in scans):
        typer.echo(f"In color, so no bone scan: using {PICTURE_BUNDLE} (--bundle {DEFAULT_BUNDLE} takes it as gray)")
        return scans, PICTURE_BUNDLE
    return scans, DEFAULT_BUNDLE


def summary(result: dict) -> str:
    """The findings in a few words, as "5 findings (anterior 2, posterior 3)" or "2 findings in 24 slices"."""
    found = len(result["findings"])
    words = f"{found} {'finding' if found == 1 else 'findings'}"
    if result["study"]["kind"] == "CT":
        slices = result["study"]["slices"]
        return f"{words} in {slices} {'slice' if slices == 1 else 'slices'}"
    views = [finding["view"] for finding in result["findings"]]
    return f"{words} ({', '.join(f'{view} {views.count(view)}' for view in result['study']['views'])})"


def is_in_color(scan: PlanarScan) -> bool:
    """Whether a scan was read from a picture that has colors in a notable share of its pixels."""
    if scan.format != "image":
        return False
    import numpy as np

    from bonemets.data.pictures import read_picture

    try:
        colors = read_picture(scan.path)
    except InputError:
        # More than 8 bits a pixel, or out of an archive: a picture of a scan.
        return False
    return float((np.ptp(colors, axis=-1) >= LEAST_COLOR).mean()) >= LEAST_COLORED_SHARE


def is_for_ct(bundle_dir: Path) -> bool:
    """Whether a bundle's network reads CT, as its metadata say."""
    image = bundle_metadata(bundle_dir).get("network_data_format", {}).get("inputs", {}).get("image", {})
    return bool(image.get("modality") == "CT")


def check_writable(output: Path) -> None:
    """Refuse an output folder that cannot be made or written, before any work is done and without making it.

    Raises:
        InputError: it cannot.
    """
    existing = next(path for path in (output, *output.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise InputError(f"cannot write to {output}: {existing} is not a folder; choose another --output")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {output}: {existing} is not writable; choose another --output")
