"""Proves that labels are read as what they are, and that what cannot be learnt is said before anything is computed."""

from __future__ import annotations

import numpy as np
import pytest

from lamina.apps.probe.labels import Labelled, check_learnable, labelled, tenths
from lamina.errors import SpecError


def read(labels: list[object], **options: object) -> Labelled:
    return labelled(labels, usable=np.ones(len(labels), bool), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (["a", "b", "a"], "classes"),
        (["0", "1", "1"], "classes"),
        ([1, 2, 3], "classes"),
        ([True, False], "classes"),
        (["1.5", "2"], "numbers"),
        ([0.25, 1.0], "numbers"),
        (list(range(21)), "numbers"),
        ([str(k) for k in range(20)], "classes"),
        (["1.5", "2", "high"], "classes"),
    ],
)
def test_a_task_is_seen_from_the_labels(labels: list[object], task: str) -> None:
    assert read(labels).task == task


def test_classes_are_named_in_order_two_before_ten() -> None:
    assert read(["10", "2", "b", "a"]).classes == ("2", "10", "a", "b")


def test_a_task_can_be_given() -> None:
    assert read(["1.5", "2"], task="classes").classes == ("1.5", "2")
    assert read([1, 2, 3], task="numbers").values.tolist() == [1, 2, 3]
    with pytest.raises(SpecError, match="classes, numbers, not 'ranks'"):
        read([1, 2], task="ranks")


def test_what_has_no_label_or_no_vector_is_left_out_and_counted() -> None:
    labels = ["a", None, "", "b", float("nan"), "a"]
    found = labelled(labels, usable=np.array([1, 1, 1, 0, 1, 1], bool))
    assert found.rows.tolist() == [0, 5]
    assert found.left_out == {"without a label": 3, "without a vector": 1}
    numbers = read([1.5, float("nan"), float("inf"), "x", 2.5], task="numbers")
    assert numbers.values.tolist() == [1.5, 2.5]
    assert numbers.left_out == {"without a label": 3}
    assert read(["1.5", "nan", "2.5"]).left_out == {"without a label": 1}
    assert read(["yes", "nan", "no"]).classes == ("nan", "no", "yes")


def test_nothing_left_is_refused() -> None:
    with pytest.raises(SpecError, match="no unit is left to probe: of 2 units, 2 are without a label"):
        read([None, ""])
    with pytest.raises(SpecError, match="3 labels for 2 units"):
        labelled(["a", "b", "c"], usable=np.ones(2, bool))


def test_a_label_not_seen_before_is_a_class_of_its_own() -> None:
    found = read(["b", "new", "a"], classes=("a", "b"))
    assert found.classes == ("a", "b", "new")
    assert found.values.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["a"] * 9, r"there is one class only \('a'\)"),
        (
            ["a"] * 9 + ["b"] * 4 + ["c"],
            r"2 classes have fewer members than the 5 folds: 'b' \(4\), 'c' \(1\); use fewer",
        ),
        ([1.5] * 9, "all 9 numbers are 1.5"),
        ([1.5, 2.5], "2 numbers are fewer than the 5 folds"),
    ],
)
def test_what_cannot_be_learnt_is_refused(labels: list[object], said: str) -> None:
    task = "numbers" if isinstance(labels[0], float) else None
    with pytest.raises(SpecError, match=said):
        check_learnable(read(labels, task=task), folds=5, drop_rare=False)


def test_rare_classes_are_left_out_where_that_is_asked_for() -> None:
    kept = check_learnable(read(["a"] * 9 + ["b"] * 4 + ["c"] * 6), folds=5, drop_rare=True)
    assert kept.classes == ("a", "c")
    assert np.bincount(kept.values).tolist() == [9, 6]
    assert kept.left_out == {"of a class with fewer members than folds": 4}
    with pytest.raises(SpecError, match="one class only"):
        check_learnable(read(["a"] * 9 + ["b"] * 4), folds=5, drop_rare=True)


def test_tenths_are_even() -> None:
    assert np.bincount(tenths(np.random.default_rng(0).normal(size=1000))).tolist() == [100] * 10
