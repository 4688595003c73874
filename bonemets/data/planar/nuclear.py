"""Planar nuclear-medicine DICOM: which frame shows which view, and its pixels as displayed."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bonemets.data.headers import header_numbers, header_texts, pixel_spacing
from bonemets.data.planar.geometry import VIEWS, Layout
from bonemets.data.planar.nuclear_views import frame_layouts, frame_views, header_values, lies_feet_first
from bonemets.data.planar.scan import PlanarScan, SourceFrame
from bonemets.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

NM_STORAGE = "1.2.840.10008.5.1.4.1.1.20"
TECHNETIUM_KEV = 140.5

# What pydicom and its decoders raise on files that are cut short, malformed or in a syntax without a decoder.
DECODING_ERRORS = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    struct.error,
)  # fmt: skip
# A row belongs to the body from this share of the row with most counts; an upright body has this share of its counts
# in its upper half.
_BODY_SHARE, _UPRIGHT_SHARE = 0.02, 0.6
_NOT_PLANAR = ("DYNAMIC", "GATED", "TOMO", "RECON")


class UnsuitableError(InputError):
    """A readable DICOM object that is something else than a planar scan; skipped where a folder holds a planar one."""


def read_dicom(path: Path) -> PlanarScan:
    """Read a planar NM object: one frame, or an anterior and a posterior one.

    The view of a frame comes from its header (see `frame_views`). Of several energy windows the one that holds the
    photopeak of 99mTc is taken (else the first). A frame that its header says to be stored turned or mirrored is
    displayed as its camera sees the patient, head first (see `frame_layouts`).
    Rescale slope and intercept are applied; signed and unsigned pixels and every transfer syntax that pydicom and
    pylibjpeg decode are read.

    Args:
        path: the file.

    Raises:
        InputError: if it is no DICOM file, is cut short, or cannot be decoded.
        UnsuitableError: if it is another kind of object (CT, a report, a dynamic or tomographic study).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = load_dataset(path)
        frames, views = select_frames(dataset, path)
        pixels = decode_pixels(dataset, path)
    images = [frame.layout.show(pixels[frame.number - 1]) for frame in frames]
    if len({image.shape for image in images}) > 1:
        raise InputError(f"{path}: its frames are turned by different angles; export each view upright")
    spacing = pixel_spacing(dataset) or (1.0, 1.0)
    return PlanarScan(
        pixels=np.ascontiguousarray(np.stack(images, axis=-1)),
        views=views,
        spacing=spacing[::-1] if frames[0].layout.transpose else spacing,
        path=path,
        format="dicom",
        dataset=dataset,
        frames=tuple(frames),
    )


