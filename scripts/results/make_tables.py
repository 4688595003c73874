"""Write every table of results from results/: model cards, eval_metrics, README, a how-to's, and the reference pages.

The cards' sections about the shipped weights come from the bundles' ``models/model.json``.

Run without arguments to write, with ``--check`` to fail if a file differs from what the records say. In a file that is
written by hand the tables are between markers::

    <!-- generated: performance -->
    <!-- /generated -->
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from bonemets.bundle.weights import shipped_record
from bonemets.data.files import write_bytes
from bonemets.errors import InputError
from bonemets.sweep.summary import read_summaries
from ledger import read_records
from published import read_all_published
from results_page import page
from results_tables import Ledger, performance, speed
from shifted_tables import shifted_overview
from shipped_tables import eval_metrics, shipped_overview, shipped_test_records
from sweeps_page import sweeps_page
from thresholds_page import read_thresholds, thresholds_table
from weights_tables import weights

ROOT = Path(__file__).resolve().parents[2]
CT_BUNDLE = "ct_mfp_deeplabv3plus_segmentation"


def replace_block(text: str, name: str, lines: list[str], path: Path) -> str:
    """Put lines between a file's markers.

    Raises:
        InputError: the file does not have the two markers once each.
    """
    pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- /generated -->)"
    content = "\n".join(lines).strip("\n")
    replaced, count = re.subn(pattern, lambda found: f"{found[1]}{content}\n{found[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise InputError(
            f"{path}: needs '<!-- generated: {name} -->' and '<!-- /generated -->' once, on lines of their own"
        )
    return replaced


def set_eval_metrics(text: str, metrics: dict[str, Any], path: Path) -> str:
    """Put eval_metrics into a metadata.json, leaving its formatting alone.

    Raises:
        InputError: the file has no ``eval_metrics``.
    """
    value = json.dumps(metrics, indent=4, ensure_ascii=False).replace("\n", "\n    ")
    replaced, count = re.subn(r'("eval_metrics": )\{[^{}]*\}', lambda found: found[1] + value, text)
    if count != 1:
        raise InputError(f'{path}: needs "eval_metrics": {{}} once')
    return replaced


def generated_files(root: Path) -> dict[Path, str]:
    """Path → text of every file that has tables.

    Raises:
        InputError: a record is not sound, or a file has no markers.
    """
    papers = read_all_published(root / "results" / "published")
    records = read_records(root / "results" / "measured")
    try:
        ledger = Ledger(records, papers)
    except KeyError as error:
        raise InputError(
            f"{root / 'results' / 'measured'}: a record names the row {error}, which no paper has"
        ) from error
    path = root / "results" / "benchmark_inference.yaml"
    benchmark = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else {}
    reference = root / "docs" / "reference"
    files = {
        reference / "published-and-measured.md": page(papers, ledger),
        reference / "measured-sweeps.md": sweeps_page(read_summaries(root / "results" / "sweeps")),
    }
    tested = shipped_test_records(root / "bundles", records)
    for bundle, published in papers.items():
        folder = root / "bundles" / bundle
        card, metadata = folder / "docs" / "README.md", folder / "configs" / "metadata.json"
        text = replace_block(_read(card), "performance", performance(published, ledger), card)
        text = replace_block(text, "speed", speed(bundle, benchmark), card)
        shipped = weights(folder, records)
        files[card] = text if shipped is None else replace_block(text, "weights", shipped, card)
        files[metadata] = set_eval_metrics(_read(metadata), eval_metrics(tested.get(bundle)), metadata)
    files |= _thresholds_files(root)
    readme = root / "README.md"
    text = replace_block(_read(readme), "results", shipped_overview(papers, tested), readme)
    shifted = shifted_overview(papers, root / "results" / "shifted_bone_scans.yaml", root / "bundles")
    files[readme] = replace_block(text, "shifted", shifted, readme)
    return files


def _thresholds_files(root: Path) -> dict[Path, str]:
    """The how-to with the thresholds of the shipped CT weights; nothing where other weights lie in their place."""
    records = read_thresholds(root / "results" / "thresholds")
    shipped = {bundle: shipped_record(root / "bundles" / bundle) for bundle in records}
    hashes = {bundle: str(record["sha256"]) for bundle, record in shipped.items() if record}
    if len(hashes) < len(records):
        return {}
    files: dict[Path, str] = {}
    if CT_BUNDLE in records:
        path = root / "docs" / "how-to" / "segment-a-study.md"
        lines = thresholds_table(records[CT_BUNDLE], hashes[CT_BUNDLE])
        files[path] = replace_block(_read(path), "thresholds", lines, path)
    return files


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def main() -> int:
    """Write or check the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project's folder")
    options = parser.parse_args()
    try:
        files = generated_files(options.root)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    wrong = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in wrong:
        if options.check:
            print(
                f"{path.relative_to(options.root)} differs; run `python scripts/results/make_tables.py`",
                file=sys.stderr,
            )
        else:
            write_bytes(path, files[path].encode())
    return 1 if options.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
