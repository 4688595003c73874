"""docs/reference/published-and-measured.md: the papers' tables beside ours, row by row."""

from __future__ import annotations

from published import Published, Row, Table
from results_tables import DASH, Ledger, check_column, describe, is_scored, joined, measured, overview, status, table

NOTICE = "<!-- Written by scripts/results/make_tables.py from results/; change the records, not this file. -->"
INTRODUCTION = """\
Every row of every table of results of the five papers, beside what we measured for it. The papers' numbers are on their
own data; ours say on what they are. A number of ours stands beside a published one with
one of three words:

| status | means |
|---|---|
| `same-data` | measured on the data that the paper used |
| `substitute-data` | measured on other data; which, says the record below. The two numbers must not be compared |
| `not-run` | not measured; the command that would is below the tables |

*Setting* names the overlay in the bundle's `configs/ablations`, the class of a comparator in
`bonemets.networks.nets`, or the row that is the same setting. Published values are as printed. Columns in *italics* are
recomputed from the printed ones, **bold** where a printed number is off by more than rounding. Which of our metrics a
printed name means: [metrics](metrics.md). Parameters, published against ours:
[networks](networks/README.md). How the records are kept: [results](results.md)."""
EQUAL_BUDGET = """\
Each paper's full network and its baseline, trained for the same number of epochs on the same patients. These are not
the weights that the bundles ship. Three trainings of each bone-scan network at an eighth of the papers' widths and
for 40 epochs: MSA-Net's Dice differs from its baseline's by less than the seed-to-seed variance, with fewer false
positives per scan; dual pooling's and the multi-attention network's are below those of their baselines. On skin,
three trainings and five folds, SC-UNeXt's Dice is that of UNeXt-S. On CT, one training each, MFP-DeepLabv3+'s is that
of DeepLabv3+, with more false positives. [Measured sweeps](measured-sweeps.md) has intervals and tests."""
TRAIN = 'python -m monai.bundle run --config_file "[{files}]" --bundle_root . --dataset_dir COHORT{more}'
NNUNET = ".venv-nnunet/bin/python benchmarks/nnunet.py COHORT/datalist.json -o runs/nnunet --record results/measured"


def page(papers: dict[str, Published], ledger: Ledger) -> str:
    """The page."""
    lines = ["# Published and measured", "", NOTICE, "", INTRODUCTION, ""]
    rows = [row for published in papers.values() for row in published.rows.values()]
    done = sum(
        ledger.best(published, row) is not None for published in papers.values() for row in published.rows.values()
    )
    method = sum(row.is_method for row in rows)
    lines += [
        f"{len(rows)} rows, {method} of them settings of the papers' methods and {len(rows) - method} comparators; "
        f"{done} measured, {len(rows) - done} `not-run`.",
        "",
    ]
    lines += ["## Networks at an equal budget", "", EQUAL_BUDGET, "", *overview(papers, ledger), ""]
    for published in papers.values():
        lines += _paper(published, ledger)
    return "\n".join([*lines, *_records(ledger)])


def _paper(published: Published, ledger: Ledger) -> list[str]:
    paper = published.paper
    link = f" [doi:{paper['doi']}](https://doi.org/{paper['doi']})" if "doi" in paper else ""
    lines = [f"## {paper['name']}: `{published.bundle}`", "", f"*{paper['title']}.*{link}", ""]
    lines += [f"Their data: {published.data}.", ""]
    for one in published.tables:
        lines += [f"### {paper['name']}, {one.label.lower()}: {one.title}", ""]
        lines += [
            *_rows(published, one, ledger),
            "",
            *(f"- {note}" for note in one.notes),
            *([""] if one.notes else []),
        ]
    if published.contradictions:
        lines += [f"### {paper['name']}: what else does not add up", ""]
        lines += [*(f"- {text}" for text in published.contradictions), ""]
    commands = [text for row in published.rows.values() if (text := command(published, row)) is not None]
    lines += [f"### {paper['name']}: commands", ""]
    lines += [
        f"In `bundles/{published.bundle}`, COHORT being a data folder. To evaluate, put `'configs/evaluate.yaml'` at "
        "the end of the list of files and run the same command again.",
        "",
        "<details><summary>one per row</summary>",
        "",
        "```sh",
        *commands,
        "```",
        "",
        "</details>",
        "",
    ]
    return lines


