"""LabelMe: polygons drawn over pictures, one JSON file per picture.

Layout::

    SOURCE/…/NAME.json         with imagePath, shapes, imageWidth, imageHeight
    SOURCE/…/NAME.png          the picture that imagePath names (relative to the JSON file); or embedded as imageData

How shapes become a mask, in this order:

1. Every shape is filled as LabelMe fills it (outline included): polygon, rectangle, circle, and ``mask``. Points and
   lines have no area and are skipped, and counted.
2. Shapes that share a ``group_id`` and a label are one region: larger ones first, a shape that lies wholly inside
   what the group has covered so far is a **hole** in it, any other is added. One that is drawn twice counts once.
   Shapes without group are added.
3. A shape labeled ``hole``, ``background`` or ``_background_`` clears what lies under it.
4. A shape labeled ``ignore``, ``uncertain`` or ``equivocal`` becomes 2, where there is no lesion.

All other labels are lesions; with ``--lesion-label NAME`` (repeated) only those are, and the rest is background. The
patient comes from ``--patient-pattern`` or ``--patient-table``, else from the picture's folder below SOURCE, else from
its name without ``ant``/``post``.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from bonemets.data.adapters.base import Adapter, Case, CaseError, Collection, Options, Problem, list_files, relative
from bonemets.data.lists.pairing import converted_name
from bonemets.data.lists.patients import PatientRule
from bonemets.data.open_picture import open_picture
from bonemets.data.planar.formats import IMAGE_SUFFIXES
from bonemets.data.planar.geometry import view_from_name
from bonemets.data.planar.scan import PlanarScan
from bonemets.errors import InputError

HOLE_LABELS = ("hole", "background", "_background_")
IGNORE_LABELS = ("ignore", "uncertain", "equivocal")
_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_FEWEST_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}


@dataclass(frozen=True)
class Drawing:
    """The content of one LabelMe file.

    Args:
        path: the JSON file.
        image: the picture that it names.
        shapes: its shapes.
        data: the embedded picture in base64, or None.
        size: rows and columns of the picture when it was drawn on; None where the file does not say.
    """

    path: Path
    image: Path
    shapes: list[dict[str, Any]]
    data: str | None
    size: tuple[int, int] | None = None


def collect(source: Path, options: Options) -> Collection:
    """Find the drawings and their pictures."""
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give the folder with LabelMe's JSON files")
    patients = PatientRule(source, options)
    result = Collection()
    labels: Counter[str] = Counter()
    owner: dict[Path, Path] = {}
    drawings: list[Drawing] = []
    for path in list_files(source, (".json",)):
        try:
            drawing = read_drawing(path)
        except InputError as error:
            result.problems.append(Problem("unreadable", relative(path, source), str(error).removeprefix(f"{path}: ")))
            continue
        labels.update(f"{shape['label']} ({shape['shape_type']})" for shape in drawing.shapes)
        if not drawing.image.is_file() and drawing.data is None:
            text = f"its picture {drawing.image.name} is missing, and none is embedded; put it beside the JSON file"
            result.problems.append(Problem("pair", relative(path, source), text))
        elif drawing.image in owner:
            text = f"draws on the same picture as {relative(owner[drawing.image], source)}; merge or remove one of them"
            result.problems.append(Problem("pair", relative(path, source), text))
        else:
            owner[drawing.image] = path
            drawings.append(drawing)
    patients.see([drawing.image for drawing in drawings])
    result.cases = [_case(drawing, source, options, patients) for drawing in drawings]
    names = {label.rpartition(" (")[0] for label in labels}
    unknown = [name for name in options.lesion_labels if name not in names]
    if unknown and names:
        known = ", ".join(sorted(names))
        raise InputError(f"{source}: no shape is labeled {', '.join(unknown)}; the labels are: {known}")
    drawn = {image.resolve() for image in owner}
    result.problems += [
        Problem(
            "pair",
            relative(path, source),
            "is a picture without a JSON file; save it in LabelMe (without shapes if healthy)",
        )
        for path in list_files(source, IMAGE_SUFFIXES)
        if path.resolve() not in drawn
    ]
    if labels:
        result.notes.append("shapes: " + ", ".join(f"{count} {name}" for name, count in sorted(labels.items())))
    result.problems += patients.problems
    result.patient_rule = patients.rule
    return result


def read_drawing(path: Path) -> Drawing:
    """Read and check a LabelMe file.

    Raises:
        InputError: if it is no LabelMe file or a shape is malformed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        named = path.parent / str(document["imagePath"]).replace("\\", "/")
        # The path of the machine that it was drawn on, unless the picture lies there too.
        image = named if named.is_file() else path.parent / named.name
        shapes = [_checked_shape(shape) for shape in document["shapes"]]
        data = document.get("imageData") or None
        height, width = document.get("imageHeight"), document.get("imageWidth")
        size = (int(height), int(width)) if height and width else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: is not a LabelMe file ({type(error).__name__}: {error}); save it again in LabelMe"
        ) from error
    return Drawing(path, image, shapes, data, size)


