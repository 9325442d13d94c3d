"""Which rows are never seen together: the parts of the data, and which are predicted by probes that never saw them.

Comes in: labels, groups, a given split. Goes out: `Parts`. Every probe is fitted on all parts but one (or but two, to
choose how strongly it is regularised), so a pair of parts decides what a fit may see. Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lamina.errors import SpecError

Int64 = npt.NDArray[np.int64]

# What a column of given splits may say; anything else is a fold of its own.
SPLITS = {
    "train": "train", "training": "train",
    "dev": "dev", "development": "dev", "valid": "dev", "validation": "dev", "val": "dev",
    "test": "test", "testing": "test",
}  # fmt: skip
ENOUGH = 2000  # rows that show which regularisation is best: the standard error of their accuracy is about a point


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A partition of the rows.

    of    [N] each row's part, counted from 0.
    held  the parts that are predicted, each by a probe that saw all the others but those `never` seen.
    never  parts that no other part's probe may see: dev or test.
    pairs  whether parts 0 and 1 are one fold, and 2 and 3 the other: with two folds, what a probe of one sees would not
           suffice to choose its regularisation.
    """

    of: Int64
    held: tuple[int, ...]
    never: tuple[int, ...] = ()
    pairs: bool = False

    @property
    def n(self) -> int:
        return int(self.of.max()) + 1

    def unseen(self, held: int) -> frozenset[int]:
        """What the probe that predicts a part does not see."""
        return frozenset((held, held ^ 1 if self.pairs else held, *self.never))

    @property
    def n_folds(self) -> int:
        """How many different probes predict."""
        return len(self.held) // 2 if self.pairs else len(self.held)

    def inner(self, held: int, n_fitted: Int64) -> tuple[int, ...]:
        """The parts on which that probe's regularisation is chosen, each left out in turn: its neighbours on either
        side, one after the other until they hold enough rows. Neighbours, because then a fit without parts 1 and 2
        serves both of them.

        n_fitted  how many rows of each part may be fitted on.
        """
        others = [part for part in range(self.n) if part not in self.unseen(held)]
        place = sum(part < held for part in others)
        ring = others[place:] + others[:place]
        chosen: list[int] = []
        while ring and n_fitted[chosen].sum() < ENOUGH:
            chosen.append(ring.pop(0 if len(chosen) % 2 == 0 else -1))
        return tuple(chosen)


def dealt(labels: Sequence[Any] | npt.NDArray[Any], *, folds: int, groups: Int64 | None = None, seed: int = 0) -> Int64:
    """Deal rows [N] into folds: a group is never torn apart, and each fold has its share of each class.

    labels  classes, as numbers [N]; of numbers, which tenth they are in.
    groups  [N] or None: each row by itself.

    Groups go, the largest first and by lot among equals, to the fold that has most room for their commonest class.
    Raises SpecError where there are fewer groups than folds.
    """
    classes = np.unique(np.asarray(labels), return_inverse=True)[1]
    group = np.arange(classes.size) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(group.max()) + 1 if group.size else 0
    if n_groups < folds:
        raise SpecError(
            f"{folds} folds need at least {folds} groups of rows that may be parted, and there are {n_groups}"
        )
    size = np.bincount(group)
    commonest = _commonest(group, classes)
    lot = np.random.default_rng(seed).permutation(n_groups)
    order = lot[np.argsort(-size[lot], kind="stable")]
    of_class = np.zeros((int(classes.max()) + 1, folds))
    of_all = np.zeros(folds)
    fold = np.empty(n_groups, np.int64)
    for one in order.tolist():
        held = of_class[commonest[one]]
        fold[one] = best = int(np.lexsort((of_all, held))[0])
        held[best] += size[one]
        of_all[best] += size[one]
    return fold[group]


def crossed(labels: Any, *, folds: int, groups: Int64 | None = None, seed: int = 0) -> Parts:
    """Cross-validation: each fold is predicted by a probe that saw the others. Raises SpecError."""
    of = dealt(labels, folds=folds, groups=groups, seed=seed)
    return _halved(of, labels, groups, seed) if folds == 2 else Parts(of, tuple(range(folds)))


def kinds_of(split: Sequence[object]) -> list[str] | None:
    """`train`, `dev` or `test` for each value of a column of splits [N]; None where it names folds instead.

    Raises SpecError where it holds both.
    """
    words = [str(value).strip().lower() for value in split]
    unknown = [word for word in dict.fromkeys(words) if word not in SPLITS]
    if unknown and len(unknown) < len(set(words)):
        raise SpecError(
            f"the split holds {unknown[0]!r} beside train, dev or test: use these words only, or no such word"
        )
    return None if unknown else [SPLITS[word] for word in words]


def given(split: Sequence[object], labels: Any, *, folds: int, groups: Int64 | None = None, seed: int = 0) -> Parts:
    """The split that a column gives [N]: `train` and `dev` (or their longer forms), or else the folds, by any names.

    With a dev part, it is what is predicted; without one, the training part is dealt into folds. Raises SpecError where
    there is no training part, or one fold only.
    """
    kinds = kinds_of(split)
    if kinds is None:
        names, of = np.unique([str(value) for value in split], return_inverse=True)
        if len(names) < 2:
            raise SpecError(f"the split has one value only, {str(names[0])!r}: nothing would be left to fit on")
        return _halved(of, labels, groups, seed) if len(names) == 2 else Parts(of, tuple(range(len(names))))
    train = np.array(kinds) == "train"
    if not train.any():
        raise SpecError(f"the split has no row of the part 'train'; it has {', '.join(sorted(set(kinds)))}")
    if train.all():
        return crossed(labels, folds=folds, groups=groups, seed=seed)
    of = np.full(train.size, folds, np.int64)
    of[train] = dealt(
        np.asarray(labels)[train], folds=folds, groups=None if groups is None else groups[train], seed=seed
    )
    return Parts(of, (folds,), (folds,))


def _halved(of: Int64, labels: Any, groups: Int64 | None, seed: int) -> Parts:
    """Two folds [N], each dealt into two parts."""
    parts = 2 * of
    for fold in (0, 1):
        rows = of == fold
        some = None if groups is None else groups[rows]
        parts[rows] += dealt(np.asarray(labels)[rows], folds=2, groups=some, seed=seed)
    return Parts(parts, (0, 1, 2, 3), pairs=True)


def _commonest(group: Int64, classes: Int64) -> Int64:
    """The commonest class of each group."""
    n_classes = int(classes.max()) + 1
    pairs, count = np.unique(group * n_classes + classes, return_counts=True)
    order = np.lexsort((-count, pairs // n_classes))
    first = np.unique((pairs // n_classes)[order], return_index=True)[1]
    found: Int64 = (pairs % n_classes)[order][first]
    return found
