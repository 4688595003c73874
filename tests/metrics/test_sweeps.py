from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from bonemets.metrics.comparison.sweeps import (
    COMPARED,
    PATIENT_COLUMNS,
    compare_models,
    mean_over_trials,
    patient_mean,
    spread,
)

NAN = float("nan")


def table(**dice: float) -> dict[str, dict[str, float]]:
    return {patient: dict.fromkeys(PATIENT_COLUMNS, value) for patient, value in dice.items()}


def test_spread_leaves_out_what_is_not_defined() -> None:
    found = spread([0.5, None, 0.7, 0.9])
    assert (found.trials, found.mean) == (3, pytest.approx(0.7))
    assert found.sd == pytest.approx(statistics.stdev([0.5, 0.7, 0.9]))
    assert math.isnan(spread([0.5]).sd)
    assert math.isnan(spread([None]).mean)


def test_patients_are_averaged_over_trials_first() -> None:
    # A patient measured twice counts once, as in cross-validation with several seeds.
    means = mean_over_trials([table(a=0.2, b=NAN), table(a=0.6, b=NAN), table(c=1.0)])
    assert means["a"]["dice_pooled"] == pytest.approx(0.4)
    assert math.isnan(means["b"]["dice_pooled"])
    found = patient_mean(means, "dice_pooled")
    assert (found.patients, found.mean) == (2, pytest.approx(0.7))
    assert found.low == pytest.approx(0.4)
    assert found.high == pytest.approx(1.0)


def test_models_are_compared_patient_by_patient() -> None:
    rng = np.random.default_rng(0)
    base = {f"p{i}": float(v) for i, v in enumerate(rng.uniform(0.2, 0.8, 20))}
    shift = rng.normal(0.05, 0.03, 20)
    better = {name: value + float(s) for (name, value), s in zip(base.items(), shift, strict=True)}
    same = dict(base)
    tests = compare_models({"first": table(**base), "better": table(**better), "same": table(**same)})
    assert list(tests) == ["better", "same"]
    assert [test.metric for test in tests["better"]] == list(COMPARED)
    p = stats.wilcoxon(shift).pvalue
    for test in tests["better"]:
        assert test.difference == pytest.approx(shift.mean())
        assert test.p == pytest.approx(p)
        # Six tests in all; three share the smallest p, so each is multiplied by six.
        assert test.p_holm == pytest.approx(min(1.0, 6 * p))
    assert all(test.p == 1 and test.difference == 0 for test in tests["same"])
