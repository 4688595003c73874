r"""Put what a sweep has measured so far into results/: a record per model, and the sweep's summary.

::

    python scripts/results/record_sweep.py results/sweeps/bone_scan_main.yaml OUT --data COHORT
    python scripts/results/make_tables.py

OUT is the folder that ``bonemets sweep`` writes; it may still be running. Models with no finished seed are left out,
the others say how many seeds they have. Run it again when more is finished: the sweep's own records are replaced, no
others.
``make_tables.py`` then puts the numbers into model cards, README and docs/reference.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from bonemets.errors import InputError
from bonemets.sweep.page import sweep_tables
from bonemets.sweep.spec import read_sweep
from bonemets.sweep.summary import write_summary
from ledger import write_record
from published import read_all_published
from sweep_record import find_results, sweep_records

ROOT = Path(__file__).resolve().parents[2]


def record(spec: Path, output: Path, results: Path, dataset_dir: Path | None = None) -> list[str]:
    """Write records and summary.

    Args:
        spec: the sweep's specification.
        output: the sweep's folder.
        results: the folder of the records, ``results``.
        dataset_dir: the images' folder, if the specification does not say.

    Returns:
        A line per model for the user.

    Raises:
        InputError: a file cannot be used, or nothing is finished yet.
    """
    sweep = read_sweep(spec, dataset_dir)
    found = find_results(sweep, output)
    tables = sweep_tables(output, sweep, found)
    if not tables.by_model:
        raise InputError(f"{output}: no model of {spec} has a finished seed yet")
    shown = spec.resolve()
    name = shown.relative_to(results.resolve().parent) if shown.is_relative_to(results.resolve().parent) else shown.name
    command = f"bonemets sweep {name} -o OUT" + ("" if sweep.source.get("dataset_dir") else " --data COHORT")
    papers = read_all_published(results / "published")
    records = sweep_records(sweep, output, tables.by_model, papers, recipes(results / "cohorts"), command)
    ids = dict(zip(tables.by_model, [record["id"] for record in records], strict=True))
    for one in records:
        write_record(results / "measured", one, replace=True)
    write_summary(results / "sweeps" / sweep.name, sweep, tables, ids, len(found))
    lines = [f"{one['id']}: seeds {one['seeds']}, rows {', '.join(one['rows']) or 'none'}" for one in records]
    waiting = [model for model in sweep.models if model not in tables.by_model]
    return [*lines, *(f"{model}: no finished seed yet" for model in waiting)]


def recipes(folder: Path) -> dict[str, str]:
    """Hash of the split → name of the benchmark cohort's recipe."""
    documents = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(folder.glob("*.yaml"))]
    return {document["datalist_sha256"]: document["name"] for document in documents if document["datalist_sha256"]}


def main() -> int:
    """Record a sweep."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("spec", type=Path, help="the sweep's specification")
    parser.add_argument("output", type=Path, help="the folder that bonemets sweep wrote")
    parser.add_argument("--data", type=Path, help="the images' folder, as for bonemets sweep")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="the folder of the records")
    options = parser.parse_args()
    try:
        for line in record(options.spec, options.output, options.results, options.data):
            print(line)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
