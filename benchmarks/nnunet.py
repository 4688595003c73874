r"""nnU-Net v2 on a data list's own folds, within a budget of core-minutes, measured and recorded like the others.

::

    make nnunet                            # once: nnU-Net's environment, .venv-nnunet
    .venv-nnunet/bin/python benchmarks/nnunet.py runs/scans/datalist.json -o runs/nnunet --minutes 40 --seed 0 --seed 1
    … the same … --record results/measured

Run the same command again after a stop: data, plan, finished seeds and predicted images stay, and a training goes on
after its last minute. docs/how-to/compare-with-nnunet.md says what is nnU-Net's own and what is not.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from bonemets.bundle.folders import file_sha256
from bonemets.bundle.provenance import describe_hardware, git_commit
from bonemets.data.adapters import export_nnunet
from bonemets.data.adapters.nnunet import NOTES_KEY
from bonemets.data.files import write_bytes, write_nifti
from bonemets.data.lists.datalist import datalist_hash, describe_part, load_datalist, read_datalist
from bonemets.data.planar.study import read_planar
from bonemets.engines.predictor import on_file_grid
from bonemets.errors import InputError
from bonemets.metrics.evaluation.evaluation import evaluate_cases, summary
from bonemets.metrics.evaluation.matching import Case
from bonemets.reporting.evaluation.page import write_evaluation

ROOT = Path(__file__).resolve().parents[1]
# The ledger is beside the scripts that write the tables of results.
sys.path.append(str(ROOT / "scripts" / "results"))

from ledger import SUBSTITUTE_DATA, Record, metric_names, summarize_runs, write_record  # noqa: E402
from published import read_all_published  # noqa: E402
from sweep_record import OUTLINES, RECORDED  # noqa: E402

DATASET_ID = 1
OWN_FEATURES, OWN_MEMORY_GB = 32, 8.0


def prepare(datalist: Path, output: Path, features: int, memory_gb: float) -> tuple[Path, Path]:
    """Export, plan and preprocess, each once.

    Returns:
        nnU-Net's plans and ``dataset.json``.

    Raises:
        InputError: the folder was prepared with other data or another plan.
    """
    wanted = {"datalist_sha256": datalist_hash(datalist), "features": features, "memory_gb": memory_gb}
    marker = output / "prepared.json"
    found = sorted((output / "raw").glob(f"Dataset{DATASET_ID:03d}_*"))
    if marker.is_file():
        if json.loads(marker.read_text("utf-8")) != wanted:
            raise InputError(f"{output} was prepared with other data, --features or --memory-gb; take another folder")
    else:
        from nnunet_training import plan

        raw = found[0] if found else export_nnunet(datalist, output / "raw", DATASET_ID)
        preprocessed = output / "preprocessed" / raw.name
        preprocessed.mkdir(parents=True, exist_ok=True)
        write_bytes(preprocessed / "splits_final.json", (raw / "splits_final.json").read_bytes())
        plan(DATASET_ID, features, memory_gb)
        write_bytes(marker, json.dumps(wanted).encode())
        found = [raw]
    return output / "preprocessed" / found[0].name / "nnUNetPlans.json", found[0] / "dataset.json"


def test_images(datalist: Path, dataset: Path) -> dict[str, tuple[dict[str, Any], Path]]:
    """Case of nnU-Net → the data list's testing item, and its image as it was exported."""
    document = read_datalist(datalist)
    description = json.loads(dataset.read_text("utf-8"))
    cases = list(description[NOTES_KEY])[len(document["training"]) :]
    items = load_datalist(datalist, section="test")
    folder, ending = dataset.parent / "imagesTs", description["file_ending"]
    return {case: (item, folder / f"{case}_0000{ending}") for case, item in zip(cases, items, strict=True)}


