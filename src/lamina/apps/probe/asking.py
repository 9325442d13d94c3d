"""Asking: what could contradict itself in a question about layers is found before anything is computed.

Shapes: U units, N of them labelled and not kept for a test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from lamina.apps.folds import Parts, crossed, given, kinds_of
from lamina.apps.mix import Data
from lamina.apps.probe.descent import Int64
from lamina.apps.probe.features import Bool
from lamina.apps.probe.labels import Labelled, Task, check_learnable, labelled, tenths
from lamina.apps.probe.question import Question, Views, groups_of, usable_units
from lamina.apps.probe.scores import Examples
from lamina.errors import MissingExtraError, SpecError

FOLDS = 5
SAMPLE = 50_000  # units at most: more would narrow an interval of half a point, and cost time


def ask(
    views: Views | Data,
    labels: Sequence[object],
    *,
    unit: str | None = None,
    task: Task | None = None,
    metric: str | None = None,
    folds: int = FOLDS,
    groups: Sequence[object] | None = None,
    split: Sequence[object] | None = None,
    drop_rare: bool = False,
    sample: int = SAMPLE,
    seed: int = 0,
) -> Question:
    """What is to be found out; `lamina.apps.probe.verdict` finds it.

    views      the same units in several pools, by the pool's name; or one `Embeddings` or `Dataset`.
    labels     [U] a class or a number for each unit; None where there is none.
    unit       what a row is; None: `text`, or `word` where a text has several rows.
    task       `classes` or `numbers`; None: by the labels.
    metric     `accuracy` or `macro-f1` of classes, `spearman` or `r2` of numbers, `span-f1` of words with tags such as
               B-PER, I-PER and O; None: the last of these that fits, else the first of its pair.
    folds      parts of the cross-validation.
    groups     [U] rows of one value are never parted; None: units of one text, and texts that are the same.
    split      [U] `train`, `dev` and `test`, or each row's fold. With dev, layers are scored on it; what is test is
               scored once, by the choice.
    drop_rare  leaves out classes with fewer members than folds, instead of refusing them.
    sample     the most units that are used, drawn by lot, whole groups at a time.

    Raises SpecError where the labels do not suffice, or the views are not of the same units; MissingExtraError without
    scikit-learn.
    """
    _check_extra()
    if folds < 2:
        raise SpecError(f"folds must be at least 2, not {folds}")
    held = dict(views) if isinstance(views, Mapping) else {"": views}
    units = _units_of(held)
    unit = unit or ("text" if len(units["text_id"].unique()) == units.num_rows else "word")
    there = np.logical_and.reduce([usable_units(data) for data in held.values()])
    found = labelled(labels, usable=there, task=task)
    group = groups_of(units, unit, groups)
    is_test = _is_test(split, found.rows, units.num_rows)
    kept = check_learnable(
        replace(found, rows=found.rows[~is_test], values=found.values[~is_test]), folds=folds, drop_rare=drop_rare
    )
    drawn = kept.only(_sampled(group[kept.rows], sample, seed), f"beyond the sample of {sample:,}")
    kept = check_learnable(drawn, folds=folds, drop_rare=drop_rare)
    tested = set(found.rows[is_test].tolist())
    surfaces, texts = units["surface"].to_pylist(), np.asarray(units["text_id"].to_numpy()[kept.rows], np.int64)
    return Question(
        views=held,
        unit=unit,
        surfaces=[surfaces[row] for row in kept.rows.tolist()],
        texts=texts,
        labels=kept,
        groups=group[kept.rows],
        parts=_parts(kept, group[kept.rows], split, folds=folds, seed=seed),
        metric=_metric(metric, Examples(kept.values, kept.classes, texts)),
        folds=folds,
        seed=seed,
        tested=([label if row in tested else None for row, label in enumerate(labels)], groups) if tested else None,
    )


def _units_of(views: Views) -> pa.Table:
    """The units table that all views share."""
    if not views:
        raise SpecError("there is nothing to probe: give at least one view")
    (first, units), *others = [(name, data.units) for name, data in views.items()]
    for name, table in others:
        if table.num_rows != units.num_rows or not all(
            table[column].equals(units[column]) for column in ("text_id", "start", "end")
        ):
            raise SpecError(f"the views {first!r} and {name!r} are not of the same units: extract them in one pass")
    return units


def _is_test(split: Sequence[object] | None, rows: Int64, n_units: int) -> Bool:
    """[N] which rows are kept for the end."""
    if split is None:
        return np.zeros(rows.size, bool)
    if len(split) != n_units:
        raise SpecError(f"split has {len(split)} values for {n_units} units: give one for each unit")
    kinds = kinds_of([split[row] for row in rows.tolist()])
    return np.array([kind == "test" for kind in kinds or [""] * rows.size], bool)


def _parts(labels: Labelled, groups: Int64, split: Sequence[object] | None, *, folds: int, seed: int) -> Parts:
    strata: Any = labels.values if labels.classes else tenths(labels.values)
    if split is None:
        return crossed(strata, folds=folds, groups=groups, seed=seed)
    return given([split[row] for row in labels.rows.tolist()], strata, folds=folds, groups=groups, seed=seed)


def _sampled(groups: Int64, sample: int, seed: int) -> Bool:
    """[N] which rows are used: groups drawn by lot, until there would be more than `sample` rows."""
    if sample < 1:
        raise SpecError(f"sample must be at least 1, not {sample}")
    if groups.size <= sample:
        return np.ones(groups.size, bool)
    number = np.unique(groups, return_inverse=True)[1]
    place = np.random.default_rng(seed).permutation(int(number.max()) + 1)[number]
    chosen: Bool = np.cumsum(np.bincount(place))[place] <= sample
    return chosen


def _metric(metric: str | None, examples: Examples) -> str:
    fitting = examples.fitting()
    if metric is None:
        return fitting[0]
    if metric not in fitting:
        raise SpecError(f"metric must be {' or '.join(fitting)} for these labels, not {metric!r}")
    return metric


def _check_extra() -> None:
    try:
        import scipy  # noqa: F401
        import sklearn  # noqa: F401
    except ImportError:
        raise MissingExtraError("a probe needs scikit-learn: pip install 'lamina[apps]'") from None
