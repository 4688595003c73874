"""A piece of make_tables.py: what the shipped weights reach on the test set, for metadata.json and the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bonemets.bundle.weights import shipped_record
from ledger import Record
from published import Published
from results_tables import DASH, table

HEADLINE = {
    "dice_pooled": "Dice, all pixels",
    "dice_per_image": "Dice per image",
    "sensitivity_iou10": "lesion sensitivity",
    "false_positives_per_scan_iou10": "false positives per scan",
}
"""Metrics of the headline, all fractions but the last, which is a count."""


def shipped_test_records(bundles: Path, records: Sequence[Record]) -> dict[str, Record]:
    """Bundle → the record of its shipped weights on a test set.

    That is ``shipped.BUNDLE``, on the test set of the data that they were trained on; where there is none, the first
    record of these weights on a test set of other data. Records of other weights than those that ship do not count.
    """
    found = {}
    for bundle in sorted(path for path in bundles.iterdir() if path.is_dir()):
        weights = shipped_record(bundle)
        of_these = [
            record
            for record in records
            if weights and record.get("weights_sha256") == [weights["sha256"]] and record["data"]["section"] == "test"
        ]
        of_these.sort(key=lambda record: (record["id"] != f"shipped.{bundle.name}", record["id"]))
        if of_these:
            found[bundle.name] = of_these[0]
    return found


def eval_metrics(record: Record | None) -> dict[str, Any]:
    """``eval_metrics`` of a bundle's metadata: empty until the shipped weights are measured."""
    if record is None:
        return {}
    values = {name: record["metrics"][name]["value"] for name in HEADLINE if name in record["metrics"]}
    data = record["data"]
    return values | {
        "data": data["name"],
        "section": data["section"],
        "patients": record["n"]["patients"],
        "split_sha256": data["split_sha256"],
        "weights_sha256": record["weights_sha256"][0],
    }


def shipped_overview(papers: Mapping[str, Published], tested: Mapping[str, Record]) -> list[str]:
    """The README's table: the weights that each bundle ships, on test patients."""
    rows = []
    for bundle, published in papers.items():
        record = tested.get(bundle)
        metrics = record["metrics"] if record else {}
        data = f"{record['n']['patients']} test patients of: {record['data']['name']}" if record else "not measured"
        rows.append([
            f"[{published.paper['method']}](bundles/{bundle}/docs/README.md)",
            *(_with_interval(metrics.get(name)) for name in HEADLINE),
            data,
        ])  # fmt: skip
    return table(["shipped weights", *HEADLINE.values(), "measured on"], rows)


def _with_interval(entry: Mapping[str, float] | None) -> str:
    if entry is None:
        return DASH
    text = f"{entry['value']:.2f}"
    return f"{text} ({entry['low']:.2f}{DASH}{entry['high']:.2f})" if "low" in entry else text
