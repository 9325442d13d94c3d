"""What is probed for: the labels of units as classes or numbers, and which units have one.

Comes in: a label for each unit, as a column of data holds them. Goes out: `Labelled`, everything left out counted.
Shapes: U units, N of them labelled.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lamina.apps.labels import is_missing
from lamina.errors import SpecError

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Task = Literal["classes", "numbers"]

TASKS: tuple[Task, ...] = ("classes", "numbers")
FEW_NUMBERS = 20  # whole numbers of at most so many different values are names of classes


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """The units that have a label.

    rows      [N] which of the U units.
    values    [N] classes as numbers 0 .. C-1 (int64), or numbers (float64).
    classes   the names of the classes; empty for numbers.
    left_out  reason -> how many units are left out.
    """

    rows: Int64
    values: npt.NDArray[Any]
    classes: tuple[str, ...]
    left_out: dict[str, int]

    @property
    def task(self) -> Task:
        return "classes" if self.classes else "numbers"

    def name(self, value: Any) -> str:
        """A label as a text."""
        return self.classes[int(value)] if self.classes else f"{value:g}"

    def only(self, chosen: Bool, reason: str) -> Labelled:
        """Some of them [N]; the others are counted as left out for a reason."""
        n_others = int((~chosen).sum())
        left_out = {**self.left_out, reason: n_others} if n_others else self.left_out
        return Labelled(self.rows[chosen], self.values[chosen], self.classes, left_out)


def labelled(
    labels: Sequence[object], *, usable: Bool, task: Task | None = None, classes: Sequence[str] | None = None
) -> Labelled:
    """The units with a label, of `labels` [U].

    usable   [U] which units have a vector.
    task     `classes` or `numbers`; None: numbers, where all are and one has a fraction or more than 20 differ.
    classes  the classes that there are; None: those found. Another label becomes a class that nothing predicts.

    None, the empty string and what is not a number (NaN) are no label. Raises SpecError where nothing is left.
    """
    if len(labels) != usable.size:
        raise SpecError(
            f"{len(labels)} labels for {usable.size} units: give one for each unit, None where there is none"
        )
    if task not in (*TASKS, None):
        raise SpecError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
    numbers = [_number(label) for label in labels]
    if classes is not None:
        task = "classes"
    task = task or _task_of(labels, numbers)
    if task == "numbers":
        there = np.array([number is not None and math.isfinite(number) for number in numbers], bool)
    else:
        there = np.array([not is_missing(label) for label in labels], bool)
        if all(number is not None for number, is_there in zip(numbers, there, strict=True) if is_there):
            there &= np.array([number is None or not math.isnan(number) for number in numbers], bool)
    left_out = {"without a label": int((~there).sum()), "without a vector": int((there & ~usable).sum())}
    rows = np.flatnonzero(there & usable)
    if not rows.size:
        raise SpecError(f"no unit is left to probe: of {usable.size} units, {_said(left_out)}")
    left_out = {reason: n for reason, n in left_out.items() if n}
    if task == "numbers":
        return Labelled(rows, np.array([numbers[row] for row in rows.tolist()], np.float64), (), left_out)
    names = [str(labels[row]) for row in rows.tolist()]
    known = list(classes or ())
    order = [*known, *sorted(set(names) - set(known), key=_by_number)]
    place = {name: number for number, name in enumerate(order)}
    return Labelled(rows, np.array([place[name] for name in names], np.int64), tuple(order), left_out)


def check_learnable(labels: Labelled, *, folds: int, drop_rare: bool, column: str = "the labels") -> Labelled:
    """The same, where it can be learnt from; with `drop_rare` without classes that have fewer members than folds.

    Raises SpecError for one class, a class with fewer members than folds, or numbers that are all the same.
    """
    if not labels.classes:
        if np.ptp(labels.values) == 0:
            raise SpecError(f"{column}: all {labels.rows.size} numbers are {labels.values[0]:g}: nothing can be learnt")
        if labels.rows.size < folds:
            raise SpecError(f"{column}: {labels.rows.size} numbers are fewer than the {folds} folds")
        return labels
    count = np.bincount(labels.values, minlength=len(labels.classes))
    rare = (count > 0) & (count < folds)
    if rare.any() and not drop_rare:
        shown = ", ".join(f"{labels.classes[k]!r} ({count[k]})" for k in np.flatnonzero(rare)[:5])
        n = int(rare.sum())
        raise SpecError(
            f"{column}: {n} {'classes have' if n > 1 else 'class has'} fewer members than the {folds} folds: {shown}; "
            "use fewer folds, or leave out such classes with drop_rare (--drop-rare)"
        )
    kept = labels.only(~rare[labels.values], "of a class with fewer members than folds")
    left = np.unique(kept.values)
    if left.size < 2:
        only = repr(labels.classes[left[0]]) if left.size else "none"
        raise SpecError(f"{column}: there is one class only ({only}): a probe needs two or more")
    names = tuple(labels.classes[k] for k in left)
    return Labelled(kept.rows, np.searchsorted(left, kept.values), names, kept.left_out)


def tenths(values: npt.NDArray[Any]) -> Int64:
    """Which tenth of the numbers each one is in, so that folds can have their share of each."""
    edges = np.quantile(values, np.arange(1, 10) / 10)
    return np.searchsorted(edges, values).astype(np.int64)


def _task_of(labels: Sequence[object], numbers: Sequence[float | None]) -> Task:
    found = [number for label, number in zip(labels, numbers, strict=True) if not is_missing(label)]
    finite = [number for number in found if number is not None and math.isfinite(number)]
    if not finite or None in found or any(isinstance(label, bool) for label in labels):
        return "classes"
    has_fraction = any(number != int(number) for number in finite)
    return "numbers" if has_fraction or len(set(finite)) > FEW_NUMBERS else "classes"


def _number(label: object) -> float | None:
    if isinstance(label, bool) or label is None:
        return None
    try:
        return float(label)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _by_number(name: str) -> tuple[bool, float, str]:
    """Names of numbers first, 2 before 10."""
    number = _number(name)
    return (number is None, number or 0.0, name)


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} are {reason}" for reason, n in Counter(counts).items())