def check_size(drawing: Drawing, size: tuple[int, int]) -> None:
    """Refuse a drawing whose picture was resized, cropped, turned or replaced after it was drawn on.

    Raises:
        CaseError: if the sizes differ or, where the drawing does not say, if a shape lies outside the picture.
    """
    height, width = size
    if drawing.size is not None and drawing.size != size:
        rows, columns = drawing.size
        text = f"was drawn on {rows} x {columns} pixels (rows x columns), its picture has {height} x {width}"
        raise CaseError("size", f"{drawing.path}: {text}; draw on this picture, or put the old one back")
    for shape in drawing.shapes:
        x, y = np.array(shape["points"], dtype=float).reshape(-1, 2).T
        # LabelMe keeps points inside the picture; older drawings may pass an edge by a little.
        outside = x.max() < 0 or y.max() < 0 or x.min() > width or y.min() > height
        beyond = x.min() < -1 or y.min() < -1 or x.max() > width + 1 or y.max() > height + 1
        if outside or (drawing.size is None and beyond and shape["shape_type"] != "circle"):
            text = f"its shape {shape['label']!r} lies outside its picture of {height} x {width} pixels"
            raise CaseError("size", f"{drawing.path}: {text} (rows x columns); draw on this picture")


def draw_mask(shapes: list[dict[str, Any]], size: tuple[int, int], lesion_labels: tuple[str, ...] = ()) -> np.ndarray:
    """A label map from shapes; see the rules above.

    Args:
        shapes: LabelMe's shapes.
        size: rows and columns.
        lesion_labels: names of lesions; empty means all that are not reserved.

    Returns:
        (H, W) uint8, 0 background, 1 lesion, 2 ignore.
    """
    regions = {1: np.zeros(size, dtype=bool), 2: np.zeros(size, dtype=bool)}
    cleared = np.zeros(size, dtype=bool)
    groups: dict[tuple[str, Any], list[np.ndarray]] = {}
    for number, shape in enumerate(shapes):
        if shape["shape_type"] in _WITHOUT_AREA:
            continue
        name = shape["label"]
        filled = _fill(shape, size)
        if name.lower() in HOLE_LABELS:
            cleared |= filled
        elif name.lower() in IGNORE_LABELS or not lesion_labels or name in lesion_labels:
            group = shape.get("group_id")
            groups.setdefault((name, number if group is None else f"group {group}"), []).append(filled)
    for (name, _), members in groups.items():
        covered = np.zeros(size, dtype=bool)
        drawn: list[np.ndarray] = []
        for filled in sorted(members, key=np.count_nonzero, reverse=True):
            if any(np.array_equal(filled, other) for other in drawn):
                continue
            drawn.append(filled)
            inside = filled.any() and not (filled & ~covered).any()
            covered = covered & ~filled if inside else covered | filled
        regions[2 if name.lower() in IGNORE_LABELS else 1] |= covered
    lesion, ignored = (regions[value] & ~cleared for value in (1, 2))
    return np.where(lesion, 1, np.where(ignored, 2, 0)).astype(np.uint8)


