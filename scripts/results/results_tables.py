"""The pieces of make_tables.py: published and measured numbers as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger import NOT_RUN, SAME_DATA, Record
from published import Check, Metric, Published, Row, Table

DASH = "–"
RUNTIMES = {"eager": "PyTorch", "torchscript": "TorchScript", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


class Ledger:
    """The records, found by the row of a paper's table that they measure.

    Args:
        records: every record.
        published: every paper; rows that are the same setting share their records.

    Raises:
        KeyError: a record names a row that no paper has.
    """

    def __init__(self, records: Sequence[Record], published: dict[str, Published]) -> None:
        self.records = list(records)
        self._published = published
        self._by_setting: dict[tuple[str, str], list[Record]] = {}
        for record in records:
            for row in record["rows"]:
                bundle, _, key = row.partition("/")
                self._by_setting.setdefault((bundle, published[bundle].setting(key)), []).append(record)

    def best(self, published: Published, row: Row) -> Record | None:
        """The record to show for a row: on the paper's own data if there is one, then the newest."""
        found = self._by_setting.get((published.bundle, published.setting(row.key)), [])
        return max(
            found, key=lambda record: (record["status"] == SAME_DATA, record["date"], record["id"]), default=None
        )


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> list[str]:
    """A Markdown table, the last `numbers` columns aligned to the right."""
    rules = ["---"] * (len(headings) - numbers) + ["---:"] * numbers
    lines = [headings, rules, *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def measured(record: Record | None, metric: Metric) -> str:
    """Our number in the paper's unit, with its interval or its standard deviation over seeds."""
    entry = (record or {}).get("metrics", {}).get(metric.ours)
    if entry is None:
        return DASH

    def shown(name: str) -> str:
        return f"{entry[name] * metric.scale:.{1 if metric.unit == '%' else 3}f}"

    if "sd" in entry:
        return f"{shown('value')} ± {shown('sd')}"
    return (
        f"{shown('value')} ({shown('low')}{DASH}{shown('high')})"
        if "low" in entry and "high" in entry
        else shown("value")
    )


def status(record: Record | None) -> str:
    """The status word."""
    return f"`{record['status'] if record else NOT_RUN}`"


def joined(values: Sequence[str]) -> str:
    """Several values in one cell; one dash where there is none at all."""
    return DASH if all(value == DASH for value in values) else " / ".join(values)


def is_scored(metric: Metric) -> bool:
    """Whether we measure it too."""
    return metric.ours is not None


def performance(published: Published, ledger: Ledger) -> list[str]:
    """A model card's table: the method's rows, published against measured."""
    lines = [
        f"Published: {published.paper['name']}. Their data: {published.data}.",
        "",
        "Status of our numbers: `same-data`, measured on the paper's data; `substitute-data`, on other data, so that "
        "the two do not compare; `not-run`, not measured.",
        "",
    ]
    for one in published.tables:
        if one.key not in published.card:
            continue
        metrics = [metric for metric in one.metrics if is_scored(metric)]
        rows = []
        for number, row in enumerate(one.rows, start=1):
            record = ledger.best(published, row)
            ours = joined([measured(record, metric) for metric in metrics])
            rows.append([f"{number}", row.name, joined([row.values[m.key] for m in metrics]), ours, status(record)])
        printed = " / ".join(f"{metric.printed}{' %' if metric.unit == '%' else ''}" for metric in metrics)
        names = " / ".join(f"`{metric.ours}`" for metric in metrics)
        lines += table([one.label, "setting", f"published {printed}", f"measured {names}", "status"], rows)
        lines += [""]
    lines += _records_used(published, ledger)
    return [
        *lines,
        "Every other table, with what does not add up in it: docs/reference/published-and-measured.md of the project.",
    ]


def _records_used(published: Published, ledger: Ledger) -> list[str]:
    shown = {
        record["id"]: describe(record)
        for one in published.tables
        if one.key in published.card
        for row in one.rows
        if (record := ledger.best(published, row)) is not None
    }
    return [*(f"- `{key}`: {text}" for key, text in sorted(shown.items())), ""] if shown else []


def describe(record: Record) -> str:
    """On what a record was measured, in a line."""
    data, n = record["data"], record["n"]
    folds = f", fold {', '.join(map(str, data['folds']))}" if data.get("folds") else ""
    sizes = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in n.items())
    parts = [
        f"{data['name']} ({data['kind']}), {data['section']} part{folds}, {sizes}, split `{data['split_sha256'][:12]}`",
        f"{record['epochs']} epochs" if "epochs" in record else "",
        f"widths {'–'.join(map(str, record['features']))}" if "features" in record else "",
        f"{'seed' if len(record['seeds']) == 1 else 'seeds'} {', '.join(map(str, record['seeds']))}",
        f"commit `{record['commit'][:10]}`",
        f"{record['hardware'].get('gpu') or record['hardware']['processor']}, {record['hours']:g} h",
    ]
    return "; ".join(part for part in parts if part)


