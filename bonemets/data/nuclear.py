"""Planar nuclear-medicine DICOM: which frame shows which view, and its pixels as displayed."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bonemets.data.geometry import VIEWS, view_from_name
from bonemets.data.planar import PlanarScan, SourceFrame
from bonemets.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

NM_STORAGE = "1.2.840.10008.5.1.4.1.1.20"
TECHNETIUM_KEV = 140.5

# What pydicom and its decoders raise on files that are cut short, malformed or in a syntax without a decoder.
_DECODING_ERRORS = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    struct.error,
)  # fmt: skip
_NOT_PLANAR = ("DYNAMIC", "GATED", "TOMO", "RECON")
# (coding scheme, value) of CID 26; SRT is the coding that DICOM used before SNOMED CT.
_VIEW_CODES = {
    ("SCT", "399321004"): "anterior", ("SRT", "G-5215"): "anterior",
    ("SCT", "399001007"): "posterior", ("SRT", "G-5216"): "posterior",
}  # fmt: skip


class UnsuitableError(InputError):
    """A readable DICOM object that is something else than a planar scan; skipped where a folder holds a planar one."""


def read_dicom(path: Path) -> PlanarScan:
    """Read a planar NM object: one frame, or an anterior and a posterior one.

    The view of a frame comes from its header (see `frame_views`). Of several energy windows the one that holds the
    photopeak of 99mTc is taken (else the first). A frame that its header says to be stored feet first is turned.
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
    images = [pixels[frame.number - 1][:: -1 if frame.flipped else 1] for frame in frames]
    return PlanarScan(
        pixels=np.ascontiguousarray(np.stack(images, axis=-1)),
        views=views,
        spacing=_spacing(dataset),
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
    except _DECODING_ERRORS as error:
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
    except _DECODING_ERRORS as error:
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
        frames = [SourceFrame(dataset, number, _stored_feet_first(dataset, number)) for number in chosen]
    except InputError:
        raise
    except _DECODING_ERRORS as error:
        raise InputError(f"{path}: the DICOM header is malformed; export it again") from error
    if len(named) == 2 and named[0] == named[1]:
        raise UnsuitableError(
            f"{path}: both frames are {named[0]} views; a planar scan has one anterior and one posterior"
        )
    if named == ["posterior", "anterior"]:
        return frames[::-1], VIEWS
    return frames, tuple(named)


def frame_views(dataset: Dataset, numbers: list[int]) -> list[str]:
    """Which view each frame shows, from the best evidence that the header holds.

    In this order: the detector's view code (or its text); the detector's image orientation; the patient orientation,
    the vendor's detector number and the words ``ANT``/``POST`` in the image and series descriptions, which can only
    speak for an object with one frame. Two frames without any of these are detector 1 = anterior and detector 2 =
    posterior, the order of every two-headed camera. A single frame without evidence is ``"unknown"``: detector
    vectors count from 1 in each object, so 1 alone says nothing, while 2 is a posterior view.

    Args:
        dataset: a DICOM object.
        numbers: frame numbers, from 1.
    """
    detectors = [_detector_number(dataset, number) for number in numbers]
    views = [_coded_view(dataset, detector) for detector in detectors]
    if None in views:
        oriented = [_oriented_view(dataset, detector) for detector in detectors]
        # Some vendors copy one orientation to both detectors: no evidence then.
        if len(set(oriented)) == len(oriented):
            views = [coded or by_orientation for coded, by_orientation in zip(views, oriented, strict=True)]
    if len(views) == 1:
        return [views[0] or _single_frame_view(dataset, detectors[0])]
    other = {"anterior": "posterior", "posterior": "anterior"}
    first, second = views
    if first is None and second is None:
        return list(VIEWS) if detectors[0] <= detectors[1] else list(VIEWS[::-1])
    return [first or other[second or ""], second or other[first or ""]]


def _check_kind(dataset: Dataset, path: Path | str) -> None:
    modality = str(dataset.get("Modality", "") or "")
    if modality != "NM" and dataset.get("SOPClassUID") != NM_STORAGE:
        kind = f"of modality {modality}" if modality.isalnum() else "of no stated modality"
        # The one other kind that the project has a network for.
        ct = "; for CT see docs/README.md of ct_mfp_deeplabv3plus_segmentation" if modality == "CT" else ""
        raise UnsuitableError(
            f"{path}: is a DICOM object {kind}; give a planar nuclear-medicine bone scan (modality NM){ct}"
        )
    image_type = [str(value).upper() for value in _values(dataset.get("ImageType"))]
    if any(value.startswith(_NOT_PLANAR) for value in image_type):
        raise UnsuitableError(f"{path}: is a dynamic or tomographic NM object; give the planar whole-body scan")
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise InputError(f"{path}: has no pixel data; export the images, not only the headers")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise UnsuitableError(f"{path}: is a color screenshot; give the scan itself, with one value (counts) per pixel")


def _photopeak_frames(dataset: Dataset) -> list[int]:
    """Frame numbers of the energy window that holds the photopeak, or of the first window."""
    count = int(dataset.get("NumberOfFrames") or 1)
    window_of_frame = [int(value) for value in _values(dataset.get("EnergyWindowVector"))]
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


def _detector_number(dataset: Dataset, frame: int) -> int:
    vector = _values(dataset.get("DetectorVector"))
    return int(vector[frame - 1]) if len(vector) >= frame else frame


def _detector(dataset: Dataset, number: int) -> Dataset | None:
    detectors = dataset.get("DetectorInformationSequence") or []
    return detectors[number - 1] if 1 <= number <= len(detectors) else None


def _coded_view(dataset: Dataset, detector: int) -> str | None:
    item = _detector(dataset, detector)
    codes = (item.get("ViewCodeSequence") if item is not None else None) or dataset.get("ViewCodeSequence") or []
    for code in codes:
        view = _VIEW_CODES.get((str(code.get("CodingSchemeDesignator")), str(code.get("CodeValue"))))
        meaning = str(code.get("CodeMeaning") or "")
        oblique = any(word in meaning.lower() for word in ("left", "right", "oblique", "lateral"))
        view = view or (None if oblique else view_from_name(meaning))
        if view:
            return view
    return None


def _orientation(dataset: Dataset, detector: int) -> np.ndarray | None:
    """Row and column direction (2, 3) of a detector's image in LPS, where they are those of a coronal picture."""
    item = _detector(dataset, detector)
    values = _values(item.get("ImageOrientationPatient")) if item is not None else []
    values = values or _values(dataset.get("ImageOrientationPatient"))
    if len(values) != 6:
        return None
    directions = np.array([float(value) for value in values]).reshape(2, 3)
    return directions if abs(directions[0, 0]) > 0.9 and abs(directions[1, 2]) > 0.9 else None


def _oriented_view(dataset: Dataset, detector: int) -> str | None:
    directions = _orientation(dataset, detector)
    if directions is None:
        return None
    return "anterior" if directions[0, 0] > 0 else "posterior"


def _single_frame_view(dataset: Dataset, detector: int) -> str:
    across = (_values(dataset.get("PatientOrientation")) or [""])[0]
    by_orientation = {"L": "anterior", "R": "posterior"}.get(str(across)[:1])
    texts = [str(dataset.get(keyword) or "") for keyword in ("ViewPosition", "ImageID", "SeriesDescription")]
    named = next((view for view in map(view_from_name, texts) if view), None)
    return by_orientation or named or _vendor_view(dataset) or ("posterior" if detector == 2 else "unknown")


def _vendor_view(dataset: Dataset) -> str | None:
    """GE Genie writes each head's view as an object of its own and keeps the head's number in a private element."""
    try:
        block, study = dataset.private_block(0x0011, "GEMS_GENIE_1"), dataset.private_block(0x0009, "GEMS_GENIE_1")
        heads, head = int(study[0x27].value), int(block[0x15].value)
    except (KeyError, TypeError, ValueError):
        return None
    return {1: "anterior", 2: "posterior"}.get(head) if heads == 2 else None


def _stored_feet_first(dataset: Dataset, frame: int) -> bool:
    directions = _orientation(dataset, _detector_number(dataset, frame))
    if directions is not None:
        return bool(directions[1, 2] > 0)
    down = _values(dataset.get("PatientOrientation"))
    return len(down) == 2 and str(down[1])[:1] == "H"


def decode_pixels(dataset: Dataset, path: Path) -> np.ndarray:
    """All frames, (F, H, W) float32, rescaled where the header asks for it.

    Raises:
        InputError: if the pixel data is cut short or cannot be decompressed.
    """
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    compressed = syntax is not None and syntax.is_compressed and not syntax.is_deflated
    try:
        pixels = dataset.pixel_array.astype(np.float32)
        slope = float(dataset.get("RescaleSlope") or 1.0)
        intercept = float(dataset.get("RescaleIntercept") or 0.0)
    except _DECODING_ERRORS as error:
        if compressed:
            advice = "decompress it (for instance gdcmconv --raw) or export it again"
            raise InputError(f"{path}: its {syntax.name} pixel data cannot be decompressed; {advice}") from error
        raise InputError(f"{path}: its pixel data is cut short or malformed; export it again") from error
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    return pixels * np.float32(slope) + np.float32(intercept)


def _spacing(dataset: Dataset) -> tuple[float, float]:
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        values = _values(dataset.get(keyword))
        if len(values) == 2 and min(float(value) for value in values) > 0:
            return float(values[0]), float(values[1])
    return 1.0, 1.0


def _values(value: object) -> list:
    """A header value as a list, whether it has none, one or several."""
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)
