"""From images to outlined lesion candidates: what `bonemets segment` and `bonemets.segment` do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bonemets.bundle.folders import DEFAULT_BUNDLE, bundle_metadata, bundle_of, find_bundle, find_weights
from bonemets.bundle.weights import describe_weights
from bonemets.data.ct.scan import CTScan
from bonemets.data.files import check_writable
from bonemets.data.findings import CTFinding, Finding
from bonemets.data.headers import HEADER_ERRORS
from bonemets.data.modalities import CT, NM, PICTURE, bundle_modality, is_hounsfield, name_of, shows_colors
from bonemets.data.planar.geometry import VIEWS
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.prediction import Prediction
from bonemets.data.studies import read_images
from bonemets.errors import InputError

if TYPE_CHECKING:
    from bonemets.engines.predictor import BundlePredictor

BUNDLES = {
    NM: DEFAULT_BUNDLE,
    CT: "ct_mfp_deeplabv3plus_segmentation",
    PICTURE: "skin_sc_unext_segmentation",
}
"""The bundle that segments images of a modality where the user names none."""

CountSlices = Callable[[int, int], None]


@dataclass(frozen=True)
class Segmented:
    """One image and what a bundle found in it.

    Args:
        name: of the study; says nothing about the patient.
        modality: ``"NM"``, ``"CT"`` or ``"dermoscopy"``.
        findings: one per lesion component.
        record: the content of ``result.json``: study, model, findings, warnings, versions.
        folder: where the results were written; None without an output folder.
        prediction: probability and mask on the image's own grid; None where they were written to a folder, so that a
            cohort of CT does not fill the memory.
    """

    name: str
    modality: str
    findings: Sequence[Finding | CTFinding]
    record: dict[str, Any]
    folder: Path | None = None
    prediction: Prediction | None = None

    @property
    def mask(self) -> NDArray[np.uint8]:
        """1 where a lesion candidate is, (H, W, V) or, of a CT, (H, W, slices), as displayed."""
        if self.prediction is None:
            raise ValueError(f"the mask was written to {self.folder}; read it there, or segment without output")
        return self.prediction.mask

    def summary(self) -> str:
        """The findings in a few words, as "5 findings (anterior 2, posterior 3)" or "2 findings in 24 slices"."""
        found, study = len(self.findings), self.record["study"]
        words = f"{found} {'finding' if found == 1 else 'findings'}"
        if study["kind"] == "CT":
            return f"{words} in {study['slices']} {'slice' if study['slices'] == 1 else 'slices'}"
        views = [finding["view"] for finding in self.record["findings"]]
        return f"{words} ({', '.join(f'{view} {views.count(view)}' for view in study['views'])})"


def segment(
    source: str | Path | ArrayLike,
    output: str | Path | None = None,
    *,
    bundle: str | Path | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    threshold: float | None = None,
    spacing: Sequence[float] | None = None,
    views: Sequence[str] | None = None,
    report: Callable[[InputError], None] | None = None,
    message: Callable[[str], None] = lambda line: None,
    slices: Callable[[], AbstractContextManager[CountSlices | None]] = nullcontext,
) -> list[Segmented]:
    """Outline lesion candidates in bone scans and CT, and lesions in dermoscopic images. Research use only.

    Without `bundle` each image goes to the one for its modality (`BUNDLES`), as `bonemets.data.modalities` tells it;
    the label server asks the same place.

    Args:
        source: DICOM, NIfTI, NRRD or picture file, folder or zip archive; or an array as displayed: counts (H, W) or
            (H, W, V) of a bone scan, Hounsfield units (H, W, K) of a CT, or uint8 colors (H, W, 3).
        output: folder for the results, one sub-folder per study: ``mask.nii.gz``, ``overlay.png``, ``report.html``
            and ``result.json``; for DICOM also ``seg.dcm`` and ``sr.dcm``. Nothing is written by default.
        bundle: a bundle's name or folder.
        weights: weights file; the bundle's own by default. Without `bundle` it chooses the bundle too.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``, a GPU if there is one.
        threshold: decision threshold on the lesion probability, 0 to 1; the bundle's own by default.
        spacing: of an array: row and column spacing in mm, for a CT also the distance of the slices.
        views: of an array: the name of each view; by default anterior and posterior of two, unknown of one.
        report: called with the error for each study that cannot be segmented, which is then skipped; and, as
            `bonemets.data.planar.nuclear.UnsuitableError`, for what a folder holds beside images. By default the
            first study that cannot be segmented ends it.
        message: called with lines that tell how it goes.
        slices: gives a context manager around each CT, whose value is called with how many slices the network has
            seen and how many there are; `nullcontext` shows nothing.

    Returns:
        One result per study, in the order of their files.

    Raises:
        InputError: the source, bundle, weights or device cannot be used, or nothing can be written to `output`.
        ValueError: an array has a shape, spacing or views that do not fit.
    """
    if bundle is None and weights is not None:
        bundle = bundle_of(Path(weights))
    chosen = None if bundle is None else find_bundle(bundle)
    if chosen is not None:
        find_weights(chosen, None if weights is None else Path(weights))
    if output is not None:
        check_writable(Path(output))
    wished = None if chosen is None else _modality_read_by(chosen)
    images: Iterator[tuple[str, PlanarScan | CTScan]]
    if isinstance(source, (str, Path)):
        images = read_images(source, wished, report)
    else:
        images = iter([image_of_array(np.asarray(source), wished, spacing, views)])

    predictors: dict[str, tuple[BundlePredictor, float]] = {}
    done = []
    for modality, scan in images:
        folder = chosen or find_bundle(BUNDLES[modality])
        if folder.name not in predictors:
            if chosen is None and modality != NM:
                message(f"{name_of(modality, 2).capitalize() if modality != CT else CT}, using {folder.name}")
            predictors[folder.name] = _loaded(folder, weights, device, message)
        predictor, seconds = predictors[folder.name]
        try:
            result = _segment_one(predictor, scan, output, threshold, slices, seconds)
        except InputError as error:
            if report is None:
                raise
            report(error)
            continue
        except HEADER_ERRORS as error:
            # Whatever a header holds that nobody has thought of: the study is refused, in a line.
            if scan.dataset is None:
                raise
            problem = InputError(f"{scan.path}: its DICOM header cannot be used ({error}); export it again")
            if report is None:
                raise problem from error
            report(problem)
            continue
        done.append(result)
        took = result.record["seconds"]["segment"]
        where = "" if result.folder is None else f" -> {result.folder / 'report.html'}"
        message(f"{result.name}: {result.summary()} in {took:.1f} s{where}")
        for warning in result.record["warnings"]:
            message(f"  note: {warning}")
    return done


def load_predictor(
    bundle: str | Path = DEFAULT_BUNDLE, *, weights: str | Path | None = None, device: str = "auto"
) -> BundlePredictor:
    """A bundle with its weights, ready to segment many scans: ``load_predictor(name).predict(scan)``.

    Args:
        bundle: a bundle's name or folder.
        weights: weights file; the bundle's own by default.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``, a GPU if there is one.

    Returns:
        The predictor; its `read` reads a scan the way that the bundle wants it.

    Raises:
        InputError: there is no such bundle, weights file or device, or they do not fit each other.
    """
    from bonemets.engines.predictor import BundlePredictor

    return BundlePredictor(find_bundle(bundle), device, weights)


def image_of_array(
    pixels: NDArray, modality: str | None, spacing: Sequence[float] | None = None, views: Sequence[str] | None = None
) -> tuple[str, PlanarScan | CTScan]:
    """An array as an image, with its modality.

    Args:
        pixels: see `segment`.
        modality: what it is; by default the pixels tell: Hounsfield units are CT, colors are a picture.
        spacing: row and column spacing in mm, and the distance of the slices of a CT.
        views: names of the views.

    Raises:
        ValueError: shape, spacing or views do not fit.
    """
    if pixels.ndim not in (2, 3) or not pixels.size or not np.issubdtype(pixels.dtype, np.number):
        raise ValueError(f"source must be numbers of shape (H, W) or (H, W, V), got {pixels.dtype} {pixels.shape}")
    if not np.isfinite(pixels).all():
        raise ValueError("source has values that are no finite numbers; replace them")
    volume = pixels if pixels.ndim == 3 else pixels[..., None]
    in_color = volume.shape[2] == 3 and volume.dtype == np.uint8
    if modality is None:
        modality = PICTURE if in_color and shows_colors(volume) else CT if is_hounsfield(volume) else NM
    path, values = Path("array"), volume.astype(np.float32)
    if modality == CT:
        if spacing is None or len(spacing) != (2 if pixels.ndim == 2 else 3) or min(spacing) <= 0:
            raise ValueError("spacing of a CT must be the row, column and slice spacing in mm")
        row, column, step = (*spacing, 1.0)[:3]
        # As displayed: rows to the back (-y), columns to the left (-x), slices to the head.
        affine = np.array([[0, -column, 0, 0], [-row, 0, 0, 0], [0, 0, step, 0], [0, 0, 0, 1.0]])
        return CT, CTScan(values, path, "array", volume.shape, affine)
    if spacing is not None and (len(spacing) != 2 or min(spacing) <= 0):
        raise ValueError("spacing must be the row and column spacing in mm")
    at = (1.0, 1.0) if spacing is None else (float(spacing[0]), float(spacing[1]))
    if modality == PICTURE:
        if not in_color:
            raise ValueError(f"source must be uint8 colors (H, W, 3), got {pixels.dtype} {pixels.shape}")
        gray = (values @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        return PICTURE, PlanarScan(gray, ("unknown",), at, path, "image", colors=volume)
    if volume.shape[2] > len(VIEWS):
        raise ValueError(f"source of a bone scan must have one or two views, got {pixels.shape}")
    names = tuple(views) if views is not None else VIEWS if volume.shape[2] == len(VIEWS) else ("unknown",)
    return NM, PlanarScan(values, names, at, path, "array")


def _modality_read_by(bundle: Path) -> str:
    """The modality of a bundle's images; bone scans where its metadata do not say."""
    return bundle_modality(bundle_metadata(bundle)) or NM


