"""Ask a simulated annotator for labels by every strategy, and measure what a network learns from them.

Every strategy begins with the same few labeled patients. In each round it chooses further patients of the cohort's
training part, the annotator gives their true masks, and training goes on from the present weights with all labels so
far. After each round the network is measured on test patients. Strategies choose by the functions that the label
server uses (`bonemets.labeling.tasks.scores`, `bonemets.labeling.tasks.choosing`).

Each round leaves a file in WORK, and the same command goes on after the last one, so that it can be stopped at any
time. Example, on one core::

    cd scripts/active_learning
    OMP_NUM_THREADS=1 python active_learning_study.py ../../results/active_learning_recipe.yaml COHORT WORK
    python active_learning_page.py WORK
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from scipy.stats import spearmanr

from active_learning_learner import Learner, Patient, Recipe, measure, read_patients
from bonemets.bundle.provenance import describe_hardware, git_commit, versions
from bonemets.data import datalist_hash
from bonemets.data.files import write_bytes
from bonemets.errors import InputError
from bonemets.labeling.tasks.choosing import farthest, highest, uncertain_and_far
from bonemets.labeling.tasks.scores import (
    SCORES,
    bottleneck_features,
    dropout_switched_on,
    mean_entropy,
    mutual_information,
)

# All patients at once, for how much there is to win.
REFERENCE = "everything"


def choose(
    strategy: str,
    learner: Learner,
    candidates: list[Patient],
    labeled: list[Patient],
    count: int,
    rng: np.random.Generator,
) -> list[str]:
    """The names of the patients that a strategy asks for, one after the other as the label server does."""
    if strategy == REFERENCE:
        return [patient.name for patient in candidates]
    if strategy == "random":
        return [candidates[index].name for index in rng.permutation(len(candidates))[:count]]
    scores, features = {}, {}
    if strategy != "diversity":
        score = SCORES["mean_entropy" if strategy == "uncertain_and_diverse" else strategy]
        scores = {patient.name: score([learner], patient.scan) for patient in candidates}
    if strategy in ("diversity", "uncertain_and_diverse"):
        features = {p.name: bottleneck_features([learner], p.scan) for p in (*candidates, *labeled)}
    chosen = [patient.name for patient in labeled]
    left = sorted(patient.name for patient in candidates)
    for _ in range(count):
        if strategy == "diversity":
            name = farthest(features, left, chosen)
        elif strategy == "uncertain_and_diverse":
            name = uncertain_and_far({item: scores[item] for item in left}, features, chosen)
        else:
            name = highest({item: scores[item] for item in left})
        if name is not None:
            chosen.append(name)
            left.remove(name)
    return chosen[len(labeled) :]


class Study:
    """The study in a folder: what is done of it, and what comes next.

    Args:
        recipe: the recipe.
        cohort: folder of the cohort.
        work: folder of the study.

    Raises:
        InputError: the folder holds a study of another recipe or cohort.
    """

    def __init__(self, recipe: Recipe, cohort: Path, work: Path) -> None:
        self.recipe, self.work = recipe, work
        self.machine = {**describe_hardware(), "commit": git_commit(), "torch": versions()["torch"]}
        fixed = {key: value for key, value in recipe.items() if key not in ("seeds", "strategies")}
        record = {"recipe": fixed, "datalist_sha256": datalist_hash(cohort / "datalist.json")}
        path = work / "study.json"
        if path.is_file() and json.loads(path.read_text("utf-8")) != record:
            raise InputError(f"{work} holds a study of another recipe or cohort; choose another folder")
        write_json(path, record)
        self.pool = {patient.name: patient for patient in read_patients(cohort, recipe, "train")}
        self.test = read_patients(cohort, recipe, "test", recipe["test_patients"])

    def run(self, seed: int, strategy: str) -> None:
        """Run what is left of a strategy's rounds."""
        folder = self.work / f"seed_{seed}" / strategy
        for number in range(1, self.recipe["rounds"] + 1):
            path = folder / f"round_{number}.json"
            if path.is_file():
                continue
            before = folder / f"round_{number - 1}" if number > 1 else self.start(seed)
            start = time.process_time()
            learner = Learner(self.recipe, torch.load(before.with_suffix(".pt"), weights_only=True))
            labeled = json.loads(before.with_suffix(".json").read_text("utf-8"))["labeled"]
            order = np.random.default_rng([seed, number, 1]).permutation(sorted(self.pool))
            unlabeled = [self.pool[name] for name in order if name not in labeled]
            candidates = unlabeled if strategy == REFERENCE else unlabeled[: self.recipe["candidates"]]
            now = [self.pool[name] for name in labeled]
            rng = np.random.default_rng([seed, number, 2])
            asked = choose(strategy, learner, candidates, now, self.recipe["each_round"], rng)
            chosen = time.process_time()
            self.learn(
                learner, [*labeled, *asked], "round_steps", [seed, number, 3], path.with_suffix(""), start, chosen
            )
            if number > 1:
                before.with_suffix(".pt").unlink()
            print(f"seed {seed}, {strategy}, round {number}", flush=True)

    def start(self, seed: int) -> Path:
        """The first training of a seed, which all of its strategies share; where it lies, without a suffix."""
        path = self.work / f"seed_{seed}" / "start"
        if not path.with_suffix(".json").is_file():
            start = time.process_time()
            order = np.random.default_rng([seed, 0, 1]).permutation(sorted(self.pool))
            torch.manual_seed(seed)
            labeled = [str(name) for name in order[: self.recipe["start"]]]
            self.learn(Learner(self.recipe), labeled, "start_steps", [seed, 0, 3], path, start, start)
        return path

    def learn(
        self,
        learner: Learner,
        labeled: list[str],
        steps: str,
        seeds: list[int],
        path: Path,
        start: float,
        chosen: float,
    ) -> None:
        """Train on what is labeled, measure, and leave the weights, then what is known of them."""
        patients = [self.pool[name] for name in labeled]
        learner.train(patients, self.recipe[steps], np.random.default_rng(seeds))
        trained = time.process_time()
        measures = measure(learner, self.test)
        path.parent.mkdir(parents=True, exist_ok=True)
        state, partial = path.with_suffix(".pt"), path.with_suffix(".partial")
        torch.save(learner.network.state_dict(), partial)
        partial.replace(state)
        seconds = {"choosing": chosen - start, "training": trained - chosen, "testing": time.process_time() - trained}
        write_json(path.with_suffix(".json"), {
            "labeled": labeled, "lesions_labeled": sum(patient.lesions for patient in patients), "measures": measures,
            "cpu_seconds": {key: round(value, 2) for key, value in seconds.items()},
            "machine": self.machine,
        })  # fmt: skip

    def dropout(self) -> None:
        """Compare Monte Carlo dropout with weights that were trained with dropout, and with weights that were not.

        Both networks learn from the first seed's first labels; the scans are those that its first round chooses from.
        """
        path, seed = self.work / "dropout.json", self.recipe["seeds"][0]
        if path.is_file():
            return
        start, found = self.start(seed), {}
        labeled = json.loads(start.with_suffix(".json").read_text("utf-8"))["labeled"]
        order = np.random.default_rng([seed, 1, 1]).permutation(sorted(self.pool))
        scans = [self.pool[name].scan for name in order if name not in labeled][: self.recipe["candidates"]]
        torch.manual_seed(seed)
        never = Learner({**self.recipe, "network": {**self.recipe["network"], "dropout": 0.0}})
        patients = [self.pool[name] for name in labeled]
        never.train(patients, self.recipe["start_steps"], np.random.default_rng([seed, 0, 3]))
        trained = Learner(self.recipe, torch.load(start.with_suffix(".pt"), weights_only=True))
        for name, learner in (("trained_with_dropout", trained), ("trained_without", never)):
            entropy = [mean_entropy([learner], scan) for scan in scans]
            information = [mutual_information([learner], scan) for scan in scans]
            with dropout_switched_on(learner.network):
                noisy = measure(learner, self.test)
            found[name] = {
                "mean_entropy": float(np.mean(entropy)),
                "mutual_information": float(np.mean(information)),
                "rank_correlation": float(spearmanr(entropy, information).statistic),
                "dice_pooled": measure(learner, self.test)["dice_pooled"],
                "dice_pooled_with_dropout_on": noisy["dice_pooled"],
            }
        write_json(path, {"seed": seed, "scans": len(scans), **found})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def main() -> None:
    """Run the study, or what is left of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("cohort", type=Path, help="folder of the cohort")
    parser.add_argument("work", type=Path, help="folder of the study; goes on with what is there")
    arguments = parser.parse_args()
    # The same numbers wherever it runs: sums depend on the number of threads.
    torch.set_num_threads(1)
    recipe = yaml.safe_load(arguments.recipe.read_text("utf-8"))
    study = Study(recipe, arguments.cohort, arguments.work)
    for seed in recipe["seeds"]:
        for strategy in recipe["strategies"]:
            study.run(seed, strategy)
    study.dropout()


if __name__ == "__main__":
    main()
