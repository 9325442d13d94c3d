"""What the columns of units are to a map: names that get a colour each, numbers on a scale, or labels that are shown.

Text files give every value as a string, so a column of numbers is one whose strings all read as numbers.
Shapes: P points.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from lamina.apps.mix import Float32
from lamina.embeddings import PAIR_FIELDS, TOKEN_FIELDS, UNIT_FIELDS
from lamina.errors import SpecError

NAMES = 256  # the most names that a column of colours may have: a byte each, and already far more than anybody tells
FEW = 12  # a column of numbers with no more different values than this is one of names, such as 1 to 5 stars


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A column as a map sees it.

    kind    `names`, `numbers` or `labels`.
    values  [P] strings, empty where there is none; of numbers, the strings as they were written.
    names   the different values, the most frequent first, ties by name; only of `names`.
    counts  how often each of them occurs.
    numbers float32 [P], NaN where there is none; only of `numbers`.
    """

    name: str
    kind: Literal["names", "numbers", "labels"]
    values: tuple[str, ...]
    names: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    numbers: Float32 | None = None

    def codes(self) -> list[int]:
        """[P] the place of each value in `names`."""
        place = {name: k for k, name in enumerate(self.names)}
        return [place[value] for value in self.values]


def columns_of(units: pa.Table, *, colour: str | None = None) -> list[Column]:
    """Every column that travelled along, the one to colour by first; `n_tokens` and `surface` where asked for.

    Raises SpecError where `colour` is no column, or one of too many different names.
    """
    own = {*UNIT_FIELDS, *TOKEN_FIELDS, *PAIR_FIELDS}
    names = [name for name in units.column_names if name not in own]
    if colour is not None:
        if colour not in units.column_names:
            raise SpecError(f"there is no column {colour!r}: the units have {', '.join(units.column_names)}")
        names = [colour, *(name for name in names if name != colour)]
    found = [column_of(name, units.column(name).to_pylist()) for name in names]
    if colour is not None and found[0].kind == "labels":
        n = len(set(found[0].values))
        raise SpecError(f"column {colour!r} has {n:,} different values, and colours are for {NAMES} at most")
    return found


def column_of(name: str, values: Sequence[Any]) -> Column:
    """A column's kind, from its values."""
    texts = tuple("" if value is None else str(value) for value in values)
    counts = Counter(texts)
    numbers = _numbers(counts)
    if numbers and len(numbers) > FEW:
        return Column(name, "numbers", texts, numbers=np.array([numbers.get(text, np.nan) for text in texts], "f4"))
    if len(counts) <= min(NAMES, max(FEW, len(texts) // 2)):
        ordered = sorted(counts, key=lambda text: (-counts[text], text))
        return Column(name, "names", texts, tuple(ordered), tuple(counts[text] for text in ordered))
    return Column(name, "labels", texts)


def _numbers(texts: Iterable[str]) -> dict[str, float]:
    """The number that each text writes; nothing at all where one of them writes none."""
    found: dict[str, float] = {}
    for text in texts:
        if text:
            try:
                found[text] = float(text)
            except ValueError:
                return {}
            if not np.isfinite(found[text]):
                return {}
    return found