def load_dataset(path: Path) -> Dataset:
    """The data set of a DICOM file, with or without the 128-byte preamble.

    Raises:
        InputError: if it is not a DICOM file or is cut short.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    damaged = f"{path}: the DICOM file is damaged or cut short; export it again"
    try:
        dataset = pydicom.dcmread(path)
    except InvalidDicomError:
        return _load_bare(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except PermissionError as error:
        raise InputError(f"{path}: cannot be opened; check its permissions") from error
    except DECODING_ERRORS as error:
        raise InputError(damaged) from error
    # pydicom gives up silently, with nothing read, where compressed pixel data has no end.
    if len(dataset) == 0:
        raise InputError(damaged)
    return dataset


def _load_bare(path: Path) -> Dataset:
    """Data sets written without file meta information, as old cameras do; text would parse as nonsense."""
    import pydicom

    message = f"{path}: is not a DICOM file; give a DICOM, NIfTI, NRRD or PNG file, or a folder or zip of DICOM files"
    try:
        dataset = pydicom.dcmread(path, force=True)
        if "SOPClassUID" not in dataset or "Modality" not in dataset:
            raise InputError(message)
        if "TransferSyntaxUID" not in dataset.file_meta:
            little, implicit = dataset.original_encoding[1], dataset.original_encoding[0]
            syntax = pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian if implicit else syntax
    except InputError:
        raise
    except DECODING_ERRORS as error:
        raise InputError(message) from error
    return dataset


def select_frames(dataset: Dataset, path: Path | str = "the DICOM object") -> tuple[list[SourceFrame], tuple[str, ...]]:
    """The frames that make up the planar scan, anterior before posterior, and their views.

    Args:
        dataset: a DICOM object.
        path: what to call it in messages.

    Raises:
        UnsuitableError: if the object is not a planar scan.
        InputError: if it has no pixel data, or its header cannot be read.
    """
    try:
        _check_kind(dataset, path)
        chosen = _photopeak_frames(dataset)
        if len(chosen) > 2:
            raise UnsuitableError(
                f"{path}: has {len(chosen)} frames; a planar scan has one or two (anterior, posterior)"
            )
        named = frame_views(dataset, chosen)
        layouts = frame_layouts(dataset, chosen, named)
        if layouts is None:
            layouts = [_layout_of_feet_first(dataset, chosen, path)] * len(chosen)
        frames = [SourceFrame(dataset, number, layout) for number, layout in zip(chosen, layouts, strict=True)]
    except InputError:
        raise
    except DECODING_ERRORS as error:
        raise InputError(f"{path}: the DICOM header is malformed; export it again") from error
    if len(named) == 2 and named[0] == named[1]:
        raise UnsuitableError(
            f"{path}: both frames are {named[0]} views; a planar scan has one anterior and one posterior"
        )
    if named == ["posterior", "anterior"]:
        return frames[::-1], VIEWS
    return frames, tuple(named)


def _layout_of_feet_first(dataset: Dataset, numbers: list[int], path: Path | str) -> Layout:
    """How frames without orientation are stored where the patient lay feet first.

    The detector then sees the patient turned by 180 degrees. Cameras that turn a whole-body scan back themselves are
    told by its pixels: an upright one has 72 % of its counts in the upper half of the body (NEMA's reference scan).
    """
    if not lies_feet_first(dataset):
        return Layout()
    if "WHOLE BODY" in header_values(dataset.get("ImageType")):
        pixels = decode_pixels(dataset, Path(path))[[number - 1 for number in numbers]]
        profile = np.maximum(pixels, 0).sum(axis=(0, 2))
        rows = np.flatnonzero(profile > _BODY_SHARE * profile.max())
        body = profile[rows[0] : rows[-1] + 1] if len(rows) else profile
        if body[: len(body) // 2].sum() > _UPRIGHT_SHARE * body.sum():
            return Layout()
    return Layout(flip_rows=True, flip_columns=True)


def _check_kind(dataset: Dataset, path: Path | str) -> None:
    modality = str(dataset.get("Modality", "") or "")
    if modality != "NM" and dataset.get("SOPClassUID") != NM_STORAGE:
        kind = f"of modality {modality}" if modality.isalnum() else "of no stated modality"
        # The one other kind that the project has a network for.
        ct = "; for CT see docs/README.md of ct_mfp_deeplabv3plus_segmentation" if modality == "CT" else ""
        raise UnsuitableError(
            f"{path}: is a DICOM object {kind}; give a planar nuclear-medicine bone scan (modality NM){ct}"
        )
    image_type = [str(value).upper() for value in header_values(dataset.get("ImageType"))]
    if any(value.startswith(_NOT_PLANAR) for value in image_type):
        raise UnsuitableError(f"{path}: is a dynamic or tomographic NM object; give the planar whole-body scan")
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise InputError(f"{path}: has no pixel data; export the images, not only the headers")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise UnsuitableError(f"{path}: is a color screenshot; give the scan itself, with one value (counts) per pixel")


def _photopeak_frames(dataset: Dataset) -> list[int]:
    """Frame numbers of the energy window that holds the photopeak, or of the first window."""
    count = int(dataset.get("NumberOfFrames") or 1)
    window_of_frame = [int(value) for value in header_values(dataset.get("EnergyWindowVector"))]
    if len(window_of_frame) != count or len(set(window_of_frame)) == 1:
        return list(range(1, count + 1))
    chosen = min(window_of_frame)
    for number, window in enumerate(dataset.get("EnergyWindowInformationSequence") or [], start=1):
        ranges = window.get("EnergyWindowRangeSequence") or []
        limits = [(r.get("EnergyWindowLowerLimit"), r.get("EnergyWindowUpperLimit")) for r in ranges]
        if number in window_of_frame and any(low and high and low <= TECHNETIUM_KEV <= high for low, high in limits):
            chosen = number
            break
    return [frame for frame, window in enumerate(window_of_frame, start=1) if window == chosen]


def decode_pixels(dataset: Dataset, path: Path) -> np.ndarray:
    """All frames, (F, H, W) float32, rescaled where the header asks for it.

    Raises:
        InputError: if the pixel data is cut short or cannot be decompressed.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    compressed = syntax is not None and syntax.is_compressed and not syntax.is_deflated
    try:
        pixels = dataset.pixel_array.astype(np.float32)
    except DECODING_ERRORS as error:
        if compressed:
            advice = "decompress it (for instance gdcmconv --raw) or export it again"
            raise InputError(f"{path}: its {syntax.name} pixel data cannot be decompressed; {advice}") from error
        raise InputError(f"{path}: its pixel data is cut short or malformed; export it again") from error
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    slope, intercept = _rescale(dataset, "RescaleSlope", path) or 1.0, _rescale(dataset, "RescaleIntercept", path)
    pixels = pixels * np.float32(slope) + np.float32(intercept)
    if not np.isfinite(pixels).all():
        raise InputError(f"{path}: holds pixels that are no finite numbers; export it again")
    return pixels


def _rescale(dataset: Dataset, keyword: str, path: Path) -> float:
    if not header_texts(dataset, keyword):
        return 0.0
    numbers = header_numbers(dataset, keyword)
    if len(numbers) != 1:
        raise InputError(f"{path}: its {keyword} is no finite number; export it again")
    return numbers[0]
