r"""Add a measurement to the ledger, from the summaries that evaluations left.

::

    python scripts/results/add_record.py RUN/evaluation_test/summary.json --id dual_pooling_bone_scan_200 \
        --network dual_pooling_unet --row spect_dual_pooling_segmentation/table2_row6 --recipe bone_scan_200 \
        --seed 0 --hours 1.5 --command "bonemets sweep sweeps/bone_scan.yaml"

Give one summary per seed, in the order of the seeds. Commit, date and machine are those of now and here unless given.
``python scripts/results/make_tables.py`` then puts the numbers into the tables.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

from bonemets.bundle.folders import file_sha256
from bonemets.bundle.provenance import describe_hardware
from bonemets.errors import InputError
from ledger import SUBSTITUTE_DATA, Record, summarize_runs, write_record

ROOT = Path(__file__).resolve().parents[2]


def make_record(options: argparse.Namespace) -> Record:
    """Put a record together.

    Raises:
        InputError: a summary cannot be used, or nobody knows the commit.
    """
    from bonemets.bundle.provenance import git_commit

    commit = options.commit or git_commit()
    if commit is None:
        raise InputError("this is no checkout with a commit; give --commit")
    record = {
        "id": options.id,
        "network": options.network,
        "bundle": options.bundle,
        "overlays": options.overlay,
        "features": options.features,
        "epochs": options.epochs,
        "status": options.status,
        "rows": options.row,
        **summarize_runs(options.summaries, options.metric or None),
        "seeds": options.seed,
        "commit": commit,
        "hardware": describe_hardware() | ({"processor": options.processor} if options.processor else {}),
        "hours": options.hours,
        "date": options.date,
        "command": options.command,
        "deviations": options.deviation,
    }
    if options.weights:
        record["weights_sha256"] = [file_sha256(path) for path in options.weights]
    if options.license:
        record["data"]["license"] = options.license
    if options.recipe:
        record["data"]["recipe"] = options.recipe
    # What is needed stays even if it is empty.
    return {key: value for key, value in record.items() if key == "rows" or value not in (None, [])}


def main() -> int:
    """Add a record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("summaries", type=Path, nargs="+", help="summary.json of each seed")
    parser.add_argument("--id", required=True, help="name of the record and its file")
    parser.add_argument("--network", required=True, help="name for bonemets.networks.create_network, or nnunetv2")
    parser.add_argument("--seed", type=int, action="append", required=True, help="once per summary")
    parser.add_argument("--hours", type=float, required=True, help="of all trainings together")
    parser.add_argument("--command", required=True, help="what to type to measure it again")
    parser.add_argument("--row", action="append", default=[], help="BUNDLE/table2_row6, a paper's row that it measures")
    parser.add_argument("--status", default=SUBSTITUTE_DATA, help="same-data or substitute-data")
    parser.add_argument("--metric", action="append", help="keep these only; default all")
    parser.add_argument("--overlay", action="append", help="configs that were laid over train.yaml")
    parser.add_argument("--deviation", action="append", help="what differs from the paper")
    parser.add_argument("--features", type=int, nargs="+", help="widths")
    for name, text in (("bundle", "which was trained"), ("recipe", "of the cohort"), ("commit", ""), ("processor", "")):
        parser.add_argument(f"--{name}", help=text or "if it was another than here and now")
    parser.add_argument("--weights", type=Path, action="append", help="file of each seed, if the summaries name none")
    parser.add_argument("--license", help="of the data")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--date", default=date.today().isoformat())
    parser.add_argument("--replace", action="store_true", help="replace the record of that id")
    parser.add_argument("--ledger", type=Path, default=ROOT / "results" / "measured", help="folder of the records")
    options = parser.parse_args()
    try:
        if len(options.seed) != len(options.summaries):
            raise InputError(f"{len(options.summaries)} summaries but {len(options.seed)} seeds; give one per summary")
        print(write_record(options.ledger, make_record(options), replace=options.replace))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
