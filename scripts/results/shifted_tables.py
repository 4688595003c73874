"""A piece of make_tables.py: networks and simple image processing on the shifted cohorts, for the README."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bonemets.bundle.weights import shipped_record
from published import Published
from results_tables import DASH, table

BASELINES = {
    "white_top_hat": "White top-hat filter",
    "global_threshold": "Global threshold",
    "mirrored_difference": "Left against right",
}
GUISES = {"counts": "counts", "picture": "8-bit picture"}


def shifted_overview(papers: Mapping[str, Published], record: Path, bundles: Path) -> list[str]:
    """Sensitivity at 2 and 4 false positives a view, of the networks first, then of the baselines.

    A network that was measured with other weights than those that its bundle ships has no numbers.
    """
    measured = yaml.safe_load(record.read_text("utf-8")) if record.is_file() else {"detectors": {}}
    names = {bundle: published.paper["method"] for bundle, published in papers.items()} | BASELINES
    columns = [f"{guise}: at {rate}" for guise in GUISES.values() for rate in (2, 4)]
    rows = []
    for name, label in names.items():
        entry = measured["detectors"].get(name)
        if entry is None:
            continue
        weights = shipped_record(bundles / name) if name in papers else None
        if weights and entry["weights_sha256"] != weights["sha256"]:
            rows.append([label, *[DASH] * len(columns), "not measured", DASH])
            continue
        rows.append([
            label,
            *(_value(entry[guise], f"sensitivity_at_{rate}") for guise in GUISES for rate in (2, 4)),
            _value(entry["picture"], "false_positives_without_lesions"),
            str(entry["findings_in_the_nema_scan"]),
        ])  # fmt: skip
    header = ["", *columns, "false positives in a view without lesions", "findings in the NEMA scan"]
    return table(header, rows)


def _value(entry: Mapping[str, Any], name: str) -> str:
    if name not in entry:
        return DASH
    one = entry[name]
    return f"{one['value']:.2f} ({one['low']:.2f}{DASH}{one['high']:.2f})"