def _case(drawing: Drawing, source: Path, options: Options, patients: PatientRule) -> Case:
    def read_label(scan: PlanarScan) -> np.ndarray:
        check_size(drawing, scan.shape[:2])
        return draw_mask(drawing.shapes, scan.shape[:2], options.lesion_labels)

    embedded = drawing.data if not drawing.image.is_file() else None
    return Case(
        image=drawing.image,
        patient=patients(drawing.image),
        label=drawing.path,
        name=converted_name(drawing.path, source),
        view=view_from_name(drawing.image.name) or "unknown",
        read_image=None if embedded is None else lambda: _embedded_scan(drawing, embedded),
        image_bytes=None if embedded is None else lambda: base64.b64decode(embedded),
        read_label=read_label,
    )


def _embedded_scan(drawing: Drawing, data: str) -> PlanarScan:
    try:
        with open_picture(io.BytesIO(base64.b64decode(data))) as image:
            pixels = np.asarray(image.convert("F") if image.mode.startswith("I") else image.convert("RGB").convert("L"))
    except (OSError, ValueError, SyntaxError, binascii.Error) as error:
        raise InputError(f"{drawing.path}: its embedded picture cannot be read; put the picture beside it") from error
    view = view_from_name(drawing.image.name) or "unknown"
    return PlanarScan(pixels.astype(np.float32)[..., None], (view,), (1.0, 1.0), drawing.path, "image")


def _checked_shape(shape: dict[str, Any]) -> dict[str, Any]:
    kind = shape.get("shape_type") or "polygon"
    # A rectangle that was turned has four corners, as a polygon has.
    kind = "polygon" if kind == "oriented_rectangle" else kind
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind not in _FEWEST_POINTS and kind not in _WITHOUT_AREA:
        raise ValueError(f"shape {shape['label']!r} is of the unknown type {kind}")
    if len(points) < _FEWEST_POINTS.get(kind, 0) or (kind == "rectangle" and len(points) not in (2, 4)):
        raise ValueError(f"{kind} {shape['label']!r} has {len(points)} points")
    checked = {"label": str(shape["label"]), "shape_type": kind, "points": points, "group_id": shape.get("group_id")}
    if kind == "mask":
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as mask:
            checked["mask"] = np.asarray(mask) > 0
    return checked


def _fill(shape: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """One shape as LabelMe fills it; points are (x, y) in pixels."""
    canvas = Image.new("1", size[::-1])
    draw = ImageDraw.Draw(canvas)
    points, kind = shape["points"], shape["shape_type"]
    if kind == "polygon":
        draw.polygon(points, fill=1, outline=1)
    elif kind == "rectangle":
        xs, ys = zip(*points, strict=True)
        if len(points) == 4 and not (_are_two(xs) and _are_two(ys)):
            # Turned by an angle.
            draw.polygon(points, fill=1, outline=1)
        else:
            draw.rectangle((min(xs), min(ys), max(xs), max(ys)), fill=1, outline=1)
    elif kind == "circle":
        (x, y), edge = points[:2]
        radius = float(np.hypot(edge[0] - x, edge[1] - y))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1, outline=1)
    else:
        canvas.paste(Image.fromarray(shape["mask"]), tuple(round(value) for value in points[0]))
    return np.array(canvas, dtype=bool)


def _are_two(values: Sequence[float]) -> bool:
    """Whether the coordinates of a rectangle's four corners are two, each twice."""
    low, high = min(values), max(values)
    return (
        sum(abs(value - low) < 0.5 for value in values) == 2 and sum(abs(value - high) < 0.5 for value in values) == 2
    )


ADAPTER = Adapter(name="labelme", title="LabelMe polygons", modality="NM", collect=collect)