def speed(bundle: str, benchmark: dict[str, Any]) -> list[str]:
    """A model card's table of latency and memory."""
    found = benchmark.get("bundles", {}).get(bundle)
    if not found:
        return [f"Not measured yet: `python benchmarks/inference.py --bundle {bundle}` measures it."]
    machine, lines = found["machine"], []
    for width in found["widths"]:
        shape = "×".join(map(str, width["input"]))
        eager = width["runtimes"].get("eager", {}).get("median_ms")
        rows = [
            [
                RUNTIMES[name],
                f"{entry['median_ms']:.0f}",
                f"{eager / entry['median_ms']:.2f}" if eager else DASH,
                f"{entry['peak_memory_mb']:.0f}",
                f"{entry['difference']:.0e}" if entry["difference"] else "0",
            ]
            for name, entry in width["runtimes"].items()
        ]
        lines += [f"{width['name']}, {width['parameters']:,} parameters, input {shape}:", ""]
        headings = ["runtime", "median ms", "times faster", "peak memory MB", "largest difference of a logit"]
        lines += [*table(headings, rows, 4), ""]
    if "pipeline" in found:
        stages = ", ".join(f"{name} {entry:.0f} ms" for name, entry in found["pipeline"]["median_ms"].items())
        lines += [f"Through `configs/inference.yaml` ({found['pipeline']['what']}): {stages}.", ""]
    return [
        *lines,
        f"{machine['processor']}, {found['threads']} of {machine['cores']} cores; PyTorch {machine['torch']}, "
        f"ONNX Runtime {machine['onnxruntime']}, OpenVINO {machine['openvino']}. Each row is the median of "
        f"{found['repeats']} or more passes in a process of its own, whose peak memory, libraries included, it gives.",
    ]  # fmt: skip


def overview(papers: dict[str, Published], ledger: Ledger) -> list[str]:
    """The full network and the baseline of each paper, trained at an equal budget."""
    rows = []
    for published in papers.values():
        for key, kind in ((published.baseline, "baseline"), (published.headline, "full network")):
            row = published.rows[key]
            one = next(one for one in published.tables if row in one.rows)
            metric = next(metric for metric in one.metrics if metric.key == "dice")
            record = ledger.best(published, row)
            value = f"{row.values['dice']} {'%' if metric.unit == '%' else ''}".strip()
            data = f"{record['data']['name']}, {record['n']['patients']} patients" if record else DASH
            name = f"{published.paper['method']} ({published.paper['name']}), {kind}"
            rows.append([name, value, measured(record, metric), f"`{metric.ours}`", data, status(record)])
    headings = ["", "published Dice, their data", "measured", "which Dice", "on", "status"]
    return table(headings, rows)


def check_column(check: Check, one: Table, row: Row) -> str:
    """A recomputed number, bold where the printed one does not follow."""
    value = check.value(row)
    if value is None:
        return DASH
    share = any(metric.key == name and metric.unit == "1" for metric in one.metrics for name in check.of)
    text = f"{value:.{4 if share else 2}f}"
    return text if check.holds(row) else f"**{text}**"
