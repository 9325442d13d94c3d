"""Mentions: where in a text a name stands, as rows of words, from tags or from given characters.

Shapes: W words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lamina.apps.labels import text_ranges
from lamina.apps.spans import scheme_of, spans_of
from lamina.errors import SourceError, SpecError

TYPES = ("type", "kind", "label")  # what the type of a span may be called where spans are objects


class Mention(NamedTuple):
    """Words `first` to `last` - 1, rows of a units table, that name something of one kind (empty: none is known)."""

    first: int
    last: int
    kind: str


def tagged_mentions(units: pa.Table, tags: Sequence[str | None]) -> list[Mention]:
    """The spans in tags [W] in BIO or BIOES, as the CoNLL script reads them; a word without a tag is in none.

    Raises SpecError where the tags hold no spans, such as parts of speech.
    """
    if scheme_of(tag for tag in set(tags) if tag) == "none" and any(tag not in (None, "O") for tag in tags):
        some = ", ".join(sorted({tag for tag in tags if tag})[:4])
        raise SpecError(f"the tags are no spans in BIO or BIOES: {some}")
    return [
        Mention(low + start, low + end, kind)
        for low, high in text_ranges(units)
        for start, end, kind in spans_of([tag or "O" for tag in tags[low:high]])
    ]


def given_mentions(units: pa.Table, column: str) -> list[Mention]:
    """The words that overlap the spans of a column: for each text a list (or its JSON) of [start, end],
    [start, end, type], or objects with `start`, `end` and `type`, as `lamina tag predict` writes them; in characters.

    Raises SpecError where there is no such column, SourceError for what is no such list.
    """
    if column not in units.column_names:
        raise SpecError(f"there is no column {column!r}; there are {', '.join(units.column_names)}")
    starts, ends = units["start"].to_numpy(), units["end"].to_numpy()
    found = []
    for low, high in text_ranges(units):
        where = f"column {column!r} of text {units['text_id'][low].as_py()}"
        for start, end, kind in _spans(units[column][low].as_py(), where):
            first = low + int(np.searchsorted(ends[low:high], start, side="right"))
            last = low + int(np.searchsorted(starts[low:high], end, side="left"))
            if first < last:
                found.append(Mention(first, last, kind))
    return found


def _spans(value: object, where: str) -> list[tuple[int, int, str]]:
    try:
        held: Any = json.loads(value) if isinstance(value, str) else value
        return [_span(one) for one in held or ()]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise SourceError(
            f"{where} is {str(value)[:60]!r}; expected a list of spans, each [start, end], [start, end, type] or an "
            "object with start, end and type, in characters"
        ) from None


def _span(one: Any) -> tuple[int, int, str]:
    if isinstance(one, dict):
        kind = next((one[name] for name in TYPES if one.get(name) is not None), "")
        one = one["start"], one["end"], kind
    start, end, *rest = one
    if not all(type(place) is int for place in (start, end)) or len(rest) > 1 or not 0 <= start <= end:
        raise ValueError
    return start, end, str(rest[0]) if rest else ""
