"""Checks of constructor arguments: every refusal is one line that names argument, value, and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Refuse a value that is not one of a few.

    Args:
        name: the argument's name.
        value: what was given.
        allowed: everything that may be given.

    Raises:
        ValueError: if ``value`` is not in ``allowed``.
    """
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in allowed):
        raise ValueError(f"{name}={value!r} is not known; allowed: {', '.join(map(repr, allowed))}.")


def check_channels(in_channels: int, out_channels: int) -> None:
    """Refuse channel numbers that are not positive integers.

    Raises:
        ValueError: if either is not an integer of at least 1.
    """
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        check_positive_integer(name, value)


def check_positive_integer(name: str, value: Any, least: int = 1) -> None:
    """Refuse anything but an integer of at least ``least``.

    Raises:
        ValueError: if ``value`` is not such an integer.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}={value!r} is not valid; allowed: an integer of at least {least}.")


def check_integers(name: str, values: Any, lengths: Sequence[int], multiple_of: int = 1) -> tuple[int, ...]:
    """Check a list of widths, dilations or kernel sizes and return it as a tuple.

    Args:
        name: the argument's name.
        values: what was given.
        lengths: how many numbers there may be.
        multiple_of: every number must be a multiple of this.

    Returns:
        The numbers as a tuple.

    Raises:
        ValueError: if it is not a list of the right length of positive multiples of ``multiple_of``.
    """
    count = " or ".join(map(str, lengths)) if len(lengths) < 3 else f"{min(lengths)} to {max(lengths)}"
    kind = "positive integers" if multiple_of == 1 else f"positive multiples of {multiple_of}"
    good = (
        isinstance(values, Sequence)
        and not isinstance(values, str)
        and len(values) in lengths
        and all(isinstance(v, int) and not isinstance(v, bool) and v > 0 and v % multiple_of == 0 for v in values)
    )
    if not good:
        raise ValueError(f"{name}={values!r} is not valid; allowed: {count} {kind}.")
    return tuple(values)


def check_dropout(dropout: float | None, paper: float = 0.0) -> float:
    """Resolve the ``dropout`` argument that every network takes.

    Args:
        dropout: None for the paper's rate, or a rate that replaces it.
        paper: the paper's rate at this place.

    Returns:
        The rate to use.

    Raises:
        ValueError: if the rate is not in [0, 1).
    """
    if dropout is None:
        return paper
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout!r} is not valid; allowed: None or a number from 0 up to, not including, 1.")
    return float(dropout)
