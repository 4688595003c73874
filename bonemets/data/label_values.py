"""What a label map may hold: one rule for data lists, training, evaluation and annotation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bonemets.errors import InputError

# Files that keep numbers with a scale, and resampling, give 0.99999 for 1.
ROUNDING = 1e-3
IGNORE = 2


def rounded(array: np.ndarray) -> np.ndarray:
    """The array, with values that are whole numbers but for rounding made whole."""
    if not np.issubdtype(array.dtype, np.floating):
        return array
    whole = np.rint(array)
    # NaN is near nothing and stays.
    return np.where(np.abs(array - whole) < ROUNDING, whole, array) + 0.0


def label_values(array: np.ndarray, name: object) -> np.ndarray:
    """A label map as uint8: 0 background, 1 lesion, 2 ignore.

    Args:
        array: with those values, or with 0 and 255, as masks in pictures have.
        name: what to call it in messages.

    Raises:
        InputError: if it holds anything else; the message says what.
    """
    if array.dtype.names is not None or not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
        raise InputError(f"{name}: has several values per pixel; a label map has one")
    array = rounded(array)
    values = np.unique(array)
    if 255 in values and np.isin(values, (0, 255)).all():
        return (array == 255).astype(np.uint8)
    if not np.isin(values, (0, 1, IGNORE)).all():
        raise InputError(f"{name}: holds {few(values)}; a mask has 0 and 255, or 0, 1 lesion and 2 ignore")
    return array.astype(np.uint8)


def few(values: Iterable[float]) -> str:
    """Values as they are shown in a message, with digits enough to tell 0.998 from 1."""
    shown = list(dict.fromkeys(f"{float(value):.7g}" for value in values))
    return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more values" if len(shown) > 6 else "")
