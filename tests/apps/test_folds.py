"""Proves that folds keep groups whole and classes in proportion, and that given splits are kept to."""

from __future__ import annotations

import numpy as np
import pytest

from lamina.apps.folds import ENOUGH, Parts, crossed, dealt, given, kinds_of
from lamina.errors import SpecError


def test_every_fold_has_its_share_of_every_class() -> None:
    classes = np.repeat([0, 1, 2], [500, 100, 23])
    fold = dealt(classes, folds=5, seed=3)
    counts = np.array([np.bincount(classes[fold == k], minlength=3) for k in range(5)])
    assert (np.ptp(counts, axis=0) <= 1).all()
    assert np.ptp(counts.sum(axis=1)) <= 3


def test_a_group_is_never_torn_and_folds_stay_even() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(200, size=2000)
    classes = rng.integers(4, size=2000)
    fold = dealt(classes, folds=4, groups=groups, seed=1)
    assert all(np.unique(fold[groups == group]).size == 1 for group in np.unique(groups))
    assert np.ptp(np.bincount(fold)) < 0.1 * 2000


def test_folds_are_the_same_for_a_seed_and_others_for_another() -> None:
    classes = np.arange(100) % 3
    assert (dealt(classes, folds=5, seed=1) == dealt(classes, folds=5, seed=1)).all()
    assert (dealt(classes, folds=5, seed=1) != dealt(classes, folds=5, seed=2)).any()


def test_fewer_groups_than_folds_are_refused() -> None:
    with pytest.raises(SpecError, match="5 folds need at least 5 groups of rows that may be parted, and there are 3"):
        dealt([0, 1, 0, 1, 0, 1], folds=5, groups=np.array([1, 1, 2, 2, 3, 3]))


def test_regularisation_is_chosen_on_all_other_folds_of_small_data_and_on_neighbours_of_large() -> None:
    parts = crossed(np.zeros(50), folds=5)
    assert {held: set(parts.inner(held, np.full(5, 10))) for held in range(5)} == {
        held: set(range(5)) - {held} for held in range(5)
    }
    assert {held: parts.inner(held, np.full(5, ENOUGH)) for held in range(5)} == {
        held: ((held + 1) % 5,) for held in range(5)
    }
    assert parts.inner(0, np.full(5, ENOUGH - 1)) == (1, 4)


def test_what_no_probe_may_see_is_never_an_inner_part() -> None:
    parts = Parts(np.repeat([0, 1, 2, 3], 10), held=(3,), never=(3,))
    assert set(parts.inner(3, np.full(4, 10))) == {0, 1, 2}
    assert parts.unseen(3) == {3}


@pytest.mark.parametrize("split", [None, ["a"] * 12 + ["b"] * 12])
def test_two_folds_leave_something_to_choose_the_regularisation_on(split: list[str] | None) -> None:
    classes = np.arange(24) % 2
    parts = crossed(classes, folds=2) if split is None else given(split, classes, folds=5)
    assert parts.n_folds == 2
    assert np.bincount(parts.of).tolist() == [6, 6, 6, 6]
    assert parts.unseen(0) == parts.unseen(1) == {0, 1}
    assert set(parts.inner(0, np.full(4, 6))) == set(parts.inner(1, np.full(4, 6))) == {2, 3}
    if split is not None:
        assert (parts.of[:12] < 2).all()


def test_train_and_dev_are_kept_to() -> None:
    split = ["train"] * 40 + ["Validation"] * 10
    parts = given(split, np.arange(50) % 2, folds=4)
    assert parts.held == (4,)
    assert parts.never == (4,)
    assert (parts.of[40:] == 4).all()
    assert np.bincount(parts.of[:40]).tolist() == [10, 10, 10, 10]


def test_only_train_is_cross_validated_and_other_words_are_folds() -> None:
    assert given(["train"] * 20, np.arange(20) % 2, folds=4).held == (0, 1, 2, 3)
    parts = given([3, 3, 7, 7, 7, 9], np.arange(6) % 2, folds=4)
    assert parts.of.tolist() == [0, 0, 1, 1, 1, 2]
    assert parts.held == (0, 1, 2)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (["train", "dev", "fold 1"], "'fold 1' beside train, dev or test"),
        (["dev", "dev"], "no row of the part 'train'; it has dev"),
        (["a", "a"], "one value only, 'a'"),
    ],
)
def test_a_split_that_says_nothing_is_refused(split: list[str], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        given(split, [0, 1, 0][: len(split)], folds=2)


def test_the_words_of_a_split_are_known_in_their_longer_forms() -> None:
    assert kinds_of(["TRAINING", "val", "Test"]) == ["train", "dev", "test"]
    assert kinds_of(["1", "2"]) is None
