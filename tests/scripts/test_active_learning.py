"""The study of active learning on a few phantoms: same numbers after a kill, and a page that says what is done."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import yaml

import active_learning_figure
import active_learning_page
import active_learning_study
from bonemets.data import planar_affine, write_datalist, write_nifti
from bonemets.errors import InputError

STRATEGIES = ["random", "mean_entropy", "view_disagreement", "diversity", "uncertain_and_diverse", "everything"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Ten patients for training, two for testing: ellipses with a hot spot, seen from both sides."""
    folder = tmp_path_factory.mktemp("cohort")
    rows, columns = np.mgrid[:128, :96]
    parts: dict[str, list] = {"training": [], "testing": []}
    for number in range(12):
        rng = np.random.default_rng(number)
        counts = np.where(((rows - 64) / 58) ** 2 + ((columns - 48) / 40) ** 2 < 1, 9.0, 0.2)
        place = rng.uniform((40, 30), (90, 66))
        spot = (rows - place[0]) ** 2 + (columns - place[1]) ** 2 < 40
        counts[spot] = 90
        for view in ("anterior", "posterior"):
            mirrored = np.s_[:, ::-1] if view == "posterior" else np.s_[:]
            affine = planar_affine(counts.shape, (2.26, 2.26), view)
            write_nifti(folder / f"{number}_{view}.nii.gz", rng.poisson(counts[mirrored]).astype(np.float32), affine)
            write_nifti(folder / f"{number}_{view}_label.nii.gz", spot[mirrored].astype(np.uint8), affine)
            item = {"image": f"{number}_{view}.nii.gz", "label": f"{number}_{view}_label.nii.gz"}
            item |= {"patient": f"p{number:02d}", "view": view}
            parts["testing" if number >= 10 else "training"].append(item if number >= 10 else item | {"fold": 0})
    write_datalist(folder / "datalist.json", {"name": "phantoms", "numFolds": 1, **parts})
    return folder


@pytest.fixture(scope="module")
def recipe():
    return {
        "cohort": "phantoms", "reduce": 2, "test_patients": 2, "seeds": [3], "strategies": STRATEGIES, "start": 2,
        "rounds": 2, "each_round": 2, "candidates": 5, "start_steps": 2, "round_steps": 1, "batch": 2, "window": 40,
        "learning_rate": 0.003,
        "network": {"_target_": "DualPoolingUNet", "features": [4, 4, 4, 4], "dropout": 0.1},
    }  # fmt: skip


@pytest.fixture(scope="module")
def work(cohort, recipe, tmp_path_factory):
    """A finished study."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    run(folder / "recipe.yaml", cohort, folder)
    return folder


def run(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["active_learning_study.py", *map(str, arguments)])
        active_learning_study.main()


def numbers(path):
    step = json.loads(path.read_text())
    return step["labeled"], step["lesions_labeled"], step["measures"]


def test_strategies_share_their_start_and_ask_for_what_is_not_labeled(work):
    start = numbers(work / "seed_3" / "start.json")[0]
    for strategy in STRATEGIES:
        first, second = (numbers(work / "seed_3" / strategy / f"round_{number}.json")[0] for number in (1, 2))
        assert first[:2] == start
        assert second[: len(first)] == first
        assert len(set(second)) == len(second) == (10 if strategy == "everything" else 6)


def test_goes_on_after_a_kill_with_the_same_numbers(work, cohort):
    folder = work / "seed_3" / "diversity"
    before = numbers(folder / "round_2.json")
    untouched = (work / "seed_3" / "random" / "round_2.json").stat().st_mtime_ns
    for path in folder.glob("*"):
        path.unlink()
    learn = active_learning_study.Study.learn

    def killed(self, learner, labeled, steps, seeds, path, *times):
        if path.name == "round_2":
            path.with_suffix(".partial").write_bytes(b"half")
            raise KeyboardInterrupt
        learn(self, learner, labeled, steps, seeds, path, *times)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(active_learning_study.Study, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            run(work / "recipe.yaml", cohort, work)
    assert sorted(path.name for path in folder.glob("*")) == ["round_1.json", "round_1.pt", "round_2.partial"]
    run(work / "recipe.yaml", cohort, work)
    assert numbers(folder / "round_2.json") == before
    assert (work / "seed_3" / "random" / "round_2.json").stat().st_mtime_ns == untouched
    assert sorted(path.name for path in folder.glob("*")) == ["round_1.json", "round_2.json", "round_2.pt"]


def test_a_folder_of_another_recipe(work, cohort, recipe):
    with pytest.raises(InputError, match="another recipe"):
        active_learning_study.Study({**recipe, "start": 3}, cohort, work)


def test_the_page_says_what_is_done(work, recipe):
    record = active_learning_page.gather(work, {**recipe, "seeds": [3, 4]})
    record = yaml.safe_load(yaml.safe_dump(record))
    assert record["unfinished"] == {4: STRATEGIES}
    text = active_learning_page.page(record)
    assert "Seeds done: 3. **Not done of seed 4**: all strategies." in text
    assert all(f"| {active_learning_page.NAMES[strategy]} |" in text for strategy in STRATEGIES)
    svg = active_learning_figure.curves_svg(record)
    assert svg.startswith(b"<?xml")
    assert svg == active_learning_figure.curves_svg(record)


def test_nothing_is_done_yet(recipe, tmp_path):
    with pytest.raises(InputError, match="run the study first"):
        active_learning_page.gather(tmp_path, recipe)


class TestComparison:
    def seeds(self, gains):
        curve = {"froc_sensitivity_at_1": [0.2, 0.3, 0.4]}
        better = {"froc_sensitivity_at_1": [0.2, 0.3 + gains[0], 0.4]}
        worse = {"froc_sensitivity_at_1": [0.2, 0.3, 0.4 + gains[1]]}
        return {seed: {"random": curve, "mean_entropy": better, "diversity": worse} for seed in (0, 1, 2)}

    def record(self, gains):
        compared = active_learning_page.compare(self.seeds(gains), "froc_sensitivity_at_1")
        return {"comparison": {"froc_sensitivity_at_1": compared}}

    def test_areas_and_the_winner(self):
        record = self.record((0.1, -0.1))
        compared = record["comparison"]["froc_sensitivity_at_1"]
        # Trapezoids: the middle of three values counts a half, the last a quarter.
        assert compared["random"]["areas"] == [0.3] * 3
        assert compared["mean_entropy"]["differences"] == [0.05] * 3
        assert compared["diversity"]["differences"] == [-0.025] * 3
        text = active_learning_page.verdict(record)
        assert "**mean entropy** is first (+0.050" in text
        assert "Better than random in all 3 seeds: mean entropy." in text
        assert "Worse in all 3 seeds: diversity." in text

    def test_random_wins(self):
        assert active_learning_page.verdict(self.record((-0.1, -0.2))).startswith("**Random wins**")


def test_labels_do_not_overlap():
    spread = active_learning_figure.spread
    assert spread([0.0, 1.0], 0.5) == [0.0, 1.0]
    assert spread([2.0, 2.0, 2.0], 1.0) == [1.0, 2.0, 3.0]
    places = spread([0.30, 0.10, 0.11, 0.29], 0.05)
    assert np.argsort(places).tolist() == [1, 2, 3, 0]
    assert np.diff(sorted(places)).min() >= 0.05 - 1e-9
