"""Where the body is in a planar scan, from its counts alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# At 2.26 mm a pixel this is the width of the collimator's blur at 10 cm; it closes the gaps that Poisson noise leaves.
SMOOTHING_PX = 3.0


def body_mask(view: NDArray, bins: int = 256) -> NDArray[np.bool_]:
    """Pixels that belong to the body: Otsu's threshold on the square root of the smoothed counts.

    On the square root the noise is about even and soft tissue lies nearer to bone than to air, so that the two classes
    are air and body. The threshold follows the scan: scaling the counts changes nothing.

    Args:
        view: counts, or any monotone function of them that is 0 for none, (H, W).
        bins: bins of the histogram that Otsu's threshold is read from.

    Returns:
        (H, W); all False for a view without counts, all True for one of a single value.
    """
    smooth = np.sqrt(ndimage.gaussian_filter(np.maximum(np.asarray(view, dtype=np.float32), 0), SMOOTHING_PX))
    if not smooth.max() > 0:
        return np.zeros(smooth.shape, dtype=bool)
    # The hottest tenth (bladder, injection site, bone) would stretch the histogram and hide the valley between air and
    # soft tissue; a body fills a third of the picture, so that its larger part stays.
    top = np.percentile(smooth, 90)
    smooth = np.minimum(smooth, top) if top > 0 else smooth
    if not np.ptp(smooth) > 0:
        return np.ones(smooth.shape, dtype=bool)
    histogram, edges = np.histogram(smooth, bins=bins)
    centers = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(histogram)
    above = below[-1] - below
    sums = np.cumsum(histogram * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return smooth > edges[1:][np.nanargmax(between)]


def find_shoulders(view: NDArray) -> int | None:
    """The row at which the shoulders begin, from the width of the body's outline.

    Going down from the top of the head, it is the first row in which the body is half as wide again as the skull.
    The skull's width is the median of the rows 20 to 60 below the top (45 to 135 mm at 2.26 mm a pixel).

    Args:
        view: counts as displayed, (H, W), rows head to feet.

    Returns:
        The row, or None where there is no head above shoulders in the picture.
    """
    widths = ndimage.median_filter(body_mask(view).sum(axis=1), size=5)
    body = np.flatnonzero(widths >= 10)
    if body.size == 0:
        return None
    top = int(body[0])
    skull = np.median(widths[top + 20 : top + 60]) if top + 60 < len(widths) else 0
    below = np.flatnonzero(widths[top + 60 :] >= 1.5 * skull)
    return top + 60 + int(below[0]) if skull > 0 and below.size else None