def _rows(published: Published, one: Table, ledger: Ledger) -> list[str]:
    scored = [metric for metric in one.metrics if is_scored(metric)]
    rows = []
    for number, row in enumerate(one.rows, start=1):
        record = ledger.best(published, row)
        ours = joined([measured(record, metric) for metric in scored])
        if record:
            ours += f" [{record['id']}](#{anchor(record['id'])})"
        rows.append(
            [
                str(number),
                row.name,
                setting(published, row),
                *(row.values[metric.key] for metric in one.metrics),
                *(check_column(check, one, row) for check in one.checks),
                ours,
                status(record),
            ]
        )
    names = {metric.key: metric.printed for metric in one.metrics}
    recomputed = [
        f"*{names.get(check.column or '', '')} {check.formula.words}*".replace("* ", "*") for check in one.checks
    ]
    printed = [f"{m.printed}{'' if m.unit in ('1', 'count') else f' ({m.unit})'}" for m in one.metrics]
    ours = f"measured {joined([f'`{metric.ours}`' for metric in scored])}"
    return table(["row", "name", "setting", *printed, *recomputed, ours, "status"], rows)


def setting(published: Published, row: Row) -> str:
    """How a row is set up here, in a cell."""
    if row.overlay:
        return f"`{row.overlay}`"
    if row.same_as:
        kind, _, number = row.same_as.partition("_row")
        return f"= {next(one.label.lower() for one in published.tables if one.key == kind)}, row {number}"
    if row.network:
        return f"`{row.network}`" + (f" ({row.remark})" if row.remark else "")
    return "nnU-Net v2 itself" if row.peer == "nnunet" else "not re-implemented"


def command(published: Published, row: Row) -> str | None:
    """The command that trains a row's setting, from the bundle's folder; None where there is none of its own."""
    if row.overlay:
        files = f"'configs/train.yaml','configs/ablations/{row.overlay}.yaml'"
        return f"# {row.key}: {row.name}\n{TRAIN.format(files=files, more='')}"
    if row.peer == "nnunet":
        return f"# {row.key}: {row.name}\n{NNUNET}"
    if not row.network:
        return None
    overlay = published.comparators.get("overlay")
    files = "'configs/train.yaml'" + (f",'configs/ablations/{overlay}.yaml'" if overlay else "")
    channels = ", ".join(f"'{name}': {published.comparators[name]}" for name in ("in_channels", "out_channels"))
    network = f"{{'_target_': 'bonemets.networks.nets.{row.network}', {channels}}}"
    folder = f"eval/{row.key}_{row.network.lower()}"
    more = f' \\\n  --network_def "{network}" --output_dir {folder} --ckpt_dir {folder}/models'
    return f"# {row.key}: {row.name}\n{TRAIN.format(files=files, more=more)}"


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return "".join(letter for letter in heading.lower() if letter.isalnum() or letter in "-_ ").replace(" ", "-")


def _records(ledger: Ledger) -> list[str]:
    lines = ["## Records", ""]
    if not ledger.records:
        return [*lines, "None yet.", ""]
    for record in ledger.records:
        measured_rows = ", ".join(f"`{row}`" for row in record["rows"]) or DASH
        lines += [f"### {record['id']}", "", f"{record['network']}: {describe(record)}.", ""]
        lines += [f"Rows: {measured_rows}. Date: {record['date']}. Status: `{record['status']}`.", ""]
        lines += [*(f"- {text}" for text in record.get("deviations", ())), "", "```sh", record["command"], "```", ""]
    return lines
