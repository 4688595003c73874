"""Names of one patient that differ only in how they are written."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

_SEPARATORS = re.compile(r"[\W_]+")
# "p 1" is "p1", but "p1 2" is not "p12": only between a letter and a digit a separator says nothing.
_BETWEEN = re.compile(r"(?<=[^\W\d_])_(?=\d)|(?<=\d)_(?=[^\W\d_])")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
# What a spreadsheet makes of a number.
_WHOLE_NUMBER = re.compile(r"\s*(\d+)\.0+\s*")


def tidy_name(name: str) -> str:
    """A name in composed Unicode, without invisible characters, and without blanks around it."""
    composed = unicodedata.normalize("NFC", name)
    visible = (character for character in composed if unicodedata.category(character) not in ("Cf", "Cc"))
    return "".join(visible).strip()


def plain_name(name: str) -> str:
    """What names that differ only in spelling have in common.

    Case, blanks and other separators, leading zeros, composed or decomposed and full-width characters, and ``.0`` after
    a whole number do not count: ``P 01``, ``p1`` and ``p_001`` are equal, ``p1_2`` and ``p12`` are not.
    """
    tidy = tidy_name(unicodedata.normalize("NFKC", name))  # compatible forms of some accents begin with a blank
    if whole := _WHOLE_NUMBER.fullmatch(tidy):
        tidy = whole.group(1)
    words = _SEPARATORS.sub("_", unicodedata.normalize("NFKC", tidy.casefold())).strip("_")
    return _LEADING_ZEROS.sub("", _BETWEEN.sub("", words)) or tidy


def one_spelling(names: Iterable[str]) -> tuple[dict[str, str], list[tuple[str, ...]]]:
    """One name for all spellings of it.

    Args:
        names: names of patients; repeated ones count once.

    Returns:
        The name that stands for each, the first of its spellings in sorted order, and the spellings that differ, as
        written, by more than Unicode and blanks around them.
    """
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in names:
        spellings[plain_name(name)].add(name)
    shared = {name: min(map(tidy_name, group)) for group in spellings.values() for name in group}
    several = [tuple(sorted({tidy_name(name) for name in group})) for group in spellings.values()]
    return shared, sorted(group for group in several if len(group) > 1)
