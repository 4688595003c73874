from collections import Counter

import pytest

from bonemets.data import assign_folds, split_test

PATIENTS = [f"patient_{number:04d}" for number in range(1, 48)]
POSITIVE = {name: int(name[-4:]) % 3 != 0 for name in PATIENTS}


def test_every_patient_has_one_fold_and_folds_are_even():
    folds = assign_folds(PATIENTS, 5, seed=1)
    assert set(folds) == set(PATIENTS)
    sizes = Counter(folds.values())
    assert set(sizes) == set(range(5))
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_strata_are_spread_evenly():
    folds = assign_folds(PATIENTS, 5, 1, POSITIVE)
    for value in (True, False):
        sizes = Counter(fold for name, fold in folds.items() if POSITIVE[name] == value)
        assert max(sizes.values()) - min(sizes.values()) <= 1
    sizes = Counter(folds.values())
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_order_and_repetition_do_not_matter():
    assert assign_folds([*PATIENTS[::-1], *PATIENTS], 4, 7, POSITIVE) == assign_folds(PATIENTS, 4, 7, POSITIVE)


def test_seed_matters_and_repeats():
    assert assign_folds(PATIENTS, 5, 1) == assign_folds(PATIENTS, 5, 1)
    assert assign_folds(PATIENTS, 5, 1) != assign_folds(PATIENTS, 5, 2)


def test_later_patients_move_nobody():
    before = assign_folds(PATIENTS[:30], 5, 3, POSITIVE)
    after = assign_folds(PATIENTS, 5, 3, POSITIVE)
    assert {name: after[name] for name in before} == before
    assert split_test(PATIENTS[:30], 0.2, POSITIVE) == split_test(PATIENTS, 0.2, POSITIVE) & set(PATIENTS[:30])


@pytest.mark.parametrize("share", [0, 0.1, 0.2, 0.25, 0.5, 0.9, 1])
def test_test_share_per_stratum(share):
    chosen = split_test(PATIENTS, share, POSITIVE)
    for value in (True, False):
        members = [name for name in PATIENTS if POSITIVE[name] == value]
        assert abs(len(chosen & set(members)) - share * len(members)) <= 0.5


@pytest.mark.parametrize("folds", [0, 48])
def test_impossible_folds(folds):
    with pytest.raises(ValueError, match="folds must be between 1 and"):
        assign_folds(PATIENTS, folds, 0)


def test_missing_stratum():
    with pytest.raises(ValueError, match="stratify must have a value"):
        assign_folds(PATIENTS, 2, 0, {"patient_0001": True})
    with pytest.raises(ValueError, match="share"):
        split_test(PATIENTS, 1.1)