def run_seed(
    datalist: Path, output: Path, plans: Path, dataset: Path, fold: int, seed: int, minutes: float
) -> dict[str, Any]:
    """Train, predict the testing part and evaluate it, or what is left of that; returns ``result.json``."""
    from nnunet_training import predict, train

    folder = output / f"seed_{seed}"
    result_path = folder / "result.json"
    if result_path.is_file():
        result: dict[str, Any] = json.loads(result_path.read_text("utf-8"))
        if (result["fold"], result["minutes"]) != (fold, minutes):
            raise InputError(f"{folder} has another --fold or --minutes; take another folder")
        return result
    folder.mkdir(parents=True, exist_ok=True)
    trained = train(plans, dataset, fold, seed, 60 * minutes, folder)
    items = test_images(datalist, dataset)
    files = {case: folder / "predictions" / f"{case}.nii.gz" for case in items}
    missing = {case: items[case][1] for case, file in files.items() if not file.is_file()}
    for case, probability in predict(plans, dataset, folder / "model.pt", missing):
        # nnU-Net's images are as displayed; a prediction lies as its label's file does.
        array, affine = on_file_grid(read_planar(items[case][0]["label"]), probability[..., None])
        write_nifti(files[case], array, affine, keep_axes=True)
    document = evaluate(datalist, {case: (items[case][0], file) for case, file in files.items()}, folder / "evaluation")
    result = {
        "seed": seed,
        "fold": fold,
        "minutes": minutes,
        **trained,
        "weights_sha256": file_sha256(folder / "model.pt"),
        "metrics": {key: entry["value"] for key, entry in document["metrics"].items()},
        "machine": {**describe_hardware(), "commit": git_commit(), "nnunetv2": version("nnunetv2")},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_bytes(result_path, (json.dumps(result, indent=2) + "\n").encode())
    return result


def evaluate(datalist: Path, predicted: Mapping[str, tuple[Mapping[str, Any], Path]], folder: Path) -> dict[str, Any]:
    """What ``bonemets evaluate`` measures of the testing part; returns its summary.

    Args:
        datalist: the data list.
        predicted: case → its item and the file of its probability.
        folder: where tables and page go.
    """
    cases = [
        Case(case, str(item["patient"]), str(item.get("view", "")), Path(item["label"]), file)
        for case, (item, file) in predicted.items()
    ]
    evaluation = evaluate_cases(cases)
    document = summary(evaluation, describe_part(datalist, "test", None))
    write_evaluation(folder, evaluation, document)
    return document


def make_record(
    datalist: Path, output: Path, results: Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> Record:
    """The ledger's record of the finished seeds.

    Args:
        datalist: the data list.
        output: the folder of the seeds.
        results: their ``result.json``.
        options: ``features`` and ``memory_gb`` of the plan, ``rows``, ``recipe`` and ``command``.

    Raises:
        InputError: nobody knows the commit.
    """
    first, machine = results[0], results[-1]["machine"]
    if machine["commit"] is None:
        raise InputError("the training's checkout had no commit; a record needs one")
    known = metric_names()
    summaries = [output / f"seed_{result['seed']}" / "evaluation" / "summary.json" for result in results]
    values = [json.loads(path.read_text("utf-8"))["metrics"] for path in summaries]
    names = [
        name
        for name in (*RECORDED, *OUTLINES)
        if name in known and all(found.get(name, {}).get("value") is not None for found in values)
    ]
    record = {
        "id": f"nnunet.{output.resolve().name}".lower(),
        "network": "nnunetv2",
        "features": first["features"],
        "status": SUBSTITUTE_DATA,
        "rows": list(options["rows"]),
        **summarize_runs(summaries, names),
        "seeds": [result["seed"] for result in results],
        "commit": machine["commit"],
        "hardware": {key: machine[key] for key in ("processor", "cores", "gpu") if machine.get(key)},
        "hours": round(sum(result["seconds"] for result in results) / 3600, 4),
        "date": max(result["finished"] for result in results)[:10],
        "command": options["command"],
        "weights_sha256": [result["weights_sha256"] for result in results],
        "deviations": deviations(results, options["features"], options["memory_gb"]),
    }
    if options.get("recipe"):
        record["data"]["recipe"] = options["recipe"]
    return record


def deviations(results: Sequence[Mapping[str, Any]], features: int, memory_gb: float) -> list[str]:
    """What is not nnU-Net's own, in words."""
    first = results[0]
    seen = ", ".join(f"{result['pixels'] / 1e6:.0f}" for result in results)
    steps = ", ".join(str(result["iterations"]) for result in results)
    found = [
        f"nnU-Net {first['machine']['nnunetv2']}, 2d; patch {'×'.join(map(str, first['patch_size']))}, batch "
        f"{first['batch_size']}",
        f"stopped after {first['minutes']:g} core-minutes of training steps in place of 250,000 steps: {steps} steps, "
        f"{seen} million pixels; its polynomial rate ends there",
        f"trained without fold {first['fold']}; the last weights, nothing chosen",
    ]
    if features != OWN_FEATURES:
        found.append(f"first width {features} in place of {OWN_FEATURES}, as narrow as the networks beside it")
    if memory_gb != OWN_MEMORY_GB:
        found.append(f"planned for {memory_gb:g} GB in place of {OWN_MEMORY_GB:g}: smaller batches, more steps")
    return found


def _recipe(datalist: Path) -> str | None:
    split = datalist_hash(datalist)
    documents = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "results" / "cohorts").glob("*.yaml")]
    return next((document["name"] for document in documents if document["datalist_sha256"] == split), None)


