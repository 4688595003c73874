"""Which items of a data list a training sees how often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.data import ImageReader
from monai.transforms import LoadImage

from bonemets.metrics.lesions import LESION
from bonemets.transforms import LesionLabel


def balance_lesions(
    items: Sequence[Mapping[str, Any]], reader: ImageReader, share: float = 0.5
) -> list[Mapping[str, Any]]:
    """Repeat the lesion-bearing items until they are about a share of all.

    Most slices of a CT have no lesion, and crops around a lesion can be cut from the others only. Whole repetitions, so
    that an epoch sees each item at least once and runs in several processes divide it as always; a data set that
    caches should know items by their content (``hash_as_key`` of MONAI's `CacheDataset`).

    Args:
        items: items with ``label``, a file, as `bonemets.data.load_datalist` returns them. Every file is read.
        reader: reads the label maps.
        share: wanted share of the lesion-bearing items, above 0 and below 1; rounded down, and never by leaving any
            out.

    Returns:
        The items, the lesion-bearing ones one after the other as often as that takes.

    Raises:
        ValueError: `share` is not between 0 and 1.
        InputError: a label map holds other values than 0, 1 and 2 (or 0 and 255).
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be above 0 and below 1, got {share}")
    load, check = LoadImage(reader=reader, image_only=True), LesionLabel()
    bearing = [bool((check(load(item["label"])) == LESION).any()) for item in items]
    found = sum(bearing)
    wanted = share / (1 - share) * (len(items) - found)
    times = max(1, int(wanted / found)) if found else 1
    return [item for item, has in zip(items, bearing, strict=True) for _ in range(times if has else 1)]
