"""What the papers printed: every row of their tables of results, from ``results/published/*.yaml``.

Values are kept as text, so that a table shows ``89.10`` and ``0.6487 ± 0.0054`` as the paper does.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bonemets.errors import InputError

# MFP-DeepLabv3+ prints the macro mean over background and lesion. A background IoU of 0.995 reproduces its Dice column
# from its mIoU column within 0.01 points in 18 of 22 different rows.
BACKGROUND_IOU = 0.995


def harmonic_mean(precision: float, recall: float) -> float:
    """Dice of pooled pixels from their precision and recall."""
    return 2 * precision * recall / (precision + recall)


def iou_of_dice(dice: float) -> float:
    """IoU, in percent, of the same pixels as a Dice in percent."""
    return 100 * dice / (200 - dice)


def lesion_dice(mean_iou: float) -> float:
    """Lesion Dice, in percent, that a mIoU of background and lesion implies."""
    iou = 2 * mean_iou / 100 - BACKGROUND_IOU
    return 100 * 2 * iou / (1 + iou)


def macro_dice(mean_iou: float) -> float:
    """Mean Dice of background and lesion, in percent, that a mIoU of the two implies."""
    return 50 * 2 * BACKGROUND_IOU / (1 + BACKGROUND_IOU) + lesion_dice(mean_iou) / 2


def percent_variance(*values: float) -> float:
    """Sample variance of percentages, itself in percent: that of 80 and 90 is 0.5 % (0.1² / 2)."""
    return statistics.variance(values) / 100


@dataclass(frozen=True)
class Formula:
    """How a printed number follows from others of its row.

    Args:
        compute: the formula.
        words: what of, for a table's heading.
        tolerance: a larger difference is more than rounding; that of the printed column's own unit.
    """

    compute: Callable[..., float]
    words: str
    tolerance: float


FORMULAS = {
    "harmonic_mean": Formula(harmonic_mean, "of the printed precision and recall", 0.0005),
    "iou_of_dice": Formula(iou_of_dice, "of the printed Dice, D / (2 − D)", 0.015),
    "lesion_dice": Formula(lesion_dice, "lesion Dice implied by the printed mIoU", 0.015),
    "macro_dice": Formula(macro_dice, "mean of background and lesion, implied by the printed mIoU", 0.015),
    "mean": Formula(lambda *values: statistics.mean(values), "of the printed folds", 0.015),
    "variance": Formula(percent_variance, "of the printed folds", 0.006),
}


def number(text: str) -> float | None:
    """The number of a printed value, without its standard deviation or unit; None where nothing was printed."""
    found = re.match(r"[≈ ]*(\d[\d,]*\.?\d*)", text)
    return float(found.group(1).replace(",", "")) if found else None


@dataclass(frozen=True)
class Metric:
    """A column: what the paper calls it, its unit, and our metric of that meaning (docs/reference/metrics.md)."""

    key: str
    printed: str
    unit: str
    ours: str | None = None

    @property
    def scale(self) -> float:
        """What our metric, a share, is multiplied with to be in the paper's unit."""
        return 100.0 if self.unit == "%" else 1.0


@dataclass(frozen=True)
class Check:
    """A number of a row that follows from others of it; `column` is where it is printed, if it is."""

    formula: Formula
    of: tuple[str, ...]
    column: str | None = None

    def value(self, row: Row) -> float | None:
        """The recomputed number; None where the row lacks a value."""
        given = [number(row.values[name]) for name in self.of]
        known = [value for value in given if value is not None]
        return self.formula.compute(*known) if len(known) == len(given) else None

    def holds(self, row: Row) -> bool:
        """Whether the printed number follows from the others, up to rounding; True where nothing can be said."""
        value = self.value(row)
        printed = None if self.column is None else number(row.values[self.column])
        return value is None or printed is None or abs(value - printed) <= self.formula.tolerance


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        key: ``table2_row1``.
        name: what it is called.
        values: column → what is printed.
        overlay: file stem in the bundle's ``configs/ablations`` that sets it up.
        same_as: key of another row of the paper that is the same setting.
        network: a comparator's class in `bonemets.networks.nets`.
        peer: ``"nnunet"`` for nnU-Net itself.
        remark: what a reader must know.
    """

    key: str
    name: str
    values: dict[str, str]
    overlay: str | None = None
    same_as: str | None = None
    network: str | None = None
    peer: str | None = None
    remark: str = ""

    @property
    def is_method(self) -> bool:
        """Whether it is a setting of the paper's own method, not a comparator."""
        return bool(self.overlay or self.same_as)


@dataclass(frozen=True)
class Table:
    """A table of results."""

    key: str
    title: str
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """``Table 2`` or ``Figure 14``."""
        return re.sub(r"^(table|figure)(\d+)$", lambda m: f"{m.group(1).capitalize()} {m.group(2)}", self.key)


@dataclass(frozen=True)
class Published:
    """A paper's results."""

    bundle: str
    network: str
    paper: dict[str, str]
    data: str
    headline: str
    baseline: str
    card: tuple[str, ...]
    tables: tuple[Table, ...]
    contradictions: tuple[str, ...] = ()
    comparators: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)

    def setting(self, key: str) -> str:
        """The first row of those that are the same setting as this one."""
        seen = [key]
        while (same := self.rows[seen[-1]].same_as) is not None:
            seen.append(same)
        return seen[-1]

    def overlay(self, row: Row) -> str | None:
        """The overlay that sets a row up: its own, or that of the row that it equals."""
        return row.overlay or (self.overlay(self.rows[row.same_as]) if row.same_as else None)


def read_published(path: Path) -> Published:
    """Read one paper's file.

    Raises:
        InputError: the file cannot be read, or a row does not fit its table.
    """
    try:
        document: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 (text only)
        metrics = {key: Metric(key, **entry) for key, entry in document.pop("metrics").items()}
        tables = tuple(_table(path, entry, metrics) for entry in document.pop("tables"))
        rows = {row.key: row for table in tables for row in table.rows}
        for key in ("card", "contradictions"):
            document[key] = tuple(document.get(key, ()))
        published = Published(tables=tables, rows=rows, **document)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is not a paper's results ({error}); see docs/reference/results.md") from error
    for row in rows.values():
        if row.same_as is not None and row.same_as not in rows:
            raise InputError(f"{path}: {row.key} is said to equal {row.same_as}, which is not in the file")
    for key in (published.headline, published.baseline):
        if key not in rows:
            raise InputError(f"{path}: there is no row {key}")
    return published


def read_all_published(folder: Path) -> dict[str, Published]:
    """Bundle → what its paper printed, in the order of the files' names."""
    found = [read_published(path) for path in sorted(folder.glob("*.yaml"))]
    return {published.bundle: published for published in found}


def _table(path: Path, entry: dict[str, Any], metrics: dict[str, Metric]) -> Table:
    key, columns = entry["id"], entry["columns"]
    rows = []
    for index, line in enumerate(entry["rows"], start=1):
        values: Sequence[str] = line.pop("values")
        if len(values) != len(columns):
            raise InputError(f"{path}: {key}, row {index}: {len(values)} values for {len(columns)} columns")
        rows.append(Row(f"{key}_row{index}", values=dict(zip(columns, values, strict=True)), **line))
    checks = tuple(
        Check(FORMULAS[check["as"]], tuple(check["of"]), check.get("column")) for check in entry.get("checks", ())
    )
    return Table(
        key,
        entry["title"],
        tuple(metrics[name] for name in columns),
        tuple(rows),
        checks,
        tuple(entry.get("notes", ())),
    )