def _rows(datalist: Path) -> list[str]:
    """The papers' rows of nnU-Net itself, for planar scans: the papers on those are the ones that have it."""
    if read_datalist(datalist).get("modality") != "NM":
        return []
    papers = read_all_published(ROOT / "results" / "published").values()
    return [f"{paper.bundle}/{row.key}" for paper in papers for row in paper.rows.values() if row.peer == "nnunet"]


def main() -> int:
    """Run nnU-Net."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("datalist", type=Path, help="data list with a testing part")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for everything, 1 GB and more")
    parser.add_argument("--minutes", type=float, default=40.0, help="core-minutes of training steps")
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; default 0")
    parser.add_argument("--fold", type=int, default=0, help="fold that is not trained on")
    parser.add_argument("--features", type=int, default=OWN_FEATURES, help="width of the first stage")
    parser.add_argument("--memory-gb", type=float, default=OWN_MEMORY_GB, help="what the planner plans for")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="write the ledger's record, results/measured")
    options = parser.parse_args()
    if find_spec("nnunetv2") is None:
        print("this Python has no nnU-Net: run `make nnunet`, then .venv-nnunet/bin/python", file=sys.stderr)
        return 2
    output = options.output.resolve()
    folders = {f"nnUNet_{name}": str(output / name) for name in ("raw", "preprocessed", "results")}
    os.environ |= {**folders, "nnUNet_def_n_proc": "1"}
    seeds = options.seed or [0]
    try:
        plans, dataset = prepare(options.datalist, output, options.features, options.memory_gb)
        results = []
        for seed in seeds:
            results.append(run_seed(options.datalist, output, plans, dataset, options.fold, seed, options.minutes))
            done = results[-1]
            print(
                f"seed {seed}: {done['iterations']} steps, Dice {done['metrics']['dice_per_image_bearing']}", flush=True
            )
        if options.record:
            own = f"--features {options.features} --memory-gb {options.memory_gb:g} --minutes {options.minutes:g}"
            command = f".venv-nnunet/bin/python benchmarks/nnunet.py COHORT/datalist.json -o {output.name} {own} "
            command += " ".join(f"--seed {seed}" for seed in seeds)
            more = {"rows": _rows(options.datalist), "recipe": _recipe(options.datalist), "command": command}
            plan = {"features": options.features, "memory_gb": options.memory_gb}
            record = make_record(options.datalist, output, results, {**plan, **more})
            print(write_record(options.record, record, replace=True))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
