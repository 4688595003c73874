"""Read every case once, before anything is written, and report all that is wrong with them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from bonemets.data.adapters.base import Case, CaseError, Problem, relative
from bonemets.data.grids import load_nifti
from bonemets.data.label_values import few, rounded
from bonemets.data.lists.leakage import NEAR_DUPLICATE, THUMBNAIL, similarity
from bonemets.data.open_picture import exif_orientation, mask_values
from bonemets.data.planar.formats import IMAGE_SUFFIXES, NIFTI_SUFFIXES
from bonemets.data.planar.scan import PlanarScan
from bonemets.data.planar.study import read_planar
from bonemets.errors import InputError

Track = Callable[[Sequence[Case]], Iterable[Case]]

_LABEL_VALUES = ({0.0, 1.0, 2.0}, {0.0, 255.0})
# Images are compared at twice the size of the thumbnails that `similarity` makes: 64 KB each.
_REDUCED = (2 * THUMBNAIL[0], 2 * THUMBNAIL[1])
# Rows of the similarity matrix that are computed at a time: bounds its memory to some 150 MB for 6,000 images.
_BLOCK = 1024


@dataclass(frozen=True)
class Checked:
    """A case that was read.

    Args:
        case: the case; one view.
        has_lesion: whether its label map has a lesion, or its boxes something abnormal.
        has_ignored: whether its label map has pixels to ignore.
        digest: SHA-256 of the image's pixels.
        reduced: the image, made small.
    """

    case: Case
    has_lesion: bool
    has_ignored: bool
    digest: str
    reduced: np.ndarray


@dataclass(frozen=True)
class Duplicate:
    """Two images that are the same or nearly so."""

    first: Case
    second: Case
    text: str


def read_case(case: Case) -> tuple[PlanarScan, np.ndarray | None]:
    """A case's image and label map, (H, W, V), as displayed; of the case's view only where it names a frame.

    Raises:
        InputError: if a file cannot be read.
    """
    scan = case.read_image() if case.read_image else read_planar(case.image)
    label = None
    if case.label is not None:
        label = case.read_label(scan) if case.read_label else _read_label(case.label, scan)
        label = rounded(label[..., None] if label.ndim == 2 else label)
    if case.frame is not None:
        scan = single_view(scan, case.frame)
        label = label if label is None else label[..., case.frame : case.frame + 1]
    return scan, label


def single_view(scan: PlanarScan, frame: int) -> PlanarScan:
    """One view of a scan as a scan of its own, with the affine of that view."""
    frames = scan.frames[frame : frame + 1]
    return PlanarScan(
        scan.pixels[..., frame : frame + 1], (scan.views[frame],), scan.spacing, scan.path, scan.format, frames=frames
    )


def check_cases(cases: Sequence[Case], source: Path, track: Track = iter) -> tuple[list[Checked], list[Problem]]:
    """Read all cases; a case whose files hold two views becomes two.

    Args:
        cases: what an adapter found.
        source: the data set's folder, for messages.
        track: wraps the cases to show progress.

    Returns:
        The cases that can be read, one per view, and the problems of all others.
    """
    checked: list[Checked] = []
    problems: list[Problem] = []
    for case in track(cases):
        try:
            scan, label = read_case(case)
        except InputError as error:
            problems.append(_refused(case, source, error))
            continue
        found = list(_problems(case, scan, label, source))
        problems += found
        if not found:
            for single in _views(case, scan):
                index = single.frame or 0
                pixels = scan.pixels[..., index]
                mask = None if label is None else label[..., index]
                ignored = mask is not None and bool((mask == 2).any())
                checked.append(Checked(single, _has_lesion(single, mask), ignored, _digest(pixels), _reduce(pixels)))
    return checked, problems


def find_duplicates(checked: Sequence[Checked], threshold: float = NEAR_DUPLICATE) -> list[Duplicate]:
    """Images whose pixels are the same, and near-duplicates that belong to different patients.

    Args:
        checked: cases, one per view.
        threshold: similarity (`bonemets.data.lists.leakage.similarity`) from which two images count as the same.
    """
    duplicates = []
    first_of: dict[str, Case] = {}
    for item in checked:
        first = first_of.setdefault(item.digest, item.case)
        if first is not item.case:
            duplicates.append(Duplicate(first, item.case, "holds the same pixels"))
    reduced = [item.reduced for item in checked]
    for start in range(0, len(checked), _BLOCK):
        alike = similarity(reduced[start : start + _BLOCK], reduced[start:])
        for row, column in np.argwhere(np.triu(alike >= threshold, k=1)):
            one, other = checked[start + row], checked[start + column]
            if one.case.patient != other.case.patient and one.digest != other.digest:
                text = f"nearly has the same pixels (similarity {alike[row, column]:.2f})"
                duplicates.append(Duplicate(one.case, other.case, text))
    return duplicates


def duplicate_problems(duplicates: Iterable[Duplicate], source: Path) -> list[Problem]:
    """A problem per duplicate."""
    advice = "remove one, or keep them in one fold with --duplicates group"
    return [
        Problem(
            "duplicate", relative(d.second.image, source), f"{d.text} as {relative(d.first.image, source)}; {advice}"
        )
        for d in duplicates
    ]


def patient_problems(cases: Iterable[Case], source: Path) -> list[Problem]:
    """Patients whom the source has in several of its parts."""
    parts: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        training = "training part" if case.fold is None else f"fold {case.fold}"
        parts[case.patient].add("test part" if case.test else training)
    return [
        Problem("duplicate", patient, f"is in the {' and the '.join(sorted(found))}; split patients, not images")
        for patient, found in parts.items()
        if len(found) > 1
    ]


def _problems(case: Case, scan: PlanarScan, label: np.ndarray | None, source: Path) -> Iterable[Problem]:
    height, width, views = scan.shape
    for x_min, y_min, x_max, y_max in case.boxes or ():
        if not (0 <= x_min < x_max <= width and 0 <= y_min < y_max <= height):
            text = f"has the box {x_min:g}, {y_min:g}, {x_max:g}, {y_max:g}, outside the image of {width} x {height}"
            yield Problem("boxes", relative(case.image, source), f"{text}; fix the box")
    if label is None or case.label is None:
        return
    file = relative(case.label, source)
    if label.shape != scan.shape:
        sizes = _size(label.shape), _size(scan.shape)
        text = f"is {sizes[0]} (rows x columns), its image {sizes[1]}; export it again at the image's size"
        yield Problem("size", file, text)
    values = set(np.unique(label).tolist())
    if case.label_values is not None and not values <= case.label_values:
        unnamed = few(sorted(values - case.label_values))
        text = f"holds {unnamed}, which the data set does not name; name it or correct the mask"
        yield Problem("values", file, text)
    elif not any(values <= allowed for allowed in _LABEL_VALUES):
        lossy = "; a JPEG cannot hold a mask, export it as PNG" if file.lower().endswith((".jpg", ".jpeg")) else ""
        yield Problem(
            "values", file, f"holds {few(sorted(values))}; a mask has 0 and 255, or 0, 1 and 2 (ignore){lossy}"
        )


def _read_label(path: Path, scan: PlanarScan) -> np.ndarray:
    if path.name.lower().endswith(IMAGE_SUFFIXES):
        mask = mask_values(path)[..., None]
        _check_turn(path, mask, scan)
        return mask
    label = read_planar(path)
    if path.name.lower().endswith(NIFTI_SUFFIXES) and not np.isfinite(load_nifti(path)[0]).all():
        raise CaseError("values", f"{path}: holds values that are no numbers (NaN); a mask has 0 and 1, or 0 and 255")
    if label.grid is not None and scan.grid is not None and label.shape == scan.shape:
        size = np.linalg.norm(scan.grid.affine[:3, :2], axis=0).max() or 1.0
        # Half a pixel at the far corner; programs round what they write.
        apart = np.abs(label.grid.affine - scan.grid.affine)[:3, [0, 1, 3]] @ [*scan.grid.shape[:2], 1]
        if apart.max() > size / 2:
            text = f"lies otherwise than its image {scan.path.name} (their affines differ); export it again"
            raise CaseError("size", f"{path}: {text}")
    return label.pixels


def _check_turn(path: Path, mask: np.ndarray, scan: PlanarScan) -> None:
    """Refuse a mask of a picture that is stored turned, where nothing tells whether it was drawn on it upright."""
    turned = exif_orientation(scan.path) if scan.format == "image" else 1
    height, width = scan.shape[:2]
    # From 5 on, rows and columns change places: the size then tells.
    by_size = turned > 4 and height != width and mask.shape == scan.shape
    if turned > 1 and exif_orientation(path) != turned and not by_size:
        text = f"its image {scan.path.name} is stored turned (EXIF orientation {turned}), and nothing tells whether the"
        raise CaseError("size", f"{path}: {text} mask was drawn on it upright; save both upright")


def _views(case: Case, scan: PlanarScan) -> list[Case]:
    if len(scan.views) == 1:
        view = scan.views[0] if case.view == "unknown" else case.view
        return [replace(case, view=view)]
    return [replace(case, view=view, frame=i, name=f"{case.name}/{view}") for i, view in enumerate(scan.views)]


def _refused(case: Case, source: Path, error: InputError) -> Problem:
    """The problem that an error tells, with the file that it is about."""
    file, message = case.image, str(error)
    for path in (case.label, case.image):
        if path is not None and message.startswith(f"{path}: "):
            file, message = path, message.removeprefix(f"{path}: ")
            break
    return Problem(error.kind if isinstance(error, CaseError) else "unreadable", relative(file, source), message)


def _has_lesion(case: Case, mask: np.ndarray | None) -> bool:
    if mask is None:
        return bool(case.details.get("abnormal", bool(case.boxes)))
    return bool(np.isin(mask, (1, 255)).any())


def _digest(pixels: np.ndarray) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _reduce(pixels: np.ndarray) -> np.ndarray:
    small = Image.fromarray(pixels.astype(np.float32)).resize(_REDUCED[::-1], Image.Resampling.BOX)
    return np.asarray(small)


def _size(shape: Sequence[int]) -> str:
    height, width, views = shape
    return f"{height} x {width}" + (f" x {views} views" if views > 1 else "")
