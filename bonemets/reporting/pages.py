"""Pages that open offline: everything in one file, no script, no address outside of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from bonemets.metrics.lesions import IGNORE, LESION, lesion_components
from bonemets.reporting.display import SIDES, data_uri, display_gray, outlines, png_bytes


def scan_drawing(
    pixels: NDArray,
    views: Sequence[str],
    mask: NDArray | None = None,
    truth: NDArray | None = None,
    *,
    spacing: tuple[float, float] | None = None,
    colors: NDArray | None = None,
) -> list[dict[str, Any]]:
    """What the page's ``scan`` macro draws: the gray image of each view and the outlines to lay over it.

    Args:
        pixels: counts, (H, W, V).
        views: name of each of the V views.
        mask: predicted mask, (H, W, V); its outlines are numbered like `measure_findings` numbers them.
        truth: label map, (H, W, V): 1 lesion, 2 ignore.
        spacing: row and column spacing in mm; only their ratio matters.
        colors: (H, W, 3) uint8, shown in place of a single view's inverted gray.

    Returns:
        One dict per view.
    """
    rows, columns = pixels.shape[:2]
    aspect = 1.0 if spacing is None else spacing[0] / spacing[1]
    drawn, number = [], 0
    for index, view in enumerate(views):
        findings = []
        if mask is not None:
            labels, count = lesion_components(mask[..., index])
            parts = [labels == label for label in range(1, count + 1)]
            for part in sorted(parts, key=lambda p: tuple(np.argwhere(p).mean(axis=0))):
                number += 1
                places = np.argwhere(part)
                right = places[:, 1].max() + 4 < 0.93 * columns
                findings.append(
                    {
                        "number": number,
                        "linked": True,
                        "path": svg_path(outlines(part), aspect),
                        "x": places[:, 1].max() + 4 if right else places[:, 1].min() - 3,
                        "y": round(float(places[:, 0].mean() + 0.5) * aspect, 1),
                        "anchor": "start" if right else "end",
                    }
                )
        drawn.append(
            {
                "name": view,
                "sides": SIDES.get(view),
                "image": data_uri(png_bytes(display_gray(pixels[..., index]) if colors is None else colors)),
                "width": columns,
                "height": round(rows * aspect, 1),
                "findings": findings,
                "truth": "" if truth is None else svg_path(outlines(truth[..., index] == LESION), aspect),
                "ignore": "" if truth is None else svg_path(outlines(truth[..., index] == IGNORE), aspect),
            }
        )
    return drawn


def svg_path(lines: Sequence[NDArray[np.float64]], aspect: float) -> str:
    """Closed lines as the ``d`` of an SVG path; SVG counts from the corner of the first pixel, we from its center."""
    points = [[f"{x + 0.5:.1f} {(y + 0.5) * aspect:.1f}" for x, y in line[:-1]] for line in lines]
    return "".join(f"M{'L'.join(line)}Z" for line in points)


def render_page(template: str, **values: Any) -> str:
    """Fill one of the package's templates; what is filled in is escaped.

    Args:
        template: file name in ``bonemets/reporting/templates``.
        values: what the template shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bonemets.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = format_number
    return environment.get_template(template).render(**values)


def format_number(value: float | None, digits: int = 2) -> str:
    """A number for a table, a dash where there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}"


def render_report(result: Mapping[str, Any], drawing: Sequence[Mapping[str, Any]]) -> str:
    """The page for one study.

    Args:
        result: what ``result.json`` holds.
        drawing: what `scan_drawing`, or `bonemets.reporting.study.ct_pictures.ct_drawing`, returned for scan and mask.
    """
    template = "report_ct.html" if result["study"]["kind"] == "CT" else "report.html"
    return render_page(template, result=result, drawing=drawing)