def _loaded(
    folder: Path, weights: str | Path | None, device: str, message: Callable[[str], None]
) -> tuple[BundlePredictor, float]:
    file = find_weights(folder, None if weights is None else Path(weights))
    message(f"Loading {folder.name}: {describe_weights(file)} ...")
    start = time.perf_counter()
    predictor = load_predictor(folder, weights=file, device=device)
    return predictor, time.perf_counter() - start


def _segment_one(
    predictor: BundlePredictor,
    scan: PlanarScan | CTScan,
    output: str | Path | None,
    threshold: float | None,
    slices: Callable[[], AbstractContextManager[CountSlices | None]],
    load_seconds: float,
) -> Segmented:
    from bonemets.dicom.source_header import source_header
    from bonemets.reporting.study.ct_results import describe_ct, write_ct_study
    from bonemets.reporting.study.results import describe, study_folder, study_name, write_study

    folder = None if output is None else study_folder(Path(output), scan)
    if folder is not None:
        # Before the network's minutes: can SEG and SR refer to the images?
        for dataset in scan.datasets if isinstance(scan, CTScan) else [frame.dataset for frame in scan.frames]:
            source_header(dataset)
    start = time.perf_counter()
    if isinstance(scan, CTScan):
        with slices() as count:
            prediction = predictor.predict(scan, threshold, count or (lambda done, total: None))
    else:
        prediction = predictor.predict(scan, threshold)
    seconds = {"load_model": load_seconds, "segment": time.perf_counter() - start}
    model = predictor.record(prediction.threshold)
    findings: Sequence[Finding | CTFinding]
    if isinstance(scan, CTScan):
        modality = CT
        if folder is None:
            record, findings, _ = describe_ct(scan, prediction, model, seconds)
        else:
            record, findings = write_ct_study(folder, scan, prediction, model, seconds)
    else:
        modality = PICTURE if predictor.in_color else NM
        colors = predictor.colors(scan) if predictor.in_color else None
        if folder is None:
            record, findings = describe(scan, prediction, model, seconds, in_color=predictor.in_color)
        else:
            record, findings = write_study(folder, scan, prediction, model, seconds, colors=colors)
    name = study_name(scan) if folder is None else folder.name
    return Segmented(name, modality, findings, record, folder, prediction if folder is None else None)
